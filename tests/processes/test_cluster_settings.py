"""The replicated settings on real daemons: raised, changed while it runs, kept over a restart."""

import subprocess
import sys

import pytest

from paxosctl.client.errors import RefusedError
from paxosd.core.cluster_settings import LEVEL_LATEST
from tests.processes.processes import Daemons, clean_environ, wait_for


def ctl(daemons, *arguments):
    """``paxosctl cluster …``: (exit code, standard output, standard error)."""
    done = subprocess.run(
        [sys.executable, "-m", "paxosctl", "--endpoints", ",".join(daemons.endpoints),
         "cluster", *arguments],
        capture_output=True, text=True, timeout=60, env=clean_environ(), check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def level(daemons, name="n1"):
    status = daemons.status(name)
    return status["level"] if status else 0


def test_a_lone_node_raises_the_level_takes_changes_and_keeps_them(tmp_path):
    with Daemons(tmp_path, 1) as daemons:
        daemons.start()
        wait_for(lambda: level(daemons) == LEVEL_LATEST, what="the latest feature level")
        settings = daemons.status("n1")["settings"]
        assert settings["value_bytes_max"] == 65536  # from its file
        code, out, _ = ctl(daemons, "set", "value_bytes_max=1000", "session_ttl_ms=2h")
        assert code == 0
        assert "version 2, in force from slot" in out
        with daemons.client() as client:
            client.put(b"k", b"v" * 1000)
            with pytest.raises(RefusedError, match="the limit is 1000"):
                client.put(b"k", b"v" * 1001)
        code, _, err = ctl(daemons, "set", "value_bytes_max=600000")
        assert code == 1
        assert "limits.message_bytes_max" in err
        daemons.kill("n1")
        daemons.start("n1")
        wait_for(lambda: level(daemons) == LEVEL_LATEST, what="it after a restart")
        again = daemons.status("n1")["settings"]
        changed = {"version": 2, "value_bytes_max": 1000, "session_ttl_ms": 7_200_000}
        assert again == settings | changed
        line = daemons.wait_event("n1", "config.differs")
        assert line["differing"] == {"value_bytes_max": {"file": 65536, "cluster": 1000}}
        with daemons.client() as client, pytest.raises(RefusedError, match="the limit is 1000"):
            client.put(b"k", b"v" * 1001)
        code, out, _ = ctl(daemons, "show")
        assert code == 0
        assert "n1: its file has value_bytes_max = 65536" in out


def test_keys_of_a_raised_limit_can_be_watched(tmp_path):
    key = b"k" * 60_000
    with Daemons(tmp_path, 1) as daemons:
        daemons.start()
        wait_for(lambda: level(daemons) == LEVEL_LATEST, what="the latest feature level")
        with daemons.client() as client:
            with pytest.raises(RefusedError, match=r"limits\.key_bytes_max"):
                client.watch(key)
            assert ctl(daemons, "set", "key_bytes_max=65536")[0] == 0
            watcher = client.watch(key, on_trouble=pytest.fail)
            while not watcher.live:
                assert watcher.poll(100) is None
            client.put(key, b"v")
            assert watcher.poll(30_000).key == key


def test_a_wall_clock_that_leaps_does_not_freeze_log_time(tmp_path):
    with Daemons(tmp_path, 1) as daemons:
        daemons.start()
        wait_for(lambda: level(daemons) == LEVEL_LATEST, what="the latest feature level")

        def log_time_ms():
            with daemons.client() as client:
                client.put(b"k", b"v")
            return daemons.status("n1")["log_time_ms"]

        began_ms = log_time_ms()
        before_ms = daemons.status("n1")["wall_ms"]
        daemons.admin("n1", "fault_add", name="f", kind="clock-skew", on="*", ms=86_400_000)
        wait_for(lambda: daemons.status("n1")["wall_ms"] > before_ms + 86_000_000, what="the leap")
        assert log_time_ms() - began_ms < 600_000
        daemons.heal()
        now_ms = log_time_ms()
        wait_for(lambda: log_time_ms() > now_ms, what="log time that goes on")
