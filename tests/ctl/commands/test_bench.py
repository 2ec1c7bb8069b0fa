"""bench put at the command line."""

import json

from tests.ctl.fake_daemon import closed_port


class TestBench:
    def test_put(self, ctl, daemon):
        code, out, _ = ctl(
            "bench", "put", "--count", "300", "--outstanding", "20", "--connections", "3",
            "--size", "10", "--keys", "7", "-o", "json",
        )  # fmt: skip
        body = json.loads(out)
        assert (code, body["puts"], body["errors"]) == (0, 300, {})
        assert len(daemon.machine.store) == 8  # and the key of the warm-up
        assert "puts/s" in ctl("bench", "put", "--count", "10")[1]

    def test_bad(self, ctl):
        assert ctl("bench", "put", "--connections", "5", "--outstanding", "2")[0] == 2
        assert ctl("bench", "put", "--count", "10", endpoints=closed_port())[0] == 69
