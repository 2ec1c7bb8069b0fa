"""A lease over kill -9 of the leader and of all nodes: it does not end early, and its key goes at
one revision on every node."""

import time

import pytest

from paxosctl.client.errors import ClientError
from paxosd.check.lease_term import CLOCK_PPM_MAX
from paxosd.core.cluster_settings import LEVEL_COORDINATION
from tests.processes.processes import Daemons, wait_for

ALSO_KEYED = True

TTL_S = 6


@pytest.mark.timeout(180)
def test_a_lease_outlives_its_leader_and_a_restart_of_all_and_no_more(tmp_path):
    with Daemons(tmp_path) as daemons:
        daemons.start()
        leader = daemons.wait_leader()
        with daemons.client() as client:
            wait_for(
                lambda: (daemons.status(leader) or {}).get("level", 0) >= LEVEL_COORDINATION,
                what="the feature level of leases",
            )
            sent_s = time.monotonic()
            lease = client.grant(TTL_S)
            written = client.put(b"k", b"v", lease=lease)
            daemons.kill(leader)
            daemons.start(leader)
            daemons.wait_up(*daemons.names)
            daemons.kill()
            daemons.start()

            def gone():
                """Whether it is gone; it was there in each answer that came before its time."""
                try:
                    row = client.get(b"k")
                except ClientError:
                    return False
                seen_s = time.monotonic()
                if row is None:
                    early = (seen_s - sent_s) < TTL_S * (1 - CLOCK_PPM_MAX / 1e6)
                    assert not early, f"it went {seen_s - sent_s:.3f} s after the grant was sent"
                return row is None

            wait_for(gone, timeout_s=90.0, what="the end of the lease")
            # Nothing else was written: on each node the next revision is that of the end.
            assert client.put(b"after", b"") == written + 2
        daemons.check_equal()
        for name in daemons.names:
            with daemons.client(name) as client:
                assert client.get(b"k") is None
                assert client.get(b"after").modify_revision == written + 2
