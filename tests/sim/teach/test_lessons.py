"""The guided scenarios: they run, they are the same for the same seed, and what they say is true.

Each safeguard that a lesson is about is taken away in turn: the lesson must then fail.
"""

import json
import os
import subprocess
import sys

import pytest

from paxosctl.commands.teach_view import story_data
from paxosd.core.acceptor import Acceptor
from paxosd.core.effects import AcceptRecord
from paxosd.core.election import Election
from paxosd.core.messages import Prepare
from paxosd.core.outbox import Outbox
from paxosd.core.proposer import Proposer
from paxosd.core.quorum import Quorums
from paxosd.core.state.sessions import Session
from paxosd.core.types import NOOP, Ballot
from paxosd.replica import recovery
from paxosd.sim.teach.guide import Guide, LessonError
from paxosd.sim.teach.narrator import Step
from paxosd.sim.teach.story import Act, Check, Remark, Table
from paxosd.sim.teach.teach import NAMES, play
from paxosd.sim.teach.two_phase_commit import Coordinator, Participant
from paxosd.sim.teach.two_phase_messages import Decision, Effects
from tests.sim.teach.plays import messages, played, steps


class TestEveryLesson:
    @pytest.mark.drawn(2)
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("seed", range(1, 5))
    def test_its_claims_hold_whatever_the_seed(self, name, seed):
        print(f"seed={seed}")
        story = played(name, seed)
        assert story.failure == ""
        assert sum(isinstance(part, Check) for part in story.parts) >= 3
        assert sum(isinstance(part, Act) for part in story.parts) >= 2
        assert any(isinstance(part, Table) for part in story.parts)

    @pytest.mark.parametrize("name", NAMES)
    def test_it_can_be_read(self, name):
        """Each step says something, times do not go back within an act, every reason has its
        source and is given once, and nobody has to read more than fits the patience."""
        story = played(name)
        assert 15 <= len(steps(story)) <= 70
        whys = [step.why for step in steps(story) if step.why]
        assert len(whys) == len(set(whys)) >= 4
        assert all(step.source for step in steps(story) if step.why)
        at_ms = -1.0
        for part in story.parts:
            if isinstance(part, Act):
                at_ms = -1.0
            elif isinstance(part, Step):
                assert part.text
                assert part.at_ms >= at_ms
                at_ms = part.at_ms
            elif isinstance(part, Remark):
                assert part.text
        assert story.lesson.moral
        assert story.lesson.source

    @pytest.mark.parametrize("name", NAMES)
    def test_another_seed_is_another_run(self, name):
        assert steps(played(name, 1)) != steps(played(name, 2))

    def test_the_same_seed_is_the_same_text_whatever_the_hash_seed(self):
        words = (
            "import hashlib, json; from paxosd.sim.teach.teach import NAMES, play;"
            "from paxosctl.commands.teach_view import StoryView, story_data;"
            "stories = [play(name, 7) for name in NAMES];"
            "text = ''.join(json.dumps(story_data(story))"
            " + StoryView(story, width=80, colour=True).text() for story in stories);"
            "print(hashlib.sha256(text.encode()).hexdigest())"
        )
        digests = set()
        for hash_seed in ("1", "77"):
            done = subprocess.run(
                [sys.executable, "-c", words],
                capture_output=True,
                timeout=60,
                check=True,
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
            )
            digests.add(done.stdout)
        assert len(digests) == 1

    def test_an_unknown_name(self):
        with pytest.raises(KeyError):
            played("no-such-lesson")


class TestWhatTheyTell:
    """The text is made of what happened: look for the events that each lesson is about."""

    def test_happy_path(self):
        story = played("happy-path")
        assert [step.to for step in messages(story, "Prepare")] == [("n2", "n3")]
        assert len(messages(story, "Accepted")) == 3
        assert messages(story, "Answer")[-1].text == "Done: revision 1 (slot 2)."

    def test_duelling_proposers(self):
        story = played("duelling-proposers")
        ballots = [step.ballot for step in messages(story, "Prepare")]
        assert ballots == ["2.n3", "3.n1", "4.n3", "5.n1"]
        refused = {step.ballot for step in messages(story, "Nack")}
        assert refused == {"1.n1", "2.n3", "3.n1", "4.n3"}

    def test_leader_crash(self):
        story = played("leader-crash")
        texts = [step.text for step in steps(story)]
        chosen = next(i for i, text in enumerate(texts) if "IS CHOSEN" in text)
        crash = next(i for i, text in enumerate(texts) if text.startswith("CRASHES"))
        assert chosen < crash
        adopted = [step for step in messages(story, "Accept") if "Proposed first" in step.note]
        assert [(step.ballot, step.slot) for step in adopted] == [("2.n2", 2)]

    def test_lost_promise(self):
        story = played("lost-promise")
        promises = messages(story, "Promise")
        assert [step.ballot for step in promises] == ["2.n1", "2.n1"]
        assert "LOST" in promises[0].note
        assert promises[0].text in promises[1].text, "the very same promise"

    def test_minority_partition(self):
        story = played("minority-partition")
        answers = [step.text.split(":")[0] for step in messages(story, "Answer")]
        assert answers == ["interrupted", "Done", "no_leader", "Done"]

    def test_wiped_acceptor(self):
        story = played("wiped-acceptor")
        assert sum("DISASTER" in step.text for step in steps(story)) == 1
        checks = [part.text for part in story.parts if isinstance(part, Check)]
        assert any("another identity" in text for text in checks)
        assert any("names its new identity" in text for text in checks)

    def test_two_phase_commit(self):
        story = played("two-phase-commit")
        table = [part for part in story.parts if isinstance(part, Table)][-1]
        rows = {row[0]: row[1:] for row in table.rows}
        assert rows["… of them while n1 was down"][0] == "0"
        two_phase, paxos = rows["longest time without a commit"]
        assert int(two_phase.split()[0]) > 5000
        assert 600 < int(paxos.split()[0]) < 2000
        assert int(rows["longest time a lock was held"][0].split()[0]) >= 5000


def failure_of(name):
    """How a lesson ends when something is broken: by its claims, or by the code's own."""
    try:
        return play(name).failure
    except AssertionError as error:
        return f"an invariant of the code: {error}"


class TestWithoutTheSafeguard:
    """Every lesson bites: the rule that it is about is broken on purpose."""

    def test_the_ballot_check_in_accept(self, monkeypatch):
        """P1a: an old leader's accepts are taken after a higher promise."""
        real = Acceptor.receive_accept

        def lax(self, ballot, slot, value, persist):
            promised, self.promised = self.promised, min(self.promised, ballot)
            try:
                return real(self, ballot, slot, value, persist)
            finally:
                self.promised = max(self.promised, promised)

        monkeypatch.setattr(Acceptor, "receive_accept", lax)
        monkeypatch.setattr(
            "paxosd.core.replication.Replication.receive_accept", _accept_without_check
        )
        assert failure_of("duelling-proposers")

    def test_the_ballot_check_in_prepare(self, monkeypatch):
        """A promise to everybody, whatever was promised before. No lesson sends a late prepare,
        so here one is sent, with the check and without."""
        guide, stage = led()
        stage.members["n3"].life.bus.send("n2", Prepare(Ballot(0, "n3"), 1))
        stage.run(50)
        guide.show()
        assert guide.sent("Nack") == 1
        real = Acceptor.receive_prepare

        def lax(self, message, commit, bytes_max, persist):
            self.promised = min(self.promised, message.ballot)
            return real(self, message, commit, bytes_max, persist)

        monkeypatch.setattr(Acceptor, "receive_prepare", lax)
        guide, stage = led()
        stage.members["n3"].life.bus.send("n2", Prepare(Ballot(0, "n3"), 1))
        stage.run(50)
        with pytest.raises(LessonError, match="the promise of n2 went down"):
            guide.show()

    @pytest.mark.parametrize("name", ["leader-crash", "lost-promise"])
    def test_adopting_what_the_promises_report(self, monkeypatch, name):
        """P2c: the new leader puts a no-op where a value was chosen."""
        real = Proposer.take_lead

        def forgetful(self, *given):
            proposals = real(self, *given)
            for proposal in proposals:
                proposal.value = NOOP
            return proposals

        monkeypatch.setattr(Proposer, "take_lead", forgetful)
        assert "two values were chosen for slot 2" in failure_of(name)

    @pytest.mark.parametrize("name", ["lost-promise", "minority-partition"])
    def test_a_majority_of_promises(self, monkeypatch, name):
        monkeypatch.setattr(Quorums, "phase1_met", lambda self, mask: mask.bit_count() >= 1)
        assert failure_of(name)

    @pytest.mark.parametrize("name", ["minority-partition", "two-phase-commit"])
    def test_a_majority_of_votes(self, monkeypatch, name):
        monkeypatch.setattr(Quorums, "phase2_met", lambda self, mask: mask.bit_count() >= 1)
        assert failure_of(name)

    @pytest.mark.parametrize("name", ["happy-path", "leader-crash", "wiped-acceptor"])
    def test_the_disk_before_the_word(self, monkeypatch, name):
        """Section 2.5: promises and votes leave before they are durable."""
        real = Outbox.settle

        def hasty(self):
            real(self)
            self.synced(self._ticket)

        monkeypatch.setattr(Outbox, "settle", hasty)
        assert "before that was on its disk" in failure_of(name)

    def test_the_pre_vote(self, monkeypatch):
        """Who hears a leader lets anybody depose it."""
        monkeypatch.setattr(Election, "hears_leader", lambda self: False)
        assert failure_of("duelling-proposers")

    def test_stepping_down_without_a_quorum(self, monkeypatch):
        monkeypatch.setattr(Election, "in_contact", lambda self: True)
        assert failure_of("minority-partition")

    def test_a_repeat_is_applied_once(self, monkeypatch):
        """The session forgets what it has applied."""
        monkeypatch.setattr(Session, "keep", lambda self, first_seq, slot, results: None)
        assert "the answer says revision 1" in failure_of("leader-crash")

    def test_the_mark_of_a_log(self, monkeypatch):
        """A daemon that begins a new log wherever it finds none."""
        real = recovery.open_wal

        def trusting(disk, *, cluster_id, node_id, options=None, create=True, progress=None):
            return real(disk, cluster_id=cluster_id, node_id=node_id, create=True)

        monkeypatch.setattr(recovery, "open_wal", trusting)
        assert "another identity" in failure_of("wiped-acceptor")

    def test_two_phase_commit_must_block(self, monkeypatch):
        """A participant that gives up its doubt breaks the lesson, as it breaks atomicity."""
        real = Participant.tick

        def impatient(self, now_ms):
            for tx in self.uncertain:
                if now_ms - self.locked_since_ms(tx) > 1000:
                    self.receive(tx.coordinator, Decision(tx, False), now_ms)
            return real(self, now_ms)

        monkeypatch.setattr(Participant, "tick", impatient)
        assert failure_of("two-phase-commit")

    def test_two_phase_commit_must_recover(self, monkeypatch):
        monkeypatch.setattr(Coordinator, "_on_inquiry", lambda self, sender, message: Effects())
        assert failure_of("two-phase-commit")


def _accept_without_check(self, sender, message):
    """Replication.receive_accept without P1a."""
    self._accept(sender, message)
    self._context.learner.receive_commit(message.ballot, message.commit)
    self._execution.advance()
    return True


def led():
    """A stage on which n1 leads."""
    guide = Guide(1)
    stage = guide.stage("n1", "n2", "n3")
    guide.elect("n1")
    return guide, stage


class TestGuide:
    def test_a_claim_that_does_not_hold_ends_the_lesson(self):
        guide = Guide(1)
        with pytest.raises(LessonError, match="pigs fly"):
            guide.claim(False, "pigs fly")
        assert guide.parts == []

    def test_a_claim_that_holds_is_shown(self):
        guide = Guide(1)
        guide.claim(True, "it is so")
        assert guide.parts == [Check("it is so")]

    def test_the_observer_sees_a_conflict(self):
        """Two values on majorities of disks, whatever the nodes think of it."""
        guide = Guide(1)
        stage = guide.stage("n1", "n2", "n3")
        for name, round_, value in [
            ("n1", 1, b"a"),
            ("n2", 1, b"a"),
            ("n2", 2, b"b"),
            ("n3", 2, b"b"),
        ]:
            stage.observer.synced(name, [AcceptRecord(5, Ballot(round_, "n1"), value)])
        assert stage.observer.conflicts == [(5, b"a", b"b")]
        with pytest.raises(LessonError, match="two values"):
            guide.show()


def test_a_story_as_data():
    data = json.loads(json.dumps(story_data(played("happy-path"))))
    step = next(part for part in data["parts"] if part["type"] == "step")
    assert step["actor"] == "n1"
    assert step["message"] == "PreVote"
    assert step["source"]
    assert data["failure"] == ""
