"""Links cut in one direction or both, by fault directives, between real daemons."""

import signal
import time

import pytest

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError, OutcomeUnknownError
from paxosd.core.client.calls import ClientOptions
from paxosd.core.requests import GET, LINEARIZABLE, STALE, ReadAnswer, ReadRequest
from tests.processes.load import Load
from tests.processes.processes import Daemons, wait_for


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Daemons(tmp_path_factory.mktemp("partition")) as started:
        started.start()
        started.wait_leader()
        yield started


@pytest.fixture
def daemons(cluster):
    cluster.heal()
    cluster.wait_leader()
    return cluster


def elections(daemons):
    """How many leaders there were: by the log of each, its own elections."""
    return sum(
        1
        for name in daemons.names
        for line in daemons.events(name, "leader.elected")
        if line.get("leader") == name
    )


def leads(daemons, *names):
    """The one of ``names`` that says it leads and that the others of them follow."""
    views = [daemons.status(name) for name in names]
    leaders = {view["leader"] if view else "" for view in views}
    return leaders.pop() if len(leaders) == 1 and leaders <= set(names) else ""


def hears(daemons, one, other):
    """Whether ``one`` hears ``other``, as the other says."""
    return daemons.status(other)["peers"][one]["hears"]


class TestOneWay:
    def test_a_leader_that_is_not_heard_is_replaced(self, daemons):
        """Its heartbeats and accepts are lost; what the others send does arrive."""
        old = daemons.wait_leader()
        others = daemons.followers(old)
        with Load(daemons) as load:
            load.wait_more(50)
            daemons.fault("deaf", "partition", old, "*", oneway=True)
            new = wait_for(lambda: leads(daemons, *others), what="a new leader")
            assert new != old
            load.wait_more(100)
            daemons.heal()
            load.wait_more(100)
        load.check()
        daemons.check_equal()

    def test_a_leader_that_hears_nobody_is_replaced(self, daemons):
        """It still sends heartbeats, but must step down without a quorum's answers."""
        old = daemons.wait_leader()
        others = daemons.followers(old)
        with Load(daemons) as load:
            load.wait_more(50)
            daemons.fault("mute", "partition", "*", old, oneway=True)
            new = wait_for(lambda: leads(daemons, *others), what="a new leader")
            load.wait_more(100)
            wait_for(
                lambda: not hears(daemons, old, new), what=f"{new}'s word that it is not heard"
            )
            daemons.heal()
            load.wait_more(100)
            wait_for(lambda: hears(daemons, old, new), what="the end of that")
        load.check()
        daemons.check_equal()


class TestOneBadLink:
    """PITFALLS, Paxos 11: a stable leader exists, and writes go on."""

    def test_between_the_leader_and_a_follower(self, daemons):
        leader = daemons.wait_leader()
        cut = daemons.followers(leader)[0]
        with Load(daemons) as load:
            load.wait_more(50)
            before = elections(daemons)
            daemons.fault("bad", "partition", leader, cut)
            load.wait_more(3000, timeout_s=120)
            assert elections(daemons) - before <= 2
            daemons.heal()
            load.wait_more(100)
        load.check()
        daemons.check_equal()

    def test_between_two_followers(self, daemons):
        leader = daemons.wait_leader()
        with Load(daemons) as load:
            load.wait_more(50)
            before = elections(daemons)
            daemons.fault("bad", "partition", *daemons.followers(leader))
            load.wait_more(3000, timeout_s=120)
            assert elections(daemons) == before
            assert leads(daemons, leader) == leader
        daemons.heal()
        load.check()
        daemons.check_equal()

    def test_that_loses_and_delays(self, daemons):
        leader = daemons.wait_leader()
        one, two = daemons.followers(leader)
        with Load(daemons, seed=3) as load:
            daemons.fault("lossy", "drop", one, "*", probability=0.3, seed=7)
            daemons.fault("slow", "delay", leader, two, ms=50)
            load.wait_more(2000, timeout_s=120)
            daemons.heal()
            load.wait_more(100)
        load.check()
        daemons.check_equal()


class TestAnIsolatedLeader:
    """PITFALLS, Paxos 7: a linearizable read is fresh, or it is no answer."""

    def test_never_answers_with_what_is_old(self, daemons):
        old = daemons.wait_leader()
        others = daemons.followers(old)
        with daemons.client(timeout_s=30.0) as client:
            client.put(b"k", b"before")
        read_stale = ReadRequest(0, STALE, [[GET, b"k"]])
        with daemons.raw(old) as raw:
            wait_for(lambda: raw.ask(read_stale).age_ms >= 0, what="a leader that knows its age")
        daemons.fault("island", "partition", old, "*")
        with daemons.raw(old) as raw, daemons.client(*others, timeout_s=60.0) as client:
            # While it still takes itself for the leader, and later, when it does not.
            early = raw.send(ReadRequest(0, LINEARIZABLE, [[GET, b"k"]]))
            client.put(b"k", b"after")
            acknowledged_s = time.monotonic()
            for _ in range(3):
                assert not isinstance(raw.get(b"k", timeout_s=1.0), ReadAnswer)
            asked_s = time.monotonic()
            stale = raw.ask(read_stale)
            assert stale.results[0].value == b"before"
            assert stale.age_ms >= (asked_s - acknowledged_s) * 1000
            view = daemons.status(old)
            assert view["role"] != "leader"
            assert view["fault_tolerance"] <= 0
            daemons.heal()
            # It was asked before "after" was written, so either is right; but to find "before"
            # it would have had to hear from a quorum, and it was cut off all the time.
            answer = raw.answer(early, timeout_s=1.0)
            assert not isinstance(answer, ReadAnswer) or answer.results[0].value == b"after"
            wait_for(lambda: isinstance(raw.get(b"k"), ReadAnswer), what="a read at the old leader")
            assert raw.get(b"k").results[0].value == b"after"
        daemons.check_equal()

    def test_that_takes_itself_for_the_leader_for_long_is_not_believed(self, tmp_path):
        """n3 would wait a minute for a quorum's answers: a slow clock, a wrong setting. What
        keeps it from a stale answer is the quorum of each read, not that it has stepped down."""
        slow = {"arguments": ("--set", "protocol.election_timeout_ms=60000")}
        with Daemons(tmp_path) as daemons:
            daemons.start("n1", "n2")
            daemons.start("n3", **slow)
            while (leader := daemons.wait_leader()) != "n3":
                # It campaigns when it is asked to, as the follower that has the most.
                daemons.wait_equal()
                daemons.kill(leader, sig=signal.SIGTERM)
                daemons.start(leader)
            with daemons.client(timeout_s=30.0) as client:
                client.put(b"k", b"before")
            with daemons.raw("n3") as raw:
                assert raw.get(b"k").results[0].value == b"before"
                daemons.fault("island", "partition", "n3", "*")
                wait_for(lambda: leads(daemons, "n1", "n2"), what="a new leader")
                with daemons.client("n1", "n2", timeout_s=60.0) as client:
                    client.put(b"k", b"after")
                assert daemons.status("n3")["role"] == "leader"
                assert not isinstance(raw.get(b"k", timeout_s=2.0), ReadAnswer)
                assert daemons.status("n3")["role"] == "leader"
                daemons.heal()
                wait_for(lambda: isinstance(raw.get(b"k"), ReadAnswer), what="a read")
                assert raw.get(b"k").results[0].value == b"after"
            daemons.check_equal()

    def test_takes_no_write_that_counts(self, daemons):
        old = daemons.wait_leader()
        others = daemons.followers(old)
        # One that learns of no other node: it would write there.
        alone = ClientOptions(endpoints_max=1)
        with Client([daemons.endpoint(old)], timeout_s=60.0, options=alone) as client:
            client.put(b"k", b"before")
            daemons.fault("island", "partition", old, "*")
            client.timeout_s = 1.5
            lost = client.pipeline().put(b"k", b"lost").error()
        assert isinstance(lost, ClientError)
        with daemons.client(*others, timeout_s=60.0) as client:
            after = client.put(b"k", b"after")
            daemons.heal()
            daemons.wait_equal()
            if isinstance(lost, OutcomeUnknownError):
                outcome = client.outcome(lost.session, lost.seq)
                assert outcome.state in ("fenced", "committed")
                found = client.get(b"k")
                if outcome.state == "fenced":
                    assert (found.value, found.modify_revision) == (b"after", after)
        daemons.check_equal()
