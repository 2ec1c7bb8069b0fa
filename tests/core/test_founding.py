"""Newcomers found a cluster together, or not at all."""

import pytest

from paxosd.core.admission import LISTEN_TIMEOUTS, REPORT_AFTER_MS
from paxosd.core.founding import ALONE_ADVICE, Proposal
from paxosd.core.genesis import Founder, Record
from paxosd.core.messages import Founding as FoundingMessage
from paxosd.core.messages import (
    Genesis,
    Heartbeat,
    Hello,
    Prepare,
    PreVote,
    Promise,
    Welcome,
)
from paxosd.core.run_id import make_run_id
from paxosd.core.types import NULL_BALLOT
from tests.core.newcomer import (
    ANSWERS,
    DIRECTORIES,
    REQUESTS,
    RUN_ID,
    WAIT_MS,
    B,
    Newcomer,
    kinds,
    proposal,
    record,
)


class TestANewcomer:
    def test_takes_nobody_for_the_leader_who_has_fallen_silent(self):
        """It never campaigns; but it must not send clients to a leader of the past for ever
        (simulator, seed 991080: two such nodes sent them to each other)."""
        new = Newcomer()
        new.hear("n2", Heartbeat(B, "n2", 0, 0, 1, 0))
        assert new.node.leader == "n2"
        new.run(3 * new.node._context.options.election_timeout_ms)
        assert new.node.leader == ""
        assert new.logged().count("leader.lost") == 1

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
        new.hear("n2", Welcome(RUN_ID))
        assert {to for to, m in new.run(1000) if type(m) is Hello} == {"n3"}

    def test_that_it_is_known_as_it_is_founds_nothing(self):
        new = Newcomer(directory_id=7).welcomed()
        new.run(2 * WAIT_MS)
        assert new.node.role == "newcomer"
        assert new.node.status().unconfirmed_by == ("n2", "n3")

    def test_tells_whom_it_waits_for_now_and_then(self):
        new = Newcomer()
        new.hear("n2", Welcome(RUN_ID))
        new.run(4 * REPORT_AFTER_MS)
        waiting = [n for n in new.notices if n.event == "node.waiting"]
        assert [n.fields["members"] for n in waiting] == [["n2", "n3"]]
        assert REPORT_AFTER_MS <= waiting[0].fields["unconfirmed_ms"] < 2 * REPORT_AFTER_MS
        assert new.node.status().unconfirmed_ms >= 4 * REPORT_AFTER_MS


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
        proposals = [m for _, m in old.run(1000) if type(m) is FoundingMessage]
        assert proposals, "for its configuration is compared"
        directories = Proposal.from_json(proposals[0].document).directories
        assert directories == dict.fromkeys(DIRECTORIES, 0)
        wiped = Newcomer(directory_id=7)
        for name in ("n2", "n3"):
            wiped.hear(name, proposals[0])
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
