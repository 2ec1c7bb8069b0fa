"""The guided scenarios: they run, they are the same for the same seed, and they tell the truth.

Each safeguard that a lesson is about is taken away in turn: the lesson must then fail.
"""

import ast
import functools
import inspect
import json
import os
import subprocess
import sys

import pytest

from paxosctl.commands.teach_view import story_data
from paxosd.core.acceptor import Acceptor
from paxosd.core.effects import AcceptRecord
from paxosd.core.election import Election
from paxosd.core.messages import Prepare, Promise
from paxosd.core.outbox import Outbox
from paxosd.core.proposer import Proposer
from paxosd.core.quorum import Quorums
from paxosd.core.state.sessions import Session
from paxosd.core.types import NOOP, Ballot
from paxosd.replica import recovery
from paxosd.sim.teach import narrator, narrator_2pc, narrator_paxos
from paxosd.sim.teach.guide import Guide, LessonError
from paxosd.sim.teach.narrator import Step
from paxosd.sim.teach.narrator_paxos import PaxosNarrator
from paxosd.sim.teach.rules import RULES
from paxosd.sim.teach.story import Act, Check, Remark, Table
from paxosd.sim.teach.teach import NAMES, play
from paxosd.sim.teach.two_phase_commit import Coordinator, Participant
from paxosd.sim.teach.two_phase_messages import Decision, Effects


@functools.cache
def played(name, seed=1):
    """A lesson with nothing broken."""
    return play(name, seed)


def steps(story):
    return [part for part in story.parts if isinstance(part, Step)]


def messages(story, kind):
    return [step for step in steps(story) if step.message == kind]


class TestEveryLesson:
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

        def trusting(disk, *, cluster_id, node_id, options=None, create=True):
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


# -- what the tables say is possible in Paxos

ALL_LESSONS = [(name, seed) for name in NAMES for seed in (1, 2)]


def tables_of(story):
    return [part for part in story.parts if isinstance(part, Table) and "promised" in part.columns]


def cell(row, columns, name):
    (at,) = [at for at, column in enumerate(columns) if column.startswith(name)]
    return row[at]


def voted(text):
    """ "2.n2: put x=1" → (ballot, value); None for "-"."""
    if text == "-":
        return None
    ballot, _, value = text.partition(": ")
    return Ballot.of_text(ballot), value


def check_table(table, *, disaster):
    """The invariants of "Paxos Made Simple" that one look at all nodes can check."""
    votes, learned, applied = {}, [], set()
    for row in table.rows:
        promised = Ballot.of_text(cell(row, table.columns, "promised"))
        accepted = voted(cell(row, table.columns, "accepted"))
        told = voted(cell(row, table.columns, "learned"))
        value = cell(row, table.columns, "applied")
        if accepted is not None:
            assert accepted[0] <= promised, "P1a: nothing is accepted below or beyond a promise"
            votes.setdefault(accepted[0], []).append(accepted[1])
        if told is not None:
            learned.append(told)
        if value != "-":
            applied.add(value)
            assert told is not None or accepted is not None, "who applies has it from somewhere"
            assert value in {each[1] for each in (told, accepted) if each is not None}
    for values in votes.values():
        assert len(set(values)) == 1, "a ballot has one value"
    majority = len(table.rows) // 2 + 1
    chosen = {(ballot, values[0]) for ballot, values in votes.items() if len(values) >= majority}
    for ballot, value in chosen:
        later = {values[0] for other, values in votes.items() if other > ballot}
        assert later <= {value}, "P2: what was chosen is proposed for ever"
        assert disaster or applied <= {value}
        assert all(each == value for _, each in learned), "only what was chosen is learned"
    assert disaster or len(applied | {value for _, value in learned}) <= 1, "one value a slot"


@pytest.mark.parametrize(("name", "seed"), ALL_LESSONS)
def test_every_table_is_possible_in_paxos(name, seed):
    story = played(name, seed)
    assert story.failure == ""
    disaster = False
    for part in story.parts:
        if isinstance(part, Act):
            disaster = False
        elif isinstance(part, Step):
            disaster = disaster or part.text.startswith("DISASTER")
        elif isinstance(part, Table) and "promised" in part.columns:
            check_table(part, disaster=disaster)


def test_there_are_tables_to_check_and_the_check_bites():
    assert sum(len(tables_of(played(name))) for name in NAMES) >= 6
    columns = ("node", "is", "promised", "accepted in slot 2", "learned", "applied")
    for rows in (
        [("n1", "follower", "1.n1", "2.n2: put x=1", "-", "-")],  # what issue 10 saw
        [("n1", "follower", "2.n2", "2.n2: put x=1", "-", "-"),
         ("n2", "leader", "2.n2", "2.n2: put x=2", "-", "-")],
        [("n1", "follower", "2.n2", "-", "-", "put x=1")],
        [("n1", "follower", "1.n1", "1.n1: put x=1", "-", "-"),
         ("n2", "follower", "1.n1", "1.n1: put x=1", "-", "-"),
         ("n3", "leader", "2.n3", "2.n3: put x=2", "-", "-")],
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            check_table(Table("", columns, tuple(rows)), disaster=False)


def rules_named(module):
    """Every rule that a narrator may cite: by Draft(role, text, rule), rule=… and class bodies."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        found = []
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Draft":
            found = [*node.args[2:3], *[k.value for k in node.keywords if k.arg == "rule"]]
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in (
            "rule",
            "remembers",
        ):
            found = [node.value]
        for value in found:
            yield from (
                each.value
                for each in ast.walk(value)
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )


def test_every_rule_that_can_be_cited_is_written_down():
    """One that is missing ends a lesson with a traceback, at a seed where it is due."""
    cited = {
        rule
        for module in (narrator, narrator_paxos, narrator_2pc)
        for rule in rules_named(module)
        if rule
    }
    assert {"stable", "rejoin", "noop", "2pc-log"} <= cited
    assert cited <= set(RULES)


def test_a_promise_says_that_its_sender_knows_what_was_chosen():
    """Up to its commit index a promise reports no votes: it knows more than that."""
    guide = PaxosNarrator(2, set(), set())
    ballot = Ballot(2, "n3")
    guide._durable.add(("n1", ("promise", ballot)))
    told = guide._promise("n1", Promise(ballot, 2, 0, 2, ()))
    assert "I know what was chosen in slot 2; ask me for it." in told.text
    assert "I have accepted nothing above that." in told.text
    told = guide._promise("n1", Promise(ballot, 2, 0, 1, ()))
    assert "I have accepted nothing there." in told.text


@pytest.mark.parametrize("seed", [13, 14, 15])
def test_nobody_who_knows_the_value_says_that_it_accepted_nothing(seed):
    """Here n3 takes over, and asks n1 for slot 2 or above. n1 knows what was chosen there: n3 gets
    it from n1 soon after."""
    story = play("wiped-acceptor", seed)
    assert story.failure == ""
    asked = {part.ballot: part.text for part in messages(story, "Prepare")}
    told = [part for part in messages(story, "Promise") if part.actor == "n1"]
    told = [part for part in told if "in slot 2 or above" in asked[part.ballot]]
    assert told
    assert any(part.actor == "n1" for part in messages(story, "Decisions"))
    for part in told:
        assert "I know what was chosen in slot 2; ask me for it." in part.text


@pytest.mark.parametrize("name", NAMES)
def test_stable_storage_is_not_praised_where_it_is_gone_or_another_protocol_is_at_work(name):
    emptied, act = set(), ""
    for part in played(name).parts:
        if isinstance(part, Act):
            emptied, act = set(), part.title
        if not isinstance(part, Step):
            continue
        if "IS EMPTY" in part.text:
            emptied.add(part.actor)
        if part.text.startswith("Starts"):
            assert not (part.actor in emptied and "PMS" in part.source)
            assert not (act.startswith("Two-Phase Commit") and "PMS" in part.source)
