"""Members without a vote, on real daemons: they read, they watch, and nobody waits for them."""

import pytest

from paxosctl.client.client import Client
from tests.processes.growing import Growing
from tests.processes.load import Load
from tests.processes.processes import Daemons, wait_for
from tests.processes.test_watch_real import Watching, numbers_of

SEED = 20260611
LEARNER = "n4"


def reads_and_watches(daemons):
    """A client that knows the learner alone reads and watches what others write elsewhere."""
    place = [daemons.endpoint(LEARNER)]
    with (
        daemons.client("n1", timeout_s=30.0) as writer,
        Client(place, timeout_s=30.0) as reader,
        Watching(place, b"l/", prefix=True) as watching,
    ):
        first = len(watching.changes)
        for number in range(50):
            key = b"l/%d" % (number % 5)
            revision = writer.put(key, b"%d" % number)
            # Linearizable: it sees what was acknowledged before, on the learner too.
            assert reader.get(key).value == b"%d" % number
        watching.wait_for_revision(revision)
        assert numbers_of(watching.changes[first:]) == list(range(50))
        stale = wait_for(
            lambda: (found := reader.get_stale(b"l/4")).revision >= revision and found,
            what="a stale read of the last write",
        )
        assert stale.value.value == b"49"


def nobody_waits_for_it(daemons):
    """kill -9 of the learner, and of one voter beside it: no write fails. Were the learner
    counted, two of four could write nothing."""
    leader = daemons.wait_leader()
    with Load(daemons, seed=SEED, timeouts_s=(20.0, 20.0), readers=0) as load:
        load.wait_more(50)
        daemons.kill(LEARNER)
        load.wait_more(100)
        status = daemons.status(leader)
        assert status["voters"] == ["n1", "n2", "n3"]
        assert (status["quorum"], status["fault_tolerance"]) == (2, 1)
        voter = next(name for name in status["voters"] if name != leader)
        daemons.kill(voter)
        load.wait_more(100)
        daemons.start(LEARNER, voter)
        load.wait_more(50)
    assert sum(len(writer.unknown) + writer.refused for writer in load.writers) == 0
    assert load.settled == 0
    load.check()
    daemons.wait_up()
    daemons.check_equal()
    assert daemons.status(LEARNER)["role"] == "learner"


@pytest.mark.timeout(170)
def test_a_learner_of_the_configuration(tmp_path):
    with Daemons(tmp_path, size=4, learners=[LEARNER]) as daemons:
        daemons.start()
        assert daemons.wait_leader() != LEARNER
        reads_and_watches(daemons)
        nobody_waits_for_it(daemons)
        reads_and_watches(daemons)


@pytest.mark.timeout(170)
def test_a_learner_that_is_added_and_promoted(tmp_path):
    with Growing(tmp_path) as daemons:
        daemons.start_founders()
        daemons.join(LEARNER)
        words = daemons.ctl("add", LEARNER, *daemons.where(LEARNER), "--learner")
        assert f"{LEARNER} is a learner" in words
        assert daemons.roles()[LEARNER] == "learner"
        reads_and_watches(daemons)
        nobody_waits_for_it(daemons)
        wait_for(lambda: daemons.can("promote", LEARNER), 60, "a learner that has caught up")
        assert f"{LEARNER} is a voter" in daemons.ctl("promote", LEARNER)
        assert daemons.voters() == ["n1", "n2", "n3", "n4"]
        daemons.ctl("transfer-leader", LEARNER)
        assert daemons.wait_leader() == LEARNER
        daemons.check_equal()
