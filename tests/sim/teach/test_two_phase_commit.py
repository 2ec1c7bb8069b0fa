"""Two-Phase Commit: atomic under every fault, blocking in its uncertain window, and no longer."""

import random

import pytest

from paxosd.sim.teach.two_phase_commit import Coordinator, Participant, TxState
from paxosd.sim.teach.two_phase_machines import Machines
from paxosd.sim.teach.two_phase_messages import (
    Acknowledgement,
    CommittedRecord,
    Decision,
    EndedRecord,
    FinishedRecord,
    Inquiry,
    PreparedRecord,
    TxId,
    Uncertain,
    Vote,
    VoteRequest,
)
from paxosd.sim.world.world import World

TX = TxId("c", 1, 1)
NAMES = ("p", "q")
WRITES = {b"x": b"1"}
REQUEST = VoteRequest(TX, WRITES, NAMES)


def voted(participant=None):
    participant = participant or Participant("p")
    participant.receive("c", REQUEST, 0.0)
    return participant


class TestCoordinator:
    def test_it_commits_once_all_said_yes_and_writes_that_first(self):
        coordinator = Coordinator("c", 1)
        tx, effects = coordinator.begin(WRITES, NAMES, "t", 0.0)
        assert tx == TX
        assert effects.sends == [(name, REQUEST) for name in NAMES]
        assert not coordinator.receive("p", Vote(TX, True), 1.0)
        effects = coordinator.receive("q", Vote(TX, True), 1.0)
        assert effects.persist == [CommittedRecord(TX, NAMES)]
        assert effects.sends == [(name, Decision(TX, True)) for name in NAMES]
        assert effects.outcomes == [("t", True)]

    def test_one_voter_that_says_yes_twice_is_one(self):
        coordinator = Coordinator("c", 1)
        coordinator.begin(WRITES, NAMES, "t", 0.0)
        coordinator.receive("p", Vote(TX, True), 1.0)
        assert not coordinator.receive("p", Vote(TX, True), 1.0)

    def test_one_no_aborts_without_a_record(self):
        coordinator = Coordinator("c", 1)
        coordinator.begin(WRITES, NAMES, "t", 0.0)
        coordinator.receive("p", Vote(TX, True), 1.0)
        effects = coordinator.receive("q", Vote(TX, False), 1.0)
        assert effects.persist == []
        assert effects.sends == [(name, Decision(TX, False)) for name in NAMES]
        assert effects.outcomes == [("t", False)]

    def test_votes_that_do_not_come_abort(self):
        coordinator = Coordinator("c", 1, vote_timeout_ms=100)
        coordinator.begin(WRITES, NAMES, "t", 0.0)
        assert not coordinator.tick(99)
        assert coordinator.tick(100).outcomes == [("t", False)]
        assert not coordinator.receive("p", Vote(TX, True), 101), "too late"

    def test_a_commit_is_repeated_until_all_have_acknowledged(self):
        coordinator = Coordinator("c", 2, [CommittedRecord(TX, NAMES)])
        assert [to for to, _ in coordinator.tick(0).sends] == ["p", "q"]
        assert not coordinator.receive("p", Acknowledgement(TX), 1)
        assert coordinator.tick(1000).sends == [("q", Decision(TX, True))]
        assert coordinator.receive("q", Acknowledgement(TX), 1).persist == [EndedRecord(TX)]
        assert not coordinator.tick(2000)

    def test_presumed_abort(self):
        """What its log does not know was not committed."""
        coordinator = Coordinator("c", 2, [])
        assert coordinator.receive("p", Inquiry(TX), 0).sends == [("p", Decision(TX, False))]
        coordinator = Coordinator("c", 2, [CommittedRecord(TX, NAMES)])
        assert coordinator.receive("p", Inquiry(TX), 0).sends == [("p", Decision(TX, True))]

    def test_asked_before_it_decided_it_does_not_know(self):
        coordinator = Coordinator("c", 1)
        coordinator.begin(WRITES, NAMES, "t", 0.0)
        assert coordinator.receive("p", Inquiry(TX), 1.0).sends == [("p", Uncertain(TX))]

    def test_numbers_are_not_used_again_after_a_restart(self):
        first, _ = Coordinator("c", 1).begin(WRITES, NAMES, "t", 0.0)
        second, _ = Coordinator("c", 2).begin(WRITES, NAMES, "t", 0.0)
        assert first != second


class TestParticipant:
    def test_its_yes_is_durable_and_locks(self):
        participant = Participant("p")
        effects = participant.receive("c", REQUEST, 0.0)
        assert effects.persist == [PreparedRecord(*REQUEST)]
        assert effects.sends == [("c", Vote(TX, True))]
        assert participant.locks == {b"x": TX}
        assert participant.uncertain == (TX,)
        assert participant.data == {}, "nothing is visible before the decision"

    def test_commit_applies_and_unlocks(self):
        participant = voted()
        effects = participant.receive("c", Decision(TX, True), 7.0)
        assert effects.persist == [FinishedRecord(TX, True)]
        assert effects.sends == [("c", Acknowledgement(TX))]
        assert (participant.data, participant.locks) == (WRITES, {})
        assert [(s.key, s.from_ms, s.to_ms) for s in participant.released] == [(b"x", 0.0, 7.0)]

    def test_abort_changes_nothing_and_unlocks(self):
        participant = voted()
        assert participant.receive("c", Decision(TX, False), 7.0).sends == []
        assert (participant.data, participant.locks) == ({}, {})

    def test_who_meets_a_lock_votes_no_durably(self):
        participant = voted()
        other = TxId("d", 1, 1)
        effects = participant.receive("d", VoteRequest(other, {b"x": b"2"}, NAMES), 1.0)
        assert effects.sends == [("d", Vote(other, False))]
        assert effects.persist == [FinishedRecord(other, False)]
        assert participant.locks == {b"x": TX}

    def test_uncertain_it_asks_and_waits_and_decides_nothing(self):
        participant = Participant("p", inquire_ms=100)
        participant.receive("c", REQUEST, 0.0)
        assert not participant.tick(99)
        for now_ms in range(100, 100_000, 100):
            effects = participant.tick(now_ms)
            assert effects.sends == [("c", Inquiry(TX)), ("q", Inquiry(TX))]
            participant.receive("q", Uncertain(TX), now_ms)
            assert participant.locks == {b"x": TX}
        assert participant.states[TX] is TxState.UNCERTAIN

    def test_a_restart_keeps_the_locks_and_the_doubt(self):
        participant = Participant("p", [PreparedRecord(*REQUEST)], now_ms=50.0)
        assert participant.locks == {b"x": TX}
        assert participant.tick(50.0).sends == [("c", Inquiry(TX)), ("q", Inquiry(TX))]
        again = Participant("p", [PreparedRecord(*REQUEST), FinishedRecord(TX, True)])
        assert (again.data, again.locks, again.uncertain) == (WRITES, {}, ())

    def test_cooperative_termination(self):
        """Who is uncertain cannot help; who knows does; who never voted aborts for good."""
        assert voted().receive("q", Inquiry(TX), 1.0).sends == [("q", Uncertain(TX))]
        knows = voted()
        knows.receive("c", Decision(TX, True), 1.0)
        assert knows.receive("q", Inquiry(TX), 1.0).sends == [("q", Decision(TX, True))]
        fresh = Participant("p")
        effects = fresh.receive("q", Inquiry(TX), 1.0)
        assert effects.sends == [("q", Decision(TX, False))]
        assert effects.persist == [FinishedRecord(TX, False)]
        restarted = Participant("p", effects.persist)
        assert restarted.receive("c", REQUEST, 2.0).sends == [("c", Vote(TX, False))]

    def test_a_late_answer_to_an_old_question_changes_nothing(self):
        """The coordinator forgot a commit that all acknowledged, and presumes abort."""
        participant = voted()
        participant.receive("c", Decision(TX, True), 1.0)
        participant.receive("c", Decision(TX, False), 2.0)
        assert participant.data == WRITES
        assert participant.states[TX] is TxState.COMMITTED


class Run:
    """Machines under load; every decision that a log ever holds is compared."""

    def __init__(self, seed, names=("n1", "n2", "n3")):
        self.world = World(seed)
        self.names = names
        self.machines = Machines(self.world, names, lambda happening: None)
        self.count = 0

    def begin(self, at, key=b"x", value=b"1"):
        self.count += 1
        self.machines.begin("client", at, self.count, {key: value})
        return self.count

    def run(self, duration_ms):
        self.world.run_until(self.world.now_ms + duration_ms)

    def check_atomic(self):
        """No transaction is committed here and aborted there; every acknowledged one is kept."""
        decided = {}
        for machine in self.machines.machines.values():
            for record in machine.disk:
                if isinstance(record, FinishedRecord | CommittedRecord):
                    commit = isinstance(record, CommittedRecord) or record.commit
                    assert decided.setdefault(record.tx, commit) == commit, record.tx
        for token, committed in self.machines.outcomes.items():
            tx = self.machines.tokens[token]
            if committed:
                assert decided.get(tx), tx
            else:
                assert not decided.get(tx), tx


def crash_with_all_votes(run, name="n1"):
    """The coordinator dies with the last yes in hand, before its decision is on disk."""

    def before(machine, effects):
        if machine.name == name and any(isinstance(r, CommittedRecord) for r in effects.persist):
            run.machines.before_perform = lambda machine, effects: None
            run.machines.crash(name)

    run.machines.before_perform = before


class TestBlocking:
    @pytest.mark.parametrize("down_ms", [1_000, 10_000, 100_000])
    def test_participants_hold_their_locks_for_as_long_as_the_coordinator_is_down(self, down_ms):
        run = Run(1)
        crash_with_all_votes(run)
        run.begin("n1")
        run.run(20)
        assert run.machines.up() == ["n2", "n3"]
        began = run.world.now_ms
        run.run(down_ms)
        for name in ("n2", "n3"):
            assert list(run.machines.participant(name).locks) == [b"x"], "it blocks"
            assert len(run.machines.participant(name).uncertain) == 1
        run.machines.restart("n1")
        run.run(1_000)
        run.check_atomic()
        for name in run.names:
            assert run.machines.participant(name).locks == {}, "unblocked"
            assert run.machines.participant(name).data == {}, "presumed abort"
        held = [span.to_ms - span.from_ms
                for span in run.machines.locks_let_go if span.machine != "n1"]  # fmt: skip
        assert len(held) == 2
        assert all(down_ms <= ms <= down_ms + 500 + began for ms in held)

    def test_after_the_decision_is_on_disk_a_restart_finishes_it(self):
        run = Run(2)
        rule = run.machines.wires.lose("Decision")
        run.begin("n1")
        run.run(10)
        run.machines.crash("n1")
        run.machines.wires.end(rule)
        run.run(5_000)
        assert len(run.machines.participant("n2").uncertain) == 1
        run.machines.restart("n1")
        run.run(1_000)
        for name in run.names:
            assert run.machines.participant(name).data == {b"x": b"1"}
        run.check_atomic()

    def test_one_fellow_that_was_explained_unblocks_the_others(self):
        run = Run(3)
        rule = run.machines.wires.lose("Decision", to="n2")
        run.begin("n1")
        run.run(10)
        run.machines.crash("n1")
        run.machines.wires.end(rule)
        run.run(1_000)
        assert run.machines.participant("n2").data == {b"x": b"1"}

    def test_one_fellow_that_never_voted_aborts_for_all(self):
        run = Run(4)
        run.machines.wires.lose("VoteRequest", to="n3")
        run.begin("n1")
        run.run(10)
        run.machines.crash("n1")
        run.run(1_000)
        assert run.machines.participant("n2").locks == {}
        run.check_atomic()

    def test_others_cannot_commit_what_touches_the_locks(self):
        run = Run(5)
        crash_with_all_votes(run)
        run.begin("n1")
        run.run(20)
        token = run.begin("n2", value=b"2")
        run.run(1_000)
        assert run.machines.outcomes[token] is False


@pytest.mark.parametrize("seed", range(60))
def test_atomic_under_crashes_and_losses(seed):
    """Random crashes, restarts and losses; in the end all is healed and every doubt ends."""
    print(f"seed={seed}")
    rng = random.Random(seed)
    run = Run(seed)
    machines = run.machines
    machines.wires.lose(times=0)
    for _ in range(60):
        name = rng.choice(run.names)
        lot = rng.random()
        if lot < 0.15 and name in machines.up():
            machines.crash(name)
        elif lot < 0.4 and name not in machines.up():
            machines.restart(name)
        elif lot < 0.5:
            kind = rng.choice(("VoteRequest", "Vote", "Decision", "Acknowledgement", "Inquiry"))
            machines.wires.lose(kind, times=rng.randint(1, 3))
        else:
            run.begin(name, rng.choice((b"x", b"y")), b"%d" % run.count)
        run.run(rng.choice((0.3, 1.0, 2.0, 300.0)))
        run.check_atomic()
    machines.wires.mend()
    for name in run.names:
        if name not in machines.up():
            machines.restart(name)
    run.run(3_000)
    run.check_atomic()
    assert all(machines.participant(name).uncertain == () for name in run.names)
    data = [machines.participant(name).data for name in run.names]
    assert data[0] == data[1] == data[2]
    token = run.begin("n1")
    run.run(100)
    assert machines.outcomes[token]
