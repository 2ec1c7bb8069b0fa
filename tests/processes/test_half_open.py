"""A client whose connection is dead though nobody closed it: a firewall that forgot it."""

import pytest

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from tests.bus.black_hole import BlackHole
from tests.processes.processes import Daemons, wait_for


@pytest.mark.parametrize("silent", [True, False], ids=["while it calls", "while it is idle"])
def test_a_client_of_one_endpoint_goes_on_after_a_black_hole(tmp_path, silent):
    with Daemons(tmp_path, size=1) as daemons:
        daemons.start()
        daemons.wait_leader()
        with (
            BlackHole(daemons.endpoints[0]) as hole,
            Client([hole.endpoint], timeout_s=1.0) as client,
        ):
            client.put(b"k", b"1")
            hole.swallow()
            if silent:
                # Long enough for it to connect anew, into the hole: that is accepted, and silent.
                while hole.dead < 2:
                    with pytest.raises(ClientError):
                        client.put(b"k", b"lost")
            hole.heal()

            def works():
                try:
                    return client.put(b"k", b"2")
                except ClientError:
                    return 0

            wait_for(works, 15.0, "a write through the healed hole")
