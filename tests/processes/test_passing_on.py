"""On real daemons: clients that reach every node but the leader write through the others."""

import threading

from paxosctl.client.client import Client
from paxosd.core.client.calls import ClientOptions
from tests.processes.processes import Daemons, wait_for

ONE = ClientOptions(endpoints_max=1)
"""No hint is followed: all that such a client reaches is the node that it was given."""


def reaching(daemons, name):
    return Client([daemons.endpoint(name)], timeout_s=20.0, options=ONE)


def test_writes_through_a_follower_while_leaders_come_and_go(tmp_path):
    with Daemons(tmp_path) as daemons:
        daemons.start()
        leader = daemons.wait_leader()
        follower = next(name for name in daemons.names if name != leader)
        with reaching(daemons, follower) as client:
            for number in range(20):
                client.put(b"k", b"%d" % number)
            assert client.get(b"k").version == 20, "each of them once"
            assert daemons.status(follower)["counters"]["passed_on"] >= 20

            written = []

            def write():  # with a client of its own: one belongs to the thread that made it
                with reaching(daemons, follower) as writer:
                    for number in range(200):
                        writer.put(b"m", b"%d" % number)
                        written.append(number)

            thread = threading.Thread(target=write)
            thread.start()
            wait_for(lambda: len(written) > 30, what="writes")
            daemons.kill(leader)
            daemons.start(leader)
            thread.join(timeout=120)
            assert not thread.is_alive()
            assert written == list(range(200))
            found = client.get(b"m")
            assert (found.value, found.version) == (b"199", 200), "none lost, none twice"
            daemons.wait_up()
            daemons.check_equal()
