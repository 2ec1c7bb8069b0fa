"""Members that come and go under load, on real daemons, by the command line alone."""

import shutil
from functools import partial

import pytest

from paxosd.daemon.exits import CONFIG, OK
from tests.processes.growing import Growing
from tests.processes.load import Load
from tests.processes.processes import wait_for

SEED = 20260607


@pytest.mark.timeout(180)
def test_all_three_are_replaced_under_load(tmp_path):
    with Growing(tmp_path, more=3) as daemons:
        daemons.start_founders()
        with Load(daemons, seed=SEED, timeouts_s=(20.0, 20.0)) as load:
            load.wait_more(100)
            for old, new in zip(daemons.founders, ("n4", "n5", "n6"), strict=True):
                daemons.join(new)
                words = daemons.ctl("replace", old, new, *daemons.where(new))
                assert f"{new} votes in the place of {old}" in words
                assert daemons.wait_end(old) in (OK, CONFIG)
                load.wait_more(100)
        load.check()
        assert sum(len(writer.unknown) + writer.refused for writer in load.writers) == 0
        assert load.settled == 0
        assert daemons.voters() == ["n4", "n5", "n6"]
        daemons.check_equal()
        # What is removed stays away, and says why.
        code, words = daemons.fails_to_start("n1")
        assert code == CONFIG
        assert "was removed from the cluster" in words


@pytest.mark.timeout(180)
def test_a_dead_voter_is_replaced(tmp_path):
    with Growing(tmp_path) as daemons:
        leader = daemons.start_founders()
        dead = daemons.founders[0] if leader != daemons.founders[0] else daemons.founders[1]
        with Load(daemons, seed=SEED) as load:
            load.wait_more(50)
            daemons.kill(dead)
            daemons.join("n4")
            daemons.ctl("replace", dead, "n4", *daemons.where("n4"))
            load.wait_more(50)
        load.check()
        daemons.check_equal()
        assert "n4" in daemons.voters()
        assert dead not in daemons.voters()
        # The zombie (PITFALLS 15): it comes back, hears that it has gone, and disturbs nobody.
        campaigns = daemons.events(dead, "election.started")
        daemons.start(dead)
        assert daemons.wait_end(dead) == OK
        assert daemons.events(dead, "node.removed")
        assert daemons.events(dead, "election.started") == campaigns
        assert daemons.wait_leader() != dead


@pytest.mark.timeout(180)
def test_one_to_three_and_back_under_load(tmp_path):
    with Growing(tmp_path, size=1, more=2) as daemons:
        daemons.start_founders()
        with Load(daemons, seed=SEED, timeouts_s=(20.0, 20.0)) as load:
            load.wait_more(50)
            words = daemons.ctl("add", "n2", *daemons.where("n2"))  # it does not run yet
            assert "and then, to give it a vote: paxosctl member promote n2" in words
            daemons.ctl("promote", "n2", code=1)
            daemons.ctl("promote", "nn2", code=2)
            configuration = words[
                words.index("[cluster]\nid") : words.index("and run, on its machine")
            ]
            daemons.config_path("n2").write_text(
                f'{configuration}\n[log]\nfile = "n2.log"\nformat = "json"\n'
                "[faults]\nenabled = true\n"
            )
            daemons.start("n2")
            wait_for(lambda: daemons.can("promote", "n2"), 30, "a learner that has caught up")
            daemons.ctl("promote", "n2")
            daemons.join("n3")
            daemons.ctl("add", "n3", *daemons.where("n3"))
            assert daemons.voters() == ["n1", "n2", "n3"]
            load.wait_more(50)
            daemons.ctl("transfer-leader", "n1")
            daemons.ctl("remove", "n1")  # the leader, and the node that began it all
            daemons.wait_end("n1")
            load.wait_more(50)
            daemons.ctl("demote", "n3")
            assert daemons.roles() == {"n2": "leader", "n3": "learner"}
            load.wait_more(50)
        load.check()
        daemons.check_equal()


@pytest.mark.timeout(120)
def test_a_client_that_knows_the_removed_leader_alone_is_sent_on(tmp_path):
    with Growing(tmp_path, size=1, more=2) as daemons:
        daemons.start_founders()
        for name in ("n2", "n3"):
            daemons.join(name)
            daemons.ctl("add", name, *daemons.where(name))
        daemons.client = partial(Growing.client, daemons, "n1")
        daemons.ctl("transfer-leader", "n1")
        with Load(daemons, seed=SEED, timeouts_s=(20.0, 20.0), readers=0) as load:
            load.wait_more(50)
            daemons.ctl("remove", "n1")
            assert daemons.wait_end("n1") == OK
            load.wait_more(50)
        del daemons.client
        load.check()


@pytest.mark.timeout(120)
def test_a_wiped_node_whose_configuration_names_nobody_who_is_left(tmp_path):
    """Those of now, whose membership names its address, talk to it: it learns from them."""
    with Growing(tmp_path, size=1, more=3) as daemons:
        daemons.start_founders()
        for name in ("n2", "n3"):
            daemons.join(name)
            daemons.ctl("add", name, *daemons.where(name))
        daemons.ctl("remove", "n1")
        daemons.wait_end("n1")
        assert "n3" not in daemons.config_path("n2").read_text()
        daemons.kill("n2")
        shutil.rmtree(tmp_path / "n2")
        before = len(daemons.events("n2", "leader.elected"))  # in its first life it may have led
        daemons.start("n2")
        wait_for(lambda: (daemons.status("n2") or {}).get("role") == "memory-lost", what="its loss")
        assert daemons.roles()["n2"] == "memory-lost"
        assert daemons.status("n2")["voters"] == ["n2", "n3"]
        elected = daemons.events("n2", "leader.elected")[before:]
        assert not [event for event in elected if event["leader"] == "n2"]


@pytest.mark.timeout(180)
def test_a_wiped_node_rejoins_under_load(tmp_path):
    with Growing(tmp_path, more=0) as daemons:
        leader = daemons.start_founders()
        wiped = daemons.followers(leader)[0]
        with Load(daemons, seed=SEED) as load:
            load.wait_more(50)
            assert "is whole" in daemons.ctl("rejoin", wiped, code=1)
            daemons.kill(wiped)
            shutil.rmtree(tmp_path / wiped)
            daemons.start(wiped)
            wait_for(
                lambda: daemons.roles()[wiped] == "memory-lost", 30, "that it knows of its loss"
            )
            assert f"paxosctl member rejoin {wiped}" in daemons.ctl("list")
            words = daemons.ctl("rejoin", wiped)
            assert f"{wiped} has caught up, and votes" in words
            # It counts again: without another voter the two go on.
            other = next(n for n in daemons.founders if n not in (wiped, leader))
            daemons.kill(other)
            load.wait_more(50)
            daemons.start(other)
        load.check()
        daemons.check_equal()
        # It is known by its new directory from now on, over restarts too.
        daemons.kill(wiped)
        daemons.start(wiped)
        wait_for(lambda: daemons.roles()[wiped] in ("voter", "leader"), 30, "its vote")


@pytest.mark.timeout(120)
def test_flexible_quorums_under_load(tmp_path):
    with Growing(tmp_path, size=3, more=1) as daemons:
        daemons.start_founders()
        with Load(daemons, seed=SEED) as load:
            daemons.join("n4")
            daemons.ctl("add", "n4", *daemons.where("n4"))
            daemons.ctl("quorum", "--phase1", "3", "--phase2", "2")
            load.wait_more(50)
            assert "need not meet" in daemons.ctl(
                "quorum", "--phase1", "2", "--phase2", "2", code=2
            )
            daemons.ctl("quorum", "--majority")
            load.wait_more(50)
        load.check()
        daemons.check_equal()
