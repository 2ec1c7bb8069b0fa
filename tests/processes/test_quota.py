"""A cluster filled to its quota refuses puts, restarts as it was, and deletes make room."""

import json
import subprocess
import sys

import pytest

from paxosctl.client.errors import EXIT_QUOTA, QuotaError
from paxosd.core.cluster_settings import LEVEL_LATEST
from tests.processes.processes import Daemons, clean_environ, wait_for

QUOTA_BYTES = 200_000


def ctl(daemons, *arguments):
    """``paxosctl …``: (exit code, standard output, standard error)."""
    done = subprocess.run(
        [sys.executable, "-m", "paxosctl", "--endpoints", ",".join(daemons.endpoints), *arguments],
        capture_output=True, text=True, timeout=60, env=clean_environ(), check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def states(daemons):
    """What each node says of the quota."""
    return {name: (daemons.status(name) or {}).get("quota") for name in daemons.names}


def test_a_full_cluster_goes_on(tmp_path):
    with Daemons(tmp_path, 3) as daemons:
        daemons.start()
        daemons.wait_leader()
        wait_for(
            lambda: (
                {(daemons.status(n) or {}).get("level") for n in daemons.names} == {LEVEL_LATEST}
            ),
            what="the latest feature level",
        )
        assert ctl(daemons, "cluster", "set", f"quota_bytes={QUOTA_BYTES}")[0] == 0
        with daemons.client() as client:
            written = fill(client)
            assert 10 < written < QUOTA_BYTES // 10_000
            client.put(b"k00000", b"")  # smaller than it was
            with pytest.raises(QuotaError, match="quota"):
                client.put(b"k00000", bytes(60_000))
            assert len(list(client.scan(b""))) == written
        code, _, err = ctl(daemons, "put", "more", "x" * 60_000)
        assert code == EXIT_QUOTA
        assert "quota" in err
        # The leader may look at its store for the first time when it is full already.
        leader = daemons.wait_leader()
        for name in daemons.followers(leader):
            assert daemons.wait_event(name, "quota.near")["quota_bytes"] == QUOTA_BYTES
        wait_for(lambda: states(daemons)[leader] == "full", what="the leader's alarm")
        daemons.wait_event(leader, "quota.full")
        assert "of its quota" in ctl(daemons, "status")[1]

        for name in daemons.names:
            daemons.kill(name)
        daemons.start()
        daemons.wait_leader()
        with daemons.client() as client:
            assert len(list(client.scan(b""))) == written
            with pytest.raises(QuotaError):
                client.put(b"k00000", bytes(60_000))
            assert client.delete_prefix(b"k") == written
            assert client.put(b"again", bytes(60_000)) > 0
        wait_for(lambda: set(states(daemons).values()) == {"ok"}, what="the end of the alarm")
        code, out, _ = ctl(daemons, "hash", "-o", "json")
        assert code == 0
        assert json.loads(out)["agree"] is True


def fill(client):
    """Put until it is refused; the number of keys."""
    for number in range(QUOTA_BYTES):
        try:
            client.put(b"k%05d" % number, bytes(10_000))
        except QuotaError:
            return number
    raise AssertionError("nothing was refused")
