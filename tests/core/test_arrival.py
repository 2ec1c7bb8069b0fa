"""A voter without a memory asks before it votes ("Paxos Made Live", section 5.1)."""

import random
from typing import ClassVar

import pytest

from paxosd.core.arrival import TELL_AFTER_MS, life_number
from paxosd.core.machine import Machine
from paxosd.core.membership import Member, Membership
from paxosd.core.messages import (
    Accept,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Nack,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    Rejoin,
    TransferLeadership,
    Welcome,
)
from paxosd.core.node import Node
from paxosd.core.types import NULL_BALLOT, Ballot
from tests.core.cluster import PickleCodec
from tests.core.parts import make_options

LIFE = life_number(1, 77)
B = Ballot(3, "n2")


class Newcomer:
    """n1 of three, which has just started."""

    def __init__(self, size=3, promised=NULL_BALLOT, life=LIFE, machine=None, **standing):
        names = [f"n{i + 1}" for i in range(size)]
        self.node = Node(
            make_options("n1", size), names[1:], machine or Machine(), PickleCodec(),
            random.Random(1), incarnation=life, promised=promised, arriving=True, **standing,
        )  # fmt: skip
        self.now = 0.0
        self.notices = []

    def run(self, ms=0.0):
        """Time passes; what it sends meanwhile, all records being durable at once."""
        sent = []
        end = self.now + ms
        while True:
            self.node.tick(self.now, int(self.now))
            for _ in range(2):
                ready = self.node.ready()
                sent += ready.sends + [("all", accepted) for accepted in ready.publishes]
                self.notices += ready.notices
                if ready.ticket:
                    self.node.synced(ready.ticket)
            if self.now >= end:
                return sent
            self.now = min(end, self.now + 50)

    def hear(self, sender, message):
        self.node.set_time(self.now, int(self.now))
        self.node.step(sender, life_number(1, 5), message)

    def told(self):
        return [notice.event for notice in self.notices]


def kinds(sent):
    return {type(message) for _, message in sent}


REQUESTS = [
    PreVote(B, 0),
    Prepare(B, 1),
    Accept(B, 1, b"", 0),
    Heartbeat(B, "n2", 0, 0, 1, 0),
    TransferLeadership(B),
]
ANSWERS = {PreVoteReply, Promise, Nack, HeartbeatAck, Prepare}


class TestANewcomer:
    @pytest.mark.parametrize("request_", REQUESTS, ids=lambda m: type(m).__name__)
    def test_says_nothing_that_a_memory_would_be_needed_for(self, request_):
        new = Newcomer()
        new.hear("n2", request_)
        sent = new.run(10_000)
        assert not kinds(sent) & ANSWERS
        assert not [m for to, m in sent if to == "all"], "no vote either"
        assert new.node.promised == NULL_BALLOT
        assert kinds(sent) >= {Hello}
        assert new.node.role == "newcomer"

    def test_asks_all_until_each_has_answered(self):
        new = Newcomer()
        assert {to for to, m in new.run() if type(m) is Hello} == {"n2", "n3"}
        new.hear("n2", Welcome(LIFE))
        assert {to for to, m in new.run(1000) if type(m) is Hello} == {"n3"}
        assert new.node.status()["unconfirmed_by"] == ["n3"]
        assert new.node.role == "newcomer"

    def test_votes_once_all_have_confirmed_it(self):
        new = Newcomer()
        for peer in ("n2", "n3"):
            new.hear(peer, Welcome(LIFE))
        assert new.node.role == "candidate"
        new.run()
        assert "node.confirmed" in new.told()
        new.hear("n2", Prepare(B, 1))
        sent = new.run(300)
        assert Promise in kinds(sent)
        assert Hello not in kinds(sent)

    def test_a_cluster_of_one_has_nobody_to_ask(self):
        new = Newcomer(size=1)
        new.run(100)
        assert new.node.leading

    def test_tells_whom_it_waits_for_now_and_then(self):
        new = Newcomer()
        new.hear("n2", Welcome(LIFE))
        new.run(4 * TELL_AFTER_MS)
        waiting = [n for n in new.notices if n.event == "node.waiting"]
        assert [n.fields["members"] for n in waiting] == [["n3"]]


class TestASetAsideLog:
    """The node itself found its log damaged: it is another directory, and asks to vote again."""

    DAMAGED: ClassVar = {"directory": 5, "lost": True, "repaired": True}

    def test_it_asks_whoever_leads(self):
        new = Newcomer(**self.DAMAGED)
        assert Rejoin not in kinds(new.run(1000))
        new.hear("n2", Heartbeat(B, "n2", 0, 0, 1, 0))
        assert {to for to, m in new.run(200) if type(m) is Rejoin} == {"n2"}
        assert "node.waiting" not in new.told()

    @pytest.mark.parametrize("size", [1, 3])
    def test_it_tells_now_and_then_that_nobody_can_let_it(self, size):
        """As it is when a majority has lost its memory; a lone voter is one."""
        new = Newcomer(size, **self.DAMAGED)
        for peer in ("n2", "n3")[: size - 1]:
            new.hear(peer, Welcome(LIFE))
        sent = new.run(30 * TELL_AFTER_MS)
        assert not kinds(sent) & ANSWERS
        assert not new.node.leading
        waiting = [n for n in new.notices if n.event == "node.waiting"]
        assert len(waiting) == 3
        assert {n.level for n in waiting} == {"error"}
        assert all("a majority" in n.fields["advice"] for n in waiting)


class TestLostMemory:
    @pytest.mark.parametrize("known", [life_number(1, 78), life_number(1, 76), life_number(9, 0)])
    def test_one_peer_that_knows_another_life_is_enough(self, known):
        new = Newcomer()
        new.hear("n2", Welcome(LIFE))
        new.hear("n3", Welcome(known))
        new.hear("n3", Welcome(LIFE))
        new.run()
        assert new.node.forgot == ["n3"]
        assert new.told().count("node.memory_lost") == 1
        assert new.node.role == "forgetful"

    def test_a_late_answer_to_an_earlier_start_means_nothing(self):
        new = Newcomer(promised=B, life=life_number(2, 1))
        new.hear("n3", Welcome(life_number(1, 9)))
        assert new.node.forgot == []
        assert new.node.role == "candidate"

    def test_an_old_copy_of_a_memory_stops_voting_as_soon_as_it_knows(self):
        new = Newcomer(promised=B, life=life_number(2, 1))
        new.hear("n2", Prepare(Ballot(4, "n2"), 1))
        assert Promise in kinds(new.run())
        new.hear("n3", Welcome(life_number(2, 2)))
        new.hear("n2", Prepare(Ballot(5, "n2"), 1))
        assert Promise not in kinds(new.run())


class TestAPinnedDirectory:
    """The membership says that this one votes in the node's name."""

    def newcomer(self, directory=7):
        names = ("n1", "n2", "n3")
        members = {name: Member("", "", "") for name in names}
        members["n1"] = members["n1"]._replace(directory=7)
        machine = Machine()
        machine.membership = Membership(members, epoch=1, slot=1)
        return Newcomer(machine=machine, directory=directory)

    def test_needs_nobody_to_confirm_it(self):
        newcomer = self.newcomer()
        newcomer.run()
        assert newcomer.node.role == "candidate"

    @pytest.mark.parametrize("known", [0, 6])
    def test_a_peer_that_does_not_know_it_yet_tells_of_no_loss(self, known):
        """That peer knows the directory before: it has yet to apply the change."""
        newcomer = self.newcomer()
        newcomer.run()
        newcomer.hear("n2", Welcome(life_number(9, 1), known))
        assert not newcomer.node.forgetful
        assert ("n2", Hello(7)) in newcomer.run(100), "it asks on"
        newcomer.hear("n2", Welcome(LIFE, 7))
        assert ("n2", Hello(7)) not in newcomer.run(100)

    def test_but_an_old_copy_of_it_is_one(self):
        newcomer = self.newcomer()
        newcomer.run()
        newcomer.hear("n2", Welcome(life_number(9, 1), 7))
        assert newcomer.node.forgetful
        assert newcomer.node.role == "forgetful"

    def test_and_so_is_another_directory(self):
        newcomer = self.newcomer(directory=8)
        newcomer.run()
        assert newcomer.node.forgetful


@pytest.mark.parametrize("promised", [NULL_BALLOT, B], ids=["new", "with-a-memory"])
def test_a_peer_that_does_not_hear_it_is_told_again(promised):
    newcomer = Newcomer(promised=promised)
    newcomer.run()
    for name in ("n2", "n3"):
        newcomer.hear(name, Welcome(LIFE))
    assert Hello not in kinds(newcomer.run(500))
    newcomer.hear("n2", Welcome(0))
    assert not newcomer.node.forgetful
    assert [to for to, message in newcomer.run(100) if type(message) is Hello][:1] == ["n2"]
    newcomer.hear("n2", Welcome(LIFE))
    assert Hello not in kinds(newcomer.run(500))


def test_who_has_a_memory_votes_at_once_and_asks_besides():
    node = Newcomer(promised=B)
    node.hear("n2", Prepare(Ballot(4, "n2"), 1))
    assert kinds(node.run()) >= {Promise, Hello}


def test_a_hello_is_answered_with_the_life_that_was_heard():
    node = Newcomer(promised=B)
    node.hear("n3", Hello())
    assert ("n3", Welcome(life_number(1, 5))) in node.run()
