"""A member that moves to other endpoints, by ``member update``: no other file needs an edit."""

import pytest

from tests.processes.growing import Growing
from tests.processes.load import Load
from tests.processes.ports import free_ports
from tests.processes.processes import wait_for

KINDS = ("client", "peer", "events")


@pytest.mark.timeout(180)
def test_a_voter_moves_under_load(tmp_path):
    with Growing(tmp_path, size=3, more=0) as daemons:
        daemons.start()
        daemons.wait_leader()
        with Load(daemons, seed=1, pause_s=0.005) as load:
            load.wait_more(20)
            daemons.kill("n2")
            others = {name: daemons.config_path(name).read_text() for name in ("n1", "n3")}
            # The ports that it has just given back are the first free ones, as often as not.
            elsewhere = [p for p in free_ports(6) if p not in daemons.ports["n2"].values()][:3]
            daemons.ports["n2"] = dict(zip(KINDS, elsewhere, strict=True))
            told = daemons.ctl("update", "n2", *daemons.where("n2"), code=1)
            assert f"n2 does not answer at {daemons.endpoint('n2')}" in told
            daemons.write_config("n2")
            daemons.start("n2")
            daemons.wait_up("n2")
            load.wait_more(20)
            assert daemons.status("n2")["role"] == "returning", "nobody finds it there yet"
            daemons.ctl("update", "n2", *daemons.where("n2"))
            assert {name: daemons.config_path(name).read_text() for name in ("n1", "n3")} == others
            wait_for(lambda: daemons.status("n2")["role"] in ("follower", "leader"), what="n2 back")
            daemons.kill("n3")
            load.wait_more(20)
            daemons.start("n3")
            load.wait_more(20)
        load.check()
        daemons.wait_leader()
        where = {kind: daemons.endpoint("n2", kind) for kind in KINDS}
        daemons.kill()
        daemons.start()
        daemons.wait_leader()
        for name in daemons.names:
            member = daemons.status(name)["membership"]["members"]["n2"]
            assert {kind: member[kind] for kind in KINDS} == where
        load.check()
        daemons.check_equal()
