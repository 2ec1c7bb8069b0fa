"""Machines that run Two-Phase Commit in the simulator: each one is coordinator and participant.

    client ── Begin ──► Coordinator ─┐                      ┌─► disk, one fsync at a time
    others ── messages ──► Participant ┴── Effects, in order ┴─► Wires, once they are durable

Network and disks are those of the Paxos stage (``wires.py``, ``member.SYNC_MS``), so that the two
can be compared.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from paxosd.sim.teach.happenings import Happening, Recorder
from paxosd.sim.teach.member import SYNC_MS
from paxosd.sim.teach.two_phase_commit import Coordinator, LockSpan, Participant
from paxosd.sim.teach.two_phase_messages import (
    Acknowledgement,
    CommittedRecord,
    Effects,
    Inquiry,
    Record,
    TxId,
    Vote,
    Writes,
)
from paxosd.sim.teach.wires import Wires
from paxosd.sim.world.world import World

TICK_MS = 50.0


class Begin(NamedTuple):
    """A client's transaction, to the machine that shall coordinate it."""

    token: int
    writes: Writes


class Outcome(NamedTuple):
    """The answer."""

    token: int
    committed: bool


@dataclass(slots=True, eq=False)
class Run:
    """One run of a machine: its two roles, and the effects that wait for the disk."""

    coordinator: Coordinator
    participant: Participant
    queue: deque[Effects] = field(default_factory=deque)
    syncing: bool = False


@dataclass(slots=True, eq=False)
class Machine:
    """One machine: what its disk holds, and its present run; None: it is down."""

    name: str
    boot_count: int = 0
    disk: list[Record] = field(default_factory=list)
    run: Run | None = None


class Machines:
    """``names``: all of them take part in every transaction."""

    def __init__(
        self, world: World, names: tuple[str, ...], listener: Callable[[Happening], None]
    ) -> None:
        self.world = world
        self.names = names
        self.machines = {name: Machine(name) for name in names}
        self._recorder = Recorder(world, listener)
        self.wires = Wires(world, self._recorder, self._arrive)
        self.outcomes: dict[int, bool] = {}
        self.on_outcome: Callable[[str, Outcome], None] = lambda client, outcome: None
        self.before_perform: Callable[[Machine, Effects], None] = lambda machine, effects: None
        """Called before effects are performed: a place to crash."""
        self.locks_let_go: list[LockSpan] = []
        """Every lock that was let go, on all machines and over all starts."""
        self.tokens: dict[int, TxId] = {}
        self._disk_rng = world.derive("disks")
        for name in names:
            self._boot(self.machines[name])

    # -- what a script does

    def begin(self, client: str, at: str, token: int, writes: Writes) -> None:
        """A client sends a transaction; it is answered under its token, or not."""
        self.wires.send(client, at, Begin(token, writes))

    def up(self) -> list[str]:
        """Machines that run."""
        return [name for name, each in self.machines.items() if each.run is not None]

    def participant(self, name: str) -> Participant:
        """The participant of a machine that is up."""
        run = self.machines[name].run
        assert run is not None, f"{name} is down"
        return run.participant

    def crash(self, name: str) -> None:
        """Power off: what was not synced is gone."""
        self.machines[name].run = None
        self._recorder.note("crash", name)

    def restart(self, name: str) -> None:
        """It starts with what its disk holds."""
        self._recorder.note("start", name)
        self._boot(self.machines[name])

    # -- a machine's life

    def _boot(self, machine: Machine) -> None:
        machine.boot_count += 1
        name, now_ms = machine.name, self.world.now_ms
        run = machine.run = Run(
            Coordinator(name, machine.boot_count, machine.disk),
            Participant(name, machine.disk, now_ms=now_ms, released=self.locks_let_go),
        )
        self._tick(machine, run)

    def _tick(self, machine: Machine, run: Run) -> None:
        for role in (run.coordinator, run.participant):
            if machine.run is run:
                self._perform(machine, role.tick(self.world.now_ms))
        if machine.run is run:
            self.world.at(TICK_MS, self._tick, machine, run)

    def _arrive(self, source: str, target: str, message: Any) -> bool:
        if isinstance(message, Outcome):
            self._recorder.note("deliver", source, target, message)
            self.outcomes[message.token] = message.committed
            self.on_outcome(target, message)
            return True
        machine = self.machines[target]
        run = machine.run
        if run is None:
            return False
        self._recorder.note("deliver", source, target, message)
        now_ms = self.world.now_ms
        if isinstance(message, Begin):
            token = (source, message.token)
            tx, effects = run.coordinator.begin(message.writes, self.names, token, now_ms)
            self.tokens[message.token] = tx
        else:
            own = isinstance(message, Inquiry) and message.tx.coordinator == target
            coordinates = own or isinstance(message, Vote | Acknowledgement)
            role = run.coordinator if coordinates else run.participant
            effects = role.receive(source, message, now_ms)
        self._perform(machine, effects)
        return True

    def _perform(self, machine: Machine, effects: Effects) -> None:
        """In order; nothing leaves before its records and all earlier ones are durable."""
        if not effects:
            return
        self.before_perform(machine, effects)
        if machine.run is not None:
            machine.run.queue.append(effects)
            self._drain(machine, machine.run)

    def _drain(self, machine: Machine, run: Run) -> None:
        while run.queue and not run.syncing:
            if any(effects.persist for effects in run.queue):
                self._sync(machine, run)
                return
            self._speak(machine, run.queue.popleft())

    def _sync(self, machine: Machine, run: Run) -> None:
        """One fsync for all that waits: group commit."""
        run.syncing = True
        group = len(run.queue)
        records = [record for effects in run.queue for record in effects.persist]
        duration_ms = self._disk_rng.uniform(*SYNC_MS)

        def done() -> None:
            if machine.run is not run:
                return
            machine.disk.extend(records)
            run.syncing = False
            self._recorder.note("sync", machine.name, body=records, duration_ms=duration_ms)
            for _ in range(group):
                self._speak(machine, run.queue.popleft())
            self._drain(machine, run)

        self.world.at(duration_ms, done)

    def _speak(self, machine: Machine, effects: Effects) -> None:
        for record in effects.persist:
            if isinstance(record, CommittedRecord):
                self._recorder.note("decided", machine.name, body=record)
        for to, message in effects.sends:
            self.wires.send(machine.name, to, message)
        for (client, number), committed in effects.outcomes:
            self.wires.send(machine.name, client, Outcome(number, committed))
