"""The same workload and the same crash under Two-Phase Commit and under Paxos."""

from typing import NamedTuple

from paxosd.core.commands import PUT, Entry
from paxosd.core.effects import WriteReply
from paxosd.sim.teach.guide import Guide, Lesson
from paxosd.sim.teach.member_bus import Answer, Write
from paxosd.sim.teach.narrator_2pc import TwoPhaseNarrator
from paxosd.sim.teach.stage import Stage
from paxosd.sim.teach.two_phase_commit import TxState
from paxosd.sim.teach.two_phase_machines import Machine, Machines
from paxosd.sim.teach.two_phase_messages import CommittedRecord, Effects, TxId
from paxosd.sim.teach.wires import LATENCY_MS
from paxosd.sim.teach.workload import Measurements, Request, Workload

NAMES = ("n1", "n2", "n3")
CLIENTS = 3
CRASH_MS = 1_000.0
DOWN_MS = 5_000.0
AFTER_MS = 2_000.0
ASKED_MS = 310.0
"""By then the first round of questions has been put and answered."""


def _play(guide: Guide) -> None:
    guide.remark(
        f"Three machines, each with a full copy of the data. {CLIENTS} clients, each with a "
        "transaction of two writes at a time, one after the other. After a second n1, who "
        "coordinates, loses power at the worst moment; five seconds later it is back."
    )
    two_phase, locks, locked_ms = _two_phase(guide)
    paxos = _paxos(guide)

    guide.act("Side by side: same network, disks, clients, crash")
    both = (two_phase, paxos)
    guide.table(
        "",
        ("", "Two-Phase Commit", "Paxos"),
        (
            ("transactions committed", *[len(each.measured.commits_ms) for each in both]),
            ("… of them while n1 was down", *[each.while_down() for each in both]),
            ("longest time without a commit", *[_ms(each.longest_gap_ms()) for each in both]),
            ("attempts refused", *[each.measured.refused for each in both]),
            ("attempts without an answer", *[each.measured.unanswered for each in both]),
            ("locks held until n1 is back", locks, "0 (it has none)"),
            ("longest time a lock was held", _ms(locked_ms), "0 ms"),
        ),
    )
    guide.claim(two_phase.while_down() == 0, "while n1 was down, 2PC committed nothing")
    guide.claim(two_phase.longest_gap_ms() >= DOWN_MS, "it stood still for as long as n1 was away")
    guide.claim(locked_ms >= DOWN_MS, "its locks were held for as long")
    guide.claim(
        paxos.longest_gap_ms() < DOWN_MS / 2 and paxos.while_down() > 100,
        "Paxos went on after an election, without n1",
    )


class Result(NamedTuple):
    """One run; times since the workload began."""

    measured: Measurements
    crashed_ms: float

    def while_down(self) -> int:
        """Commits without n1; what it had answered just before is under way for a moment."""
        up_ms = self.crashed_ms + DOWN_MS
        return self.measured.between(self.crashed_ms + LATENCY_MS[1], up_ms)

    def longest_gap_ms(self) -> float:
        """Up to the same time after the crash in both runs."""
        return self.measured.longest_gap_ms(self.crashed_ms + DOWN_MS + AFTER_MS)


# -- Two-Phase Commit


def _two_phase(guide: Guide) -> tuple[Result, int, float]:
    guide.act("Two-Phase Commit: one transaction")
    machines, narrator = guide.machines(*NAMES)
    machines.begin("client", "n1", 0, {b"a": b"1", b"b": b"1"})
    machines.world.run_until(20.0)
    guide.claim(
        all(machines.participant(n).data == {b"a": b"1", b"b": b"1"} for n in NAMES),
        "all three machines hold both writes",
    )

    guide.act("Two-Phase Commit: the coordinator dies with every yes in its hands")
    workload = _start_two_phase(machines)
    tx = _crash_coordinator(guide, machines, narrator, workload)
    crashed_ms = machines.world.now_ms
    result = Result(workload.measured, workload.since_start_ms())
    machines.world.run_until(crashed_ms + ASKED_MS)
    guide.remark(
        "So it goes on, four times a second. Clients that get no answer turn to n2 and n3, who "
        "coordinate as well; but n1's yes is missing there, too."
    )
    machines.world.run_until(crashed_ms + DOWN_MS - 50.0)
    guide.pass_over()
    locks = _show_locks(guide, machines)
    guide.claim(
        all(tx in machines.participant(name).uncertain for name in ("n2", "n3")),
        f"n2 and n3 are up, in touch with each other, and still do not know what became of {tx}",
    )

    guide.act("Two-Phase Commit: the coordinator comes back")
    machines.world.run_until(crashed_ms + DOWN_MS)
    guide.pass_over()
    machines.restart("n1")
    machines.world.run_while(
        lambda: any(tx in machines.participant(name).uncertain for name in NAMES), 1_000
    )
    guide.claim(
        all(machines.participant(name).states[tx] is TxState.ABORTED for name in NAMES),
        f"{tx} is aborted everywhere, and its keys are free",
    )
    machines.world.run_until(crashed_ms + DOWN_MS + AFTER_MS)
    guide.pass_over()
    held = [span.to_ms - span.from_ms for span in machines.locks_let_go if span.machine != "n1"]
    guide.hush()
    return result, locks, max(held)


def _start_two_phase(machines: Machines) -> Workload:
    def send(request: Request) -> None:
        machines.begin(request.client, request.to, request.token, request.writes)

    workload = Workload(machines.world, CLIENTS, NAMES, send)
    machines.on_outcome = lambda client, outcome: workload.answered(
        client, outcome.token, outcome.committed
    )
    workload.start()
    return workload


def _crash_coordinator(
    guide: Guide, machines: Machines, narrator: TwoPhaseNarrator, workload: Workload
) -> TxId:
    """n1 dies when the last yes has come and the decision is not yet on its disk."""
    doomed: list[TxId] = []

    def before(machine: Machine, effects: Effects) -> None:
        decided = [record.tx for record in effects.persist if isinstance(record, CommittedRecord)]
        if decided and machine.name == "n1" and workload.since_start_ms() >= CRASH_MS:
            machines.before_perform = lambda machine, effects: None
            doomed.extend(decided)
            machines.crash("n1")

    machines.world.run_until(machines.world.now_ms + CRASH_MS - 10.0)
    guide.pass_over()
    guide.hush("Begin", "Outcome")
    machines.before_perform = before
    machines.world.run_while(lambda: not doomed, 1_000)
    guide.require(bool(doomed), "n1 was about to decide")
    narrator.only = set(doomed)
    guide.preface(
        f"The workload has run for a second: {len(workload.measured.commits_ms)} transactions. "
        f"Now follow one of them, {doomed[0]}."
    )
    return doomed[0]


def _show_locks(guide: Guide, machines: Machines) -> int:
    """Who is uncertain about what; how many locks there are on n2 and n3."""
    rows = []
    count = 0
    for name in ("n2", "n3"):
        participant = machines.participant(name)
        for tx in participant.uncertain:
            if tx.coordinator != "n1":
                continue
            keys = [key.decode() for key, holder in participant.locks.items() if holder == tx]
            held_ms = machines.world.now_ms - participant.locked_since_ms(tx)
            count += len(keys)
            rows.append((name, str(tx), "uncertain", " ".join(keys), f"{held_ms:.0f} ms"))
    guide.table(
        "After almost five seconds without n1", ("node", "transaction", "is", "locked", "for"), rows
    )
    return count


# -- Paxos


def _paxos(guide: Guide) -> Result:
    guide.act("Paxos: the leader dies at the same moment")
    guide.start_over()
    stage = guide.stage(*NAMES)
    sessions = guide.settle("n1", *(f"c{i + 1}" for i in range(CLIENTS)))
    workload = _start_paxos(stage, sessions)
    stage.run(CRASH_MS - 10.0)
    guide.pass_over()

    def crash_once(name: str) -> None:
        ripe = workload.since_start_ms() >= CRASH_MS and name == "n1"
        if ripe and stage.node("n1").applied < max(stage.observer.chosen):
            stage.before_turn = lambda name: None
            guide.pass_over()
            stage.crash("n1")

    stage.before_turn = crash_once
    stage.run_while(lambda: "n1" in stage.up(), 1_000)
    guide.require("n1" not in stage.up(), "n1 was about to learn that a slot is chosen")
    result = Result(workload.measured, workload.since_start_ms())
    slot = max(stage.observer.chosen)
    guide.preface(
        f"The workload has run for a second: {len(result.measured.commits_ms)} transactions. n1, "
        f"the leader, dies before it learns that slot {slot} is chosen."
    )
    crashed_ms = stage.world.now_ms
    guide.hush("Write", "Answer", "PreVote", "PreVoteReply", "Accepted", "applied", "Accept")
    stage.run_while(lambda: stage.leader() == "", 5_000)
    guide.claim(
        stage.leader() == "n2",
        f"{stage.world.now_ms - crashed_ms:.0f} ms after the crash n2 leads: two of three are a "
        "majority",
    )
    stage.run(DOWN_MS - (stage.world.now_ms - crashed_ms))
    guide.pass_over()
    guide.remark("n1 comes back, five seconds after it went: it follows n2 and catches up.")
    stage.restart("n1")
    stage.run(AFTER_MS)
    guide.pass_over()
    workload.stop()
    stage.run(300)
    guide.pass_over()
    guide.claim(
        len({member.life.machine.revision for member in stage.members.values()}) == 1,
        "all three nodes have applied the same writes",
    )
    return result


def _start_paxos(stage: Stage, sessions: dict[str, int]) -> Workload:
    tokens: dict[int, int] = {}

    def send(request: Request) -> None:
        seq = 2 * request.number - 1
        commands = [[PUT, key, value] for key, value in request.writes.items()]
        entry = Entry(sessions[request.client], seq, seq - 1, commands)
        tokens[stage.write(request.client, request.to, entry)] = request.token

    def answered(client: str, answer: Answer) -> None:
        if isinstance(answer.request, Write) and answer.token in tokens:
            done = isinstance(answer.reply, WriteReply)
            workload.answered(client, tokens[answer.token], done)

    stage.on_answer = answered
    workload = Workload(stage.world, CLIENTS, NAMES, send)
    workload.start()
    return workload


def _ms(value_ms: float) -> str:
    return f"{value_ms:.0f} ms"


LESSON = Lesson(
    title="Two-Phase Commit blocks where Paxos goes on",
    shows="one workload and one crash, twice. Under Two-Phase Commit the others can do nothing "
    "but wait for the coordinator, with their locks held; under Paxos they elect another leader.",
    moral="Two-Phase Commit needs everybody for a yes, and one disk for the decision: when that "
    "disk is away, nobody who voted yes may decide. Paxos needs a majority of disks, and any "
    "node may finish what another began. Two-Phase Commit is the special case of Paxos Commit "
    "that tolerates no failure (Gray and Lamport). It is still what one uses when each "
    "participant holds different data and has a right to say no; then run it on top of "
    "replicated participants.",
    source="Gray, Lamport, “Consensus on Transaction Commit” (2006); Bernstein, Hadzilacos, "
    "Goodman (BHG, 1987), chapter 7",
    play=_play,
)
