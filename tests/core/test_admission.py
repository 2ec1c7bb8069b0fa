"""A voter without a memory asks before it votes ("Paxos Made Live", section 5.1)."""

import random
from typing import ClassVar

import pytest

from paxosd.core.admission import LISTEN_TIMEOUTS, REPORT_AFTER_MS
from paxosd.core.cluster_settings import DEFAULTS
from paxosd.core.founding import ALONE_ADVICE, Proposal
from paxosd.core.genesis import Founder, Record
from paxosd.core.membership import Member, Membership
from paxosd.core.messages import (
    Accept,
    Genesis,
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
    VotesRequest,
    Welcome,
)
from paxosd.core.messages import Founding as FoundingMessage
from paxosd.core.node import Node
from paxosd.core.restart import Restart
from paxosd.core.roster import use_membership
from paxosd.core.run_id import make_run_id
from paxosd.core.state.machine import Machine
from paxosd.core.types import NULL_BALLOT, Ballot
from tests.core.cluster import PickleCodec
from tests.core.parts import make_options

LIFE = make_run_id(1, 77)
B = Ballot(3, "n2")
PEERS_LIFE = make_run_id(1, 5)
WAIT_MS = 15_000
DIRECTORIES = {"n1": 7, "n2": 8, "n3": 9}


SETTINGS = DEFAULTS.to_command().decode()


def record(**directories):
    """The founding record of n1, n2, n3, out of these directories."""
    found = DIRECTORIES | directories
    return Record("c", {name: Founder(True, found[name]) for name in found}, SETTINGS)


class Newcomer:
    """n1 of three, which has just started."""

    def __init__(self, size=3, promised=NULL_BALLOT, run_id=LIFE, machine=None, **standing):
        names = [f"n{i + 1}" for i in range(size)]
        self.node = Node(
            make_options("n1", size, cluster="c"), names[1:], PickleCodec(), random.Random(1),
            Restart(machine=machine or Machine(), run_id=run_id, promised=promised, arriving=True,
                    **standing),
        )  # fmt: skip
        self.written = []
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
                if self.node.founding_record is not None:
                    self.written.append(self.node.founding_record)
                    self.node.use_genesis(self.node.founding_record)
            if self.now >= end:
                return sent
            self.now = min(end, self.now + 50)

    def hear(self, sender, message, run_id=PEERS_LIFE):
        self.node.set_time(self.now, int(self.now))
        self.node.step(sender, run_id, message)

    def welcomed(self, *names):
        for name in names or ("n2", "n3"):
            self.hear(name, Welcome(self.node.run_id))
        return self

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
    def test_takes_nobody_for_the_leader_who_has_fallen_silent(self):
        """It never campaigns; but it must not send clients to a leader of the past for ever
        (simulator, seed 991080: two such nodes sent them to each other)."""
        new = Newcomer()
        new.hear("n2", Heartbeat(B, "n2", 0, 0, 1, 0))
        assert new.node.leader == "n2"
        new.run(3 * new.node._context.options.election_timeout_ms)
        assert new.node.leader == ""
        assert new.told().count("leader.lost") == 1

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

    def test_that_it_is_known_as_it_is_founds_nothing(self):
        new = Newcomer(directory_id=7).welcomed()
        new.run(2 * WAIT_MS)
        assert new.node.role == "newcomer"
        assert new.node.status().unconfirmed_by == ("n2", "n3")

    def test_tells_whom_it_waits_for_now_and_then(self):
        new = Newcomer()
        new.hear("n2", Welcome(LIFE))
        new.run(4 * REPORT_AFTER_MS)
        waiting = [n for n in new.notices if n.event == "node.waiting"]
        assert [n.fields["members"] for n in waiting] == [["n2", "n3"]]


def proposal(members=("n1", "n2", "n3"), settings=SETTINGS, **directories):
    found = {name: DIRECTORIES.get(name, 0) for name in members} | directories
    return FoundingMessage(Proposal(dict.fromkeys(members, True), settings, found).to_json())


class TestFounding:
    """Once, together, by directories that are empty, and only if all agree."""

    def test_once_all_propose_the_same_out_of_the_same_directories(self):
        new = Newcomer(directory_id=7)
        sent = new.run()
        assert {to for to, m in sent if type(m) is FoundingMessage} == {"n2", "n3"}
        new.hear("n2", proposal())
        new.hear("n3", proposal(n2=0))
        new.run(1000)
        assert new.written == [], "n3 has not heard from n2 yet"
        new.hear("n3", proposal())
        new.run()
        assert new.written == [record()]
        new.welcomed().run(1300)
        assert new.node.role == "candidate"
        new.hear("n2", Prepare(B, 1))
        assert Promise in kinds(new.run(300))

    def test_a_directory_that_was_emptied_on_the_way_is_another(self):
        new = Newcomer(directory_id=7)
        new.hear("n2", proposal())
        new.hear("n3", proposal(n2=88))
        new.run(1000)
        assert new.written == []
        new.hear("n2", proposal(n2=88))
        new.run()
        assert new.written == [record(n2=88)]

    @pytest.mark.parametrize("members", [("n1", "n2"), ("n1", "n2", "n3", "n4"), ("n2", "n3")])
    def test_other_members_are_named_and_nobody_votes(self, members):
        new = Newcomer(directory_id=7)
        new.hear("n2", proposal())
        for _ in range(3):
            new.hear("n3", proposal(members))
        new.run(2 * WAIT_MS)
        assert new.node.role == "newcomer"
        assert new.written == []
        differs = [n for n in new.notices if n.event == "founding.differs"]
        assert len(differs) == 1, "once, not each time"
        assert differs[0].fields["member"] == "n3"
        assert f"those of n3 are {', '.join(members)}" in differs[0].fields["message"]

    def test_one_that_counts_this_node_in_is_told_though_it_is_no_member_here(self):
        """Its file names all three, this node's file n1 and n2 alone: both are to say so."""
        new = Newcomer(size=2, directory_id=7)
        there = "tcp://10.0.0.3:1"
        assert not new.node.hear_stranger("n3", 0, 0, PreVote(B, 0))
        assert new.node.hear_stranger("n3", 0, 0, Hello(9, peer=there, events=there))
        assert "n3" in {to for to, m in new.run(300) if type(m) is FoundingMessage}
        new.hear("n3", proposal())
        new.hear("n3", proposal())
        new.run(300)
        differs = [n for n in new.notices if n.event == "founding.differs"]
        assert [n.fields["member"] for n in differs] == ["n3"]
        assert "those of n3 are n1, n2, n3" in differs[0].fields["message"]
        assert new.written == []

    def test_so_are_other_settings(self):
        new = Newcomer(directory_id=7)
        new.hear("n2", proposal())
        new.hear("n3", proposal(settings='{"sessions_max":5}'))
        new.run(1000)
        assert new.written == []
        assert "sessions_max" in new.notices[-1].fields["message"]

    def test_one_that_may_only_learn_founds_nothing(self):
        """Its peers know another directory of its name."""
        new = Newcomer(directory_id=7)
        new.hear("n2", proposal())
        new.hear("n3", proposal(), run_id=0)
        new.run(1000)
        assert new.written == []

    def test_nor_does_it_with_those_that_have_a_past(self):
        """A cluster of a time before records, and a member of it that lost its directory."""
        old = Newcomer(directory_id=7, promised=B)
        told = [m for _, m in old.run(1000) if type(m) is FoundingMessage]
        assert told, "for its configuration is compared"
        directories = Proposal.from_json(told[0].document).directories
        assert directories == dict.fromkeys(DIRECTORIES, 0)
        wiped = Newcomer(directory_id=7)
        for name in ("n2", "n3"):
            wiped.hear(name, told[0])
        wiped.run(2 * WAIT_MS)
        assert wiped.written == []
        assert wiped.node.role == "newcomer"

    def test_one_that_missed_the_founding_takes_the_record(self):
        new = Newcomer(directory_id=7)
        new.hear("n3", Genesis(record().to_json()))
        new.welcomed().run(1300)
        assert new.written == [record()]
        assert new.node.role == "candidate"

    def test_but_another_directory_only_learns(self):
        new = Newcomer(directory_id=77)
        new.hear("n3", Genesis(record().to_json()))
        new.welcomed().run(2 * WAIT_MS)
        assert new.written == []
        assert new.node.role == "memory-lost"
        new.hear("n2", Prepare(B, 1))
        assert not kinds(new.run(300)) & ANSWERS

    @pytest.mark.parametrize("text", [b"", b"{", b"[]", record().to_json()[:-1] + b',"x":1}'])
    def test_what_is_no_record_is_none(self, text):
        new = Newcomer(directory_id=7)
        new.hear("n3", Genesis(text))
        new.hear("n2", FoundingMessage(text))
        new.welcomed().run(1000)
        assert new.written == []

    def test_who_is_founded_gives_its_record_to_anybody(self):
        founded = Newcomer(directory_id=7, record=record())
        for run_id in (0, make_run_id(1, 5)):
            founded.hear("n3", proposal(n3=99), run_id)
            assert ("n3", Genesis(record().to_json())) in founded.run()

    def test_alone_it_founds_nothing_by_itself(self):
        new = Newcomer(size=1, directory_id=7)
        new.run(2 * WAIT_MS)
        assert new.node.role == "newcomer"
        assert new.written == []
        assert ALONE_ADVICE in [n.fields.get("advice") for n in new.notices]

    def test_alone_and_founded_by_an_operator_it_listens_first(self):
        alone = Record("c", {"n1": Founder(True, 7)}, "")
        new = Newcomer(size=1, directory_id=7, record=alone)
        new.run(LISTEN_TIMEOUTS * 600 - 100)
        assert not new.node.leading
        new.run(400)
        assert new.node.leading


class TestComparison:
    """A start votes once those who heard it before have compared."""

    def restarted(self, **standing):
        known = {"directory_id": 7, "record": record(), "start_mark": 20}
        return Newcomer(promised=B, run_id=make_run_id(2, 1), **known | standing)

    @pytest.mark.parametrize("request_", REQUESTS, ids=lambda m: type(m).__name__)
    def test_before_it_is_compared_it_says_nothing_about_its_memory(self, request_):
        node = self.restarted()
        node.hear("n2", request_)
        sent = node.run(WAIT_MS - 1000)
        assert not kinds(sent) & ANSWERS
        assert not [m for to, m in sent if to == "all"]
        assert node.node.role == "returning"

    def test_an_answer_that_names_no_level_says_nothing_of_it(self):
        """An inbox answers in place of its node; a late copy kept a level from being raised."""
        node = self.restarted()
        node.hear("n2", Hello(8, level=1))
        node.hear("n2", Welcome(make_run_id(2, 1)))
        assert node.node.status().peers["n2"].feature_level == 1

    def test_once_all_voters_have_it_votes(self):
        node = self.restarted().welcomed("n2")
        assert node.node.role == "returning"
        assert node.node.status().unconfirmed_by == ("n3",)
        node.welcomed("n3")
        node.hear("n2", Prepare(Ballot(4, "n2"), 1))
        assert Promise in kinds(node.run())

    def test_after_a_while_a_quorum_is_enough(self):
        node = self.restarted().welcomed("n2")
        node.run(WAIT_MS - 200)
        assert node.node.role == "returning"
        node.run(400)
        assert node.node.role == "candidate"

    def test_but_less_is_not(self):
        node = self.restarted()
        node.run(4 * WAIT_MS)
        assert node.node.role == "returning"
        waiting = [n for n in node.notices if n.event == "node.waiting"]
        assert waiting[0].fields["members"] == ["n2", "n3"]

    def test_one_without_a_memory_to_compare_with_does_not_count(self):
        node = self.restarted()
        for name in ("n2", "n3"):
            node.hear(name, Welcome(make_run_id(2, 1), witness=False))
        node.run(4 * WAIT_MS)
        assert node.node.role == "returning"

    @pytest.mark.parametrize("run_id", [PEERS_LIFE, 0], ids=["heard", "not-heard"])
    def test_but_nobody_waits_for_it(self, run_id):
        node = self.restarted()
        node.hear("n2", Welcome(make_run_id(2, 1), witness=False), run_id)
        assert node.node.role == "returning"
        node.hear("n3", Welcome(make_run_id(2, 1)), run_id)
        assert node.node.role == ("candidate" if run_id else "returning"), "n3 has to be heard"

    @pytest.mark.parametrize(("mark", "lost"), [(20, False), (21, True)])
    def test_who_heard_more_than_its_log_holds_knows_that_it_forgot(self, mark, lost):
        """Whatever the counts of starts say."""
        node = self.restarted().welcomed("n2")
        node.hear("n3", Welcome(make_run_id(1, 9), 7, mark))
        assert node.node.forgetful == lost
        node.welcomed("n3")
        node.run(2 * WAIT_MS)
        assert (node.node.role == "memory-lost") == lost

    def test_what_was_heard_of_another_directory_does_not_matter(self):
        node = self.restarted()
        node.hear("n3", Welcome(make_run_id(1, 9), 6, 1000))
        assert not node.node.forgetful

    def test_it_repeats_the_challenge_at_once(self):
        node = self.restarted()
        node.run()
        node.hear("n3", Welcome(make_run_id(1, 9), 7, 5, challenge=1234))
        hello = [m for to, m in node.run() if to == "n3" and type(m) is Hello]
        assert [m.challenge for m in hello] == [1234]

    def test_a_broken_connection_makes_it_say_hello_again_but_not_stop(self):
        node = self.restarted().welcomed()
        node.run(200)
        node.node.peer_disconnected("n3")
        assert node.node.role == "candidate"
        assert {to for to, m in node.run(200) if type(m) is Hello} == {"n3"}

    def test_nor_does_a_peer_that_falls_silent(self):
        """It may come back as one that knows nobody but those who speak to it."""
        node = self.restarted().welcomed()
        for _ in range(3):
            node.hear("n3", VotesRequest(1))
            node.hear("n2", VotesRequest(1))
            node.run(400)
        assert Hello not in kinds(node.run(90))
        for _ in range(6):
            node.hear("n2", VotesRequest(1))
            node.run(400)
        assert node.node.role in ("candidate", "follower")
        assert {to for to, m in node.run(200) if type(m) is Hello} == {"n3"}


class TestAPastThatActs:
    """A node that has reason to know of a later epoch does nothing in this one."""

    def test_it_stops_to_act_until_it_has_caught_up(self):
        node = TestComparison().restarted().welcomed()
        node.run(200)
        assert node.node.role == "candidate"
        node.node.hear_epoch(3)
        node.hear("n2", Prepare(Ballot(9, "n2"), 1))
        node.hear("n2", PreVote(Ballot(9, "n2"), 0))
        sent = node.run(5000)
        assert not kinds(sent) & ANSWERS
        assert PreVote not in kinds(sent)
        assert node.node.role == "catching-up"
        assert "node.catching_up" in node.told()

    def test_an_only_voter_of_the_past_is_told_by_a_stranger(self):
        alone = Record("c", {"n1": Founder(True, 7)}, "")
        node = Newcomer(size=1, directory_id=7, record=alone, promised=B)
        node.run(3000)
        assert node.node.leading
        hello = Hello(8, peer="tcp://h:1", events="tcp://h:2")
        assert node.node.hear_stranger("n2", alone.hash, 4, hello)
        node.run(100)
        assert node.node.role == "catching-up"
        assert "n2" in node.node.status().peers, "whom it can learn from now"

    def test_another_founding_record_stops_one_without_a_quorum_of_others(self):
        alone = Record("c", {"n1": Founder(True, 7)}, "")
        node = Newcomer(size=1, directory_id=7, record=alone, promised=B)
        node.run(3000)
        assert not node.node.hear_stranger("n2", record().hash, 0, Hello(8))
        node.run(100)
        assert node.node.role == "conflict"
        assert not node.node.leading
        assert "founding.conflict" in node.told()

    @pytest.mark.parametrize(
        ("epoch", "directory_id", "role"),
        [(2, 7, "leader"), (3, 7, "conflict"), (2, 6, "memory-lost")],
    )
    def test_nor_the_only_voter_of_a_cluster_with_the_longer_past(self, epoch, directory_id, role):
        """Old machines that were emptied found another cluster, by the file that they once had:
        that must not end the one that has gone on since."""
        machine = Machine()
        only = Member("a", "b", "c", voter=True, directory_id=directory_id)
        machine.membership = Membership(members={"n1": only}, epoch=3, slot=1)
        node = Newcomer(size=1, directory_id=7, machine=machine, record=record(), promised=B)
        node.run(3000)
        node.node.hear_stranger("n2", record(n2=99).hash, epoch, Hello(8))
        node.run(3000)
        assert node.node.role == role

    def test_but_not_a_cluster_that_is_whole(self):
        node = TestComparison().restarted().welcomed()
        node.node.hear_stranger("n9", 5, 9, Hello(8))
        node.run(100)
        assert node.node.role == "candidate"


class TestASetAsideLog:
    """The node itself found its log damaged: it is another directory, and asks to vote again."""

    DAMAGED: ClassVar = {"directory_id": 5, "lost": True, "repaired": True, "record": record()}

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
        new.welcomed(*("n2", "n3")[: size - 1])
        sent = new.run(30 * REPORT_AFTER_MS)
        assert not kinds(sent) & ANSWERS
        assert not new.node.leading
        waiting = [n for n in new.notices if n.event == "node.waiting"]
        assert len(waiting) == 3
        assert {n.level for n in waiting} == {"error"}
        assert all("a majority" in n.fields["advice"] for n in waiting)


class TestNobodyCanLetItIn:
    """Wiped or put back, so that its peers have to tell it: it must not wait in silence either."""

    def lost(self, **more):
        new = Newcomer(**more)
        new.hear("n3", Welcome(make_run_id(9, 0)))
        assert new.node.forgetful
        return new

    def waiting(self, new):
        told = [n.fields["advice"] for n in new.notices if n.event == "node.waiting"]
        return [advice for advice in told if "let it vote again" in advice]

    def test_it_says_so_and_what_is_left_to_do(self):
        new = self.lost()
        new.run(REPORT_AFTER_MS - 500)
        assert not self.waiting(new), "an election may be under way"
        new.run(20 * REPORT_AFTER_MS)
        assert 1 <= len(self.waiting(new)) <= 3
        assert all("snapshot restore" in advice for advice in self.waiting(new))

    def test_one_that_finds_out_late_waits_for_an_election_too(self):
        new = TestComparison().restarted().welcomed()
        new.run(4 * REPORT_AFTER_MS)
        new.hear("n3", Welcome(make_run_id(9, 1), 7))
        new.run(REPORT_AFTER_MS - 500)
        assert new.node.forgetful
        assert not self.waiting(new)
        new.run(REPORT_AFTER_MS)
        assert self.waiting(new)

    def test_not_while_somebody_leads(self):
        new = self.lost()
        for round_ in range(1, 200):
            new.hear("n2", Heartbeat(B, "n2", 0, 0, round_, 0))
            assert Rejoin not in kinds(new.run(100)), "a person has to decide that"
        assert not self.waiting(new)


class TestLostMemory:
    @pytest.mark.parametrize("known", [make_run_id(1, 78), make_run_id(1, 76), make_run_id(9, 0)])
    def test_one_peer_that_knows_another_life_is_enough(self, known):
        new = Newcomer()
        new.hear("n2", Welcome(LIFE))
        new.hear("n3", Welcome(known))
        new.hear("n3", Welcome(LIFE))
        new.run()
        assert new.node.forgot == ["n3"]
        assert new.told().count("node.memory_lost") == 1
        assert new.node.role == "memory-lost"

    def test_a_late_answer_to_an_earlier_start_means_nothing(self):
        new = Newcomer(promised=B, run_id=make_run_id(2, 1))
        new.hear("n3", Welcome(make_run_id(1, 9)))
        assert new.node.forgot == []

    def test_an_old_copy_of_a_memory_stops_voting_as_soon_as_it_knows(self):
        new = Newcomer(promised=B, run_id=make_run_id(2, 1)).welcomed()
        new.hear("n2", Prepare(Ballot(4, "n2"), 1))
        assert Promise in kinds(new.run())
        new.hear("n3", Welcome(make_run_id(2, 2)))
        new.hear("n2", Prepare(Ballot(5, "n2"), 1))
        assert Promise not in kinds(new.run())

    def test_a_membership_that_names_the_directory_that_forgot_makes_nothing_good(self):
        """It was named before it forgot."""
        node = TestAPinnedDirectory().newcomer()
        node.hear("n3", Welcome(make_run_id(9, 1), 7))
        node.node._admission.review()
        assert node.node.forgetful

    def test_its_new_identity_is_told_to_those_who_had_compared_the_old_one(self):
        """Whoever leads names the directory that it knows, if it lets this node vote again."""
        node = TestComparison().restarted().welcomed()
        node.run(1000)
        node.node.use_directory(99)
        sent = node.run(100)  # before their silence makes it say hello again
        told = {to for to, m in sent if isinstance(m, Hello) and m.directory_id == 99}
        assert told == {"n2", "n3"}
        node.welcomed()
        assert Hello not in kinds(node.run(1000))

    def test_named_after_the_loss_it_votes_again_however_many_told_of_it(self):
        """The first word of it gives the directory another identity; the second changes nothing."""
        new = Newcomer(directory_id=7)
        new.run(REPORT_AFTER_MS)  # n2 and n3 are no newcomers, or they would have said so
        new.hear("n2", Welcome(make_run_id(9, 1), 6))
        new.node.use_directory(8)
        new.hear("n3", Welcome(make_run_id(9, 1), 6))
        assert new.node.forgot == ["n2", "n3"]
        members = {name: Member("", "", "") for name in DIRECTORIES}
        members["n1"] = members["n1"]._replace(directory_id=8)
        use_membership(new.node._context, Membership(members, epoch=1, slot=1))
        new.node._admission.review()
        assert not new.node.forgetful


class TestAPinnedDirectory:
    """The membership says that this one votes in the node's name."""

    def newcomer(self, directory_id=7):
        names = ("n1", "n2", "n3")
        members = {name: Member("", "", "") for name in names}
        members["n1"] = members["n1"]._replace(directory_id=7)
        machine = Machine()
        machine.membership = Membership(members, epoch=1, slot=1)
        return Newcomer(machine=machine, directory_id=directory_id)

    def test_needs_no_founding_but_to_be_compared(self):
        newcomer = self.newcomer()
        newcomer.run()
        assert newcomer.node.role == "returning"
        newcomer.welcomed()
        assert newcomer.node.role == "candidate"

    @pytest.mark.parametrize("known", [0, 6])
    def test_a_peer_that_does_not_know_it_yet_tells_of_no_loss(self, known):
        """That peer knows the directory before: it has yet to apply the change."""
        newcomer = self.newcomer()
        newcomer.run()
        newcomer.hear("n2", Welcome(make_run_id(9, 1), known))
        assert not newcomer.node.forgetful
        assert ("n2", Hello(7)) in newcomer.run(100), "it asks on"
        newcomer.hear("n2", Welcome(LIFE, 7))
        assert ("n2", Hello(7)) not in newcomer.run(90)

    def test_but_an_old_copy_of_it_is_one(self):
        newcomer = self.newcomer()
        newcomer.run()
        newcomer.hear("n2", Welcome(make_run_id(9, 1), 7))
        assert newcomer.node.forgetful
        assert newcomer.node.role == "memory-lost"

    def test_and_so_is_another_directory(self):
        newcomer = self.newcomer(directory_id=8)
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


def test_a_hello_is_answered_with_the_life_that_was_heard():
    node = Newcomer(promised=B)
    node.hear("n3", Hello())
    assert ("n3", Welcome(make_run_id(1, 5))) in node.run()
