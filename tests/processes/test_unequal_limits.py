"""One node takes smaller messages than the others: all works, or the trouble is said."""

import json
import subprocess
import sys

import pytest

from paxosctl.client.errors import RefusedError
from paxosd.core.cluster_settings import LEVEL_LATEST
from tests.processes.processes import Daemons, clean_environ, wait_for

MIB = 1 << 20
WIDE = {
    "limits": {"message_bytes_max": 16 * MIB, "value_bytes_max": MIB, "read_bytes_max": 4 * MIB},
    "protocol": {"batch_bytes_max": 4 * MIB, "catch_up_bytes_max": 4 * MIB},
    "wal": {"segment_bytes": 64 * MIB},
}
SMALL = {
    "limits": {"message_bytes_max": 131_072, "value_bytes_max": 16_384, "read_bytes_max": 65_536},
    "protocol": {"batch_bytes_max": 32_768, "catch_up_bytes_max": 32_768},
}
KEY = "limits.message_bytes_max"


class Unequal(Daemons):
    """n3 may get the file of another machine."""

    def start_small(self):
        wide, self.settings = (
            self.settings,
            {section: keys | SMALL.get(section, {}) for section, keys in self.settings.items()},
        )
        self.write_config("n3")
        self.settings = wide
        self.start("n3")

    def ctl(self, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", "paxosctl", "--endpoints", ",".join(self.endpoints), *arguments],
            capture_output=True, text=True, timeout=120, env=clean_environ(), check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def applied(self, *names):
        found = [self.status(name) for name in names]
        return {status["applied"] if status else -1 for status in found}

    def wait_equal(self, *names):
        def equal():
            applied = self.applied(*names)
            return len(applied) == 1 and -1 not in applied

        wait_for(equal, 120, f"{names} to be equally far")


@pytest.fixture
def daemons(tmp_path):
    with Unequal(tmp_path, **WIDE) as cluster:
        cluster.start()
        wait_for(
            lambda: all((cluster.status(n) or {}).get("level") == LEVEL_LATEST
                        for n in cluster.names), 60, "the latest feature level",
        )  # fmt: skip
        yield cluster


def fill(client, count, size, *, first=0):
    pipeline = client.pipeline()
    for number in range(first, first + count):
        pipeline.put(b"k%04d" % number, bytes(size))
    pipeline.results()


def test_a_node_with_a_smaller_limit_keeps_up_counts_and_is_named(daemons):
    daemons.kill("n3")
    daemons.start_small()
    for name, member in (("n1", "n3"), ("n2", "n3"), ("n3", "n1")):
        line = daemons.wait_event(name, "config.limits_differ", member=member)
        assert line["key"] == KEY
        assert {line["value"], line["own"]} == {131_072, 16 * MIB}
    with daemons.client(timeout_s=60) as client:
        fill(client, 150, 100_000)
        daemons.wait_equal("n1", "n2", "n3")
        for name in ("n1", "n2"):
            known = daemons.wait_event(name, "config.limits_differ", member="n3")["mono_ns"]
            downs = [line["member"] for line in daemons.events(name, "member.down")
                     if line["mono_ns"] > known]  # fmt: skip
            assert "n3" not in downs, "its connection was ended over a message it does not take"
        status = client.status()
        leader = status["leader"]
        code, out, _ = daemons.ctl("health")
        assert code == 0
        assert f"{KEY} = 131072" in out
        assert f"{KEY} = {16 * MIB}" in out
        assert "n3" in out
        code, out, _ = daemons.ctl("health", "-o", "json")
        assert len(json.loads(out)["limits_differ"]) >= 1
        code, out, _ = daemons.ctl("status", "--cluster")
        assert "survives 1 more failure" in out
        assert f"{KEY} = 131072" in " ".join(out.split())
        with pytest.raises(RefusedError, match=r"limits\.message_bytes_max"):
            client.put(b"large", bytes(MIB // 2))
        away = next(name for name in ("n1", "n2") if name != leader)
        daemons.kill(away)
        fill(client, 50, 100_000, first=1000)  # it survives the failure that it promised to
        daemons.start(away)
        daemons.wait_equal("n1", "n2", "n3")


def test_what_was_decided_before_it_was_known_comes_as_a_snapshot(daemons):
    daemons.kill("n3")
    daemons.kill("n1", "n2")
    daemons.start("n1", "n2")  # nobody knows of the limits of n3
    with daemons.client("n1", "n2", timeout_s=60) as client:
        fill(client, 24, MIB - 100)
        daemons.start_small()
        daemons.wait_equal("n1", "n2", "n3")
        with pytest.raises(RefusedError, match=r"limits\.message_bytes_max"):
            client.put(b"large", bytes(MIB - 100))
        client.put(b"small", b"v")
        daemons.wait_equal("n1", "n2", "n3")
