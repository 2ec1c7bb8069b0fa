"""When a node may act: it is compared with its peers, and is not of the past."""

from pathlib import Path

import pytest

from paxosd.core.admission import Readiness
from paxosd.core.commands import PUT, Entry
from paxosd.core.genesis import Founder, Record
from paxosd.core.membership import Member, Membership
from paxosd.core.messages import (
    Accept,
    Hello,
    Prepare,
    PreVote,
    Promise,
    VotesRequest,
    Welcome,
)
from paxosd.core.run_id import make_run_id
from paxosd.core.state.machine import Machine
from paxosd.core.types import NOOP, NULL_BALLOT, Ballot
from tests.core.changes import change_entry
from tests.core.newcomer import (
    ANSWERS,
    PEERS_RUN_ID,
    REQUESTS,
    RUN_ID,
    WAIT_MS,
    B,
    Newcomer,
    kinds,
    record,
    restarted,
)


def members_of(*names):
    return Membership({name: Member("", "", "") for name in names})


class TestComparison:
    """A start votes once those who heard it before have compared."""

    @pytest.mark.parametrize("request_", REQUESTS, ids=lambda m: type(m).__name__)
    def test_before_it_is_compared_it_says_nothing_about_its_memory(self, request_):
        node = restarted()
        node.hear("n2", request_)
        sent = node.run(WAIT_MS - 1000)
        assert not kinds(sent) & ANSWERS
        assert not [m for to, m in sent if to == "all"]
        assert node.node.role == "returning"

    def test_an_answer_that_names_no_level_says_nothing_of_it(self):
        """An inbox answers in place of its node; a late copy kept a level from being raised."""
        node = restarted()
        node.hear("n2", Hello(8, level=1))
        node.hear("n2", Welcome(make_run_id(2, 1)))
        assert node.node.status().peers["n2"].feature_level == 1

    def test_once_all_voters_have_it_votes(self):
        node = restarted().welcomed("n2")
        assert node.node.role == "returning"
        assert node.node.status().unconfirmed_by == ("n3",)
        node.welcomed("n3")
        node.hear("n2", Prepare(Ballot(4, "n2"), 1))
        assert Promise in kinds(node.run())

    def test_after_a_while_a_quorum_is_enough(self):
        node = restarted().welcomed("n2")
        node.run(WAIT_MS - 200)
        assert node.node.role == "returning"
        assert node.node.status().unconfirmed_ms == WAIT_MS - 200
        node.run(400)
        assert node.node.role == "candidate"
        assert node.node.status().unconfirmed_ms == -1

    def test_but_less_is_not(self):
        node = restarted()
        node.run(4 * WAIT_MS)
        assert node.node.role == "returning"
        waiting = [n for n in node.notices if n.event == "node.waiting"]
        assert waiting[0].fields["members"] == ["n2", "n3"]

    def test_one_without_a_memory_to_compare_with_does_not_count(self):
        node = restarted()
        for name in ("n2", "n3"):
            node.hear(name, Welcome(make_run_id(2, 1), witness=False))
        node.run(4 * WAIT_MS)
        assert node.node.role == "returning"

    @pytest.mark.parametrize("run_id", [PEERS_RUN_ID, 0], ids=["heard", "not-heard"])
    def test_but_nobody_waits_for_it(self, run_id):
        node = restarted()
        node.hear("n2", Welcome(make_run_id(2, 1), witness=False), run_id)
        assert node.node.role == "returning"
        node.hear("n3", Welcome(make_run_id(2, 1)), run_id)
        assert node.node.role == ("candidate" if run_id else "returning"), "n3 has to be heard"

    @pytest.mark.parametrize(("mark", "lost"), [(20, False), (21, True)])
    def test_who_heard_more_than_its_log_holds_knows_that_it_forgot(self, mark, lost):
        """Whatever the counts of starts say."""
        node = restarted().welcomed("n2")
        node.hear("n3", Welcome(make_run_id(1, 9), 7, mark))
        assert node.node.forgetful == lost
        node.welcomed("n3")
        node.run(2 * WAIT_MS)
        assert (node.node.role == "memory-lost") == lost

    def test_what_was_heard_of_another_directory_does_not_matter(self):
        node = restarted()
        node.hear("n3", Welcome(make_run_id(1, 9), 6, 1000))
        assert not node.node.forgetful

    def test_it_repeats_the_challenge_at_once(self):
        node = restarted()
        node.run()
        node.hear("n3", Welcome(make_run_id(1, 9), 7, 5, challenge=1234))
        hello = [m for to, m in node.run() if to == "n3" and type(m) is Hello]
        assert [m.challenge for m in hello] == [1234]

    def test_a_broken_connection_makes_it_say_hello_again_but_not_stop(self):
        node = restarted().welcomed()
        node.run(200)
        node.node.peer_disconnected("n3")
        assert node.node.role == "candidate"
        assert {to for to, m in node.run(200) if type(m) is Hello} == {"n3"}

    def test_nor_does_a_peer_that_falls_silent(self):
        """It may come back as one that knows nobody but those who speak to it."""
        node = restarted().welcomed()
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
        node = restarted().welcomed()
        node.run(200)
        assert node.node.role == "candidate"
        node.node.hear_epoch(3)
        node.hear("n2", Prepare(Ballot(9, "n2"), 1))
        node.hear("n2", PreVote(Ballot(9, "n2"), 0))
        sent = node.run(5000)
        assert not kinds(sent) & ANSWERS
        assert PreVote not in kinds(sent)
        assert node.node.role == "catching-up"
        assert "node.catching_up" in node.logged()

    @pytest.mark.parametrize(
        ("what", "epoch", "acts"),
        [
            ("a change", 1, True),
            ("a change", 2, False),
            ("a change of an earlier epoch", 1, False),
            ("a put", 1, False),
            ("a no-op", 1, False),
            ("rubbish", 1, False),
        ],
    )
    def test_who_voted_for_the_change_that_made_the_epoch_acts_on(self, what, epoch, acts):
        """Found by a fresh seed: the leader said that there is an epoch, and died before it said
        what made it. The others knew that they were behind, and nobody could show them more."""
        node = restarted().welcomed()
        codec = node.node._context.codec
        entries = {
            "a change": change_entry(0, members_of("n1", "n2").to_command()),
            "a put": Entry(0, 1, 0, [[PUT, b"k", b"v"]]),
        }
        entry = entries.get(what.removesuffix(" of an earlier epoch"))
        value = NOOP if what == "a no-op" else b"\xc1"
        if entry is not None:
            value = codec.encode_batch(0, [codec.encode_entry(entry)])
        ballot = Ballot(9, "n2")
        node.hear("n2", Accept(ballot, 1, value, 0))
        node.run(100)
        if what.endswith("earlier epoch"):
            node.node._context.acceptor.accepted[1] = Ballot(-1, "n2"), value
        node.node.hear_epoch(epoch)
        node.hear("n3", Prepare(Ballot(12, "n3"), 1))
        sent = node.run(500)
        promises = [m for _, m in sent if type(m) is Promise]
        assert bool(promises) == acts
        assert (node.node.role == "catching-up") != acts
        if acts:
            assert promises[0].accepted[0] == (1, ballot, value), "the candidate must adopt it"

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
        assert "founding.conflict" in node.logged()

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
        node = restarted().welcomed()
        node.node.hear_stranger("n9", 5, 9, Hello(8))
        node.run(100)
        assert node.node.role == "candidate"


@pytest.mark.parametrize("promised", [NULL_BALLOT, B], ids=["new", "with-a-memory"])
def test_a_peer_that_does_not_hear_it_is_told_again(promised):
    newcomer = Newcomer(promised=promised)
    newcomer.run()
    for name in ("n2", "n3"):
        newcomer.hear(name, Welcome(RUN_ID))
    assert Hello not in kinds(newcomer.run(500))
    newcomer.hear("n2", Welcome(0))
    assert not newcomer.node.forgetful
    assert [to for to, message in newcomer.run(100) if type(message) is Hello][:1] == ["n2"]
    newcomer.hear("n2", Welcome(RUN_ID))
    assert Hello not in kinds(newcomer.run(500))


def test_a_hello_is_answered_with_the_life_that_was_heard():
    node = Newcomer(promised=B)
    node.hear("n3", Hello())
    assert ("n3", Welcome(make_run_id(1, 5))) in node.run()


def test_the_page_of_who_may_act_names_each_role():
    page = (Path(__file__).parents[2] / "docs" / "ACTING.md").read_text(encoding="utf-8")
    roles = {each.role for each in Readiness if each is not Readiness.ACTS}
    assert {role for role in roles if f"`{role}`" not in page} == set()
