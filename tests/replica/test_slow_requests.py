"""A slow request is logged with where its time went and the node that was waited for; a quick one
is not."""

import pytest

from paxosd.core.effects import AcceptRecord, ReadReady, Ready, Refusal, WriteReply
from paxosd.core.membership import Member, Membership
from paxosd.core.messages import Accepted, Envelope, HeartbeatAck
from paxosd.core.types import Ballot
from paxosd.recorder.event import COUNT_BIT
from paxosd.replica.slow_requests import LINES_MAX, SlowRequests
from paxosd.replica.tokens import ReadToken, WriteToken
from paxosd.sim.nemesis.director import Director
from paxosd.sim.nemesis.schedule import Directive
from paxosd.sim.world.trace import Trace
from tests.sim.simple import make_client, make_cluster, run_for

B = Ballot(3, "n1")
WRITTEN = WriteReply(7, [])


class Leader:
    membership = Membership({name: Member(name, "", "") for name in ("n1", "n2", "n3")})


class Lines:
    def __init__(self):
        self.lines = []

    def info(self, event, **fields):
        self.lines.append({"event": event, **fields})


@pytest.fixture
def watch():
    """Of n1; ``watch.log.lines`` has what was logged."""
    log = Lines()
    slow = SlowRequests(Leader(), "n1", log, 250.0)
    slow.log = log
    return slow


def propose(watch, at_ms, slot=7):
    watch.begin_turn(at_ms)
    watch.done(Ready(persist=[AcceptRecord(slot, B, b"value")]))


def vote(watch, voter, at_ms, slot=7):
    watch.begin_turn(at_ms)
    message = Accepted(B, ((slot, slot),), 1)
    if voter == "n1":
        watch.done(Ready(publishes=[message]))
    else:
        watch.heard([Envelope(voter, 1, message)])


def answer(watch, at_ms, came_ms=1000.0, reply=WRITTEN):
    watch.begin_turn(at_ms)
    watch.answered(WriteToken(b"c", 1, 44, 5 | 10 << COUNT_BIT, came_ms), reply)
    return watch.log.lines[-1] if watch.log.lines else None


def test_a_quick_request_makes_no_line(watch):
    assert answer(watch, 1249.9) is None


def test_where_the_time_went(watch):
    propose(watch, 1020)
    vote(watch, "n1", 1050)
    vote(watch, "n2", 1280)
    vote(watch, "n3", 1290)
    assert answer(watch, 1300) == {
        "event": "slow_request", "what": "write", "session": 44, "first_seq": 5, "commands": 10,
        "slot": 7, "dur_ms": 300.0, "queue_ms": 20.0, "persist_ms": 30.0, "quorum_ms": 230.0,
        "apply_ms": 20.0, "stage": "quorum", "waited_for": "n2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("proposed", "votes", "stage", "waited_for"),
    [
        (1001, {"n1": 1290, "n2": 1005, "n3": 1295}, "persist", "n1"),
        (1001, {"n1": 1002, "n2": 1003, "n3": 1290}, "apply", "n1"),
        (1001, {"n2": 1005, "n3": 1295}, "persist", "n1"),  # its own vote has not come at all
        (1200, {"n1": 1205, "n2": 1290}, "queue", "n2"),  # what is ahead waits for n2 as well
        (1280, {"n1": 1295, "n2": 1296}, "queue", "n1"),
    ],
)
def test_the_longest_stage_and_who_was_waited_for(watch, proposed, votes, stage, waited_for):
    propose(watch, proposed)
    for voter, at_ms in sorted(votes.items(), key=lambda each: each[1]):
        vote(watch, voter, at_ms)
    line = answer(watch, 1300)
    assert (line["stage"], line["waited_for"]) == (stage, waited_for)
    stages = ("queue", "persist", "quorum", "apply")
    assert sum(line[f"{each}_ms"] for each in stages) == line["dur_ms"] == 300.0


def test_of_what_another_leader_carried_out_the_slot_alone_is_known(watch):
    line = answer(watch, 1300)
    assert (line["slot"], line["dur_ms"]) == (7, 300.0)
    assert not {"queue_ms", "stage", "waited_for"} & line.keys()


def test_votes_of_an_earlier_proposal_of_the_same_slot_do_not_count(watch):
    vote(watch, "n2", 900)
    propose(watch, 1001)
    vote(watch, "n1", 1002)
    vote(watch, "n3", 1299)
    assert answer(watch, 1300)["waited_for"] == "n3"


def test_a_refusal_has_its_code(watch):
    assert answer(watch, 2000, reply=Refusal("no_leader", "", ""))["code"] == "no_leader"


def test_a_read_waits_for_a_confirmation_or_for_the_state(watch):
    token = ReadToken(b"c", 1, [], 0, 1000.0)
    watch.begin_turn(1300)
    watch.heard([Envelope("n3", 1, HeartbeatAck(B, 0, 0))])
    watch.answered(token, ReadReady(7))
    watch.begin_turn(1400)
    watch.answered(token, ReadReady(7))
    assert [(line["what"], line["stage"], line["waited_for"]) for line in watch.log.lines] == [
        ("read", "quorum", "n3"),
        ("read", "apply", "n1"),
    ]


def test_lines_are_few_and_say_how_many_are_missing(watch):
    for _ in range(LINES_MAX + 5):
        answer(watch, 2000)
    assert len(watch.log.lines) == LINES_MAX
    assert answer(watch, 3000)["unlogged"] == 5
    assert "unlogged" not in answer(watch, 3000)


# -- in a cluster


def slow_disk_of_other(leader, other):
    return other, {"kind": "disk-slow", "on": [other], "ms": 400}


def slow_disk_of_leader(leader, other):
    return leader, {"kind": "disk-slow", "on": [leader], "ms": 400}


def slow_link(leader, other):
    return "", {"kind": "delay", "ms": 150, "from": [leader, other], "to": [leader, other]}


def slow_lines(seed, rule, down=True):
    """The leader and the lines of a cluster with one follower down and this fault; ``rule`` gets
    the leader and the other follower."""
    trace = Trace("all")
    cluster = make_cluster(seed, 3, trace=trace)
    leader = cluster.elect()
    others = [name for name in cluster.names if name != leader]
    client, _ = make_client(cluster, operations=60, duration_ms=6000.0, mix={"put": 1})
    client.start()
    run_for(cluster, 1500)
    assert not [each for each in trace.events() if each["event"] == "slow_request"]
    if down:
        cluster.crash(others[1])
    where, arguments = rule(leader, others[0])
    Director(cluster).carry_out(
        Directive(int(cluster.world.now_ms), "fault_add", where, {"name": "slow", **arguments})
    )
    run_for(cluster, 4000)
    lines = [each for each in trace.events() if each["event"] == "slow_request"]
    return leader, others[0], lines


def test_a_slow_disk_of_the_follower_that_is_needed():
    _, other, lines = slow_lines(3, slow_disk_of_other)
    assert lines
    assert {(each["stage"], each["waited_for"]) for each in lines} == {("quorum", other)}
    assert min(each["quorum_ms"] for each in lines) > 200


def test_a_slow_disk_of_the_leader():
    leader, _, lines = slow_lines(3, slow_disk_of_leader)
    assert lines
    assert all(each["waited_for"] == leader for each in lines if each["node"] == leader)


def test_a_slow_link():
    _, other, lines = slow_lines(3, slow_link)
    assert lines
    assert {(each["stage"], each["waited_for"]) for each in lines} == {("quorum", other)}


def test_nobody_waits_for_the_slower_follower():
    assert slow_lines(3, slow_disk_of_other, down=False)[2] == []
