"""The client of docs/PROTOCOL.md, which knows no code of paxosd, with real daemons."""

from tests.minimal_client import minimal_client
from tests.processes.processes import Daemons


def test_it_goes_on_when_the_leader_is_killed(tmp_path):
    with Daemons(tmp_path) as daemons:
        daemons.start(*daemons.names)
        leader = daemons.wait_leader()
        with minimal_client(*daemons.endpoints) as client:
            assert client.put(b"k", b"v") == 1
            daemons.kill(leader)
            assert client.put(b"k", b"w") == 2
            assert client.get(b"k") == b"w"
            applied = client.fence(client.session, 2)
            assert applied[0] == 5
            assert applied[2][1] == 2
