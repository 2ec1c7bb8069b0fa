"""Machines that run Two-Phase Commit in the simulator: each one is coordinator and participant.

    client ── Begin ──► Coordinator ─┐                      ┌─► disk, one fsync at a time
    others ── messages ──► Participant ┴── Effects, in order ┴─► Wires, once they are durable

Network and disks are those of the Paxos stage (``wires.py``, ``member.SYNC_MS``), so that the two
can be compared.
"""

from collections import deque
from collections.abc import Callable
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


class Machine:
    """One machine: what its disk holds, and its two roles while it is up."""

    __slots__ = ("boot_count", "coordinator", "disk", "name", "participant", "queue", "syncing")

    def __init__(self, name: str) -> None:
        self.name = name
        self.boot_count = 0
        self.disk: list[Record] = []
        self.coordinator: Coordinator | None = None
        self.participant: Participant | None = None
        self.queue: deque[Effects] = deque()
        self.syncing = False


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
        self.locks_let_go: list[tuple[str, LockSpan]] = []
        """Every lock that was let go, and where, over all starts."""
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
        return [name for name, each in self.machines.items() if each.participant is not None]

    def participant(self, name: str) -> Participant:
        """The participant of a machine that is up."""
        found = self.machines[name].participant
        assert found is not None, f"{name} is down"
        return found

    def crash(self, name: str) -> None:
        """Power off: what was not synced is gone."""
        machine = self.machines[name]
        assert machine.participant is not None
        self._collect_locks(machine)
        machine.coordinator = machine.participant = None
        machine.queue.clear()
        machine.syncing = False
        self._recorder.note("crash", name)

    def restart(self, name: str) -> None:
        """It starts with what its disk holds."""
        self._recorder.note("start", name)
        self._boot(self.machines[name])

    # -- a machine's life

    def _boot(self, machine: Machine) -> None:
        machine.boot_count += 1
        machine.coordinator = Coordinator(machine.name, machine.boot_count, machine.disk)
        machine.participant = Participant(machine.name, machine.disk, now_ms=self.world.now_ms)
        self._tick(machine, machine.boot_count)

    def _tick(self, machine: Machine, boot_count: int) -> None:
        if machine.coordinator is None or machine.boot_count != boot_count:
            return
        assert machine.participant is not None
        now_ms = self.world.now_ms
        for effects in (machine.coordinator.tick(now_ms), machine.participant.tick(now_ms)):
            self._perform(machine, effects)
            if machine.participant is None:
                return
        self.world.at(TICK_MS, lambda: self._tick(machine, boot_count))

    def _arrive(self, source: str, target: str, message: Any, _envelope: Any) -> bool:
        if isinstance(message, Outcome):
            self._recorder.note("deliver", source, target, message)
            self.outcomes[message.token] = message.committed
            self.on_outcome(target, message)
            return True
        machine = self.machines[target]
        if machine.coordinator is None or machine.participant is None:
            return False
        self._recorder.note("deliver", source, target, message)
        now_ms = self.world.now_ms
        if isinstance(message, Begin):
            token = (source, message.token)
            tx, effects = machine.coordinator.begin(message.writes, self.names, token, now_ms)
            self.tokens[message.token] = tx
        elif isinstance(message, Vote | Acknowledgement) or (
            isinstance(message, Inquiry) and message.tx.coordinator == target
        ):
            effects = machine.coordinator.receive(source, message, now_ms)
        else:
            effects = machine.participant.receive(source, message, now_ms)
        self._perform(machine, effects)
        return True

    def _perform(self, machine: Machine, effects: Effects) -> None:
        """In order; nothing leaves before its records and all earlier ones are durable."""
        if not effects:
            return
        self.before_perform(machine, effects)
        if machine.participant is None:
            return
        self._collect_locks(machine)
        machine.queue.append(effects)
        self._drain(machine)

    def _drain(self, machine: Machine) -> None:
        while machine.queue and not machine.syncing:
            if any(effects.persist for effects in machine.queue):
                self._sync(machine)
                return
            self._speak(machine, machine.queue.popleft())

    def _sync(self, machine: Machine) -> None:
        """One fsync for all that waits: group commit."""
        machine.syncing = True
        group = len(machine.queue)
        boot_count = machine.boot_count
        records = [record for effects in machine.queue for record in effects.persist]
        duration_ms = self._disk_rng.uniform(*SYNC_MS)

        def done() -> None:
            if machine.participant is None or machine.boot_count != boot_count:
                return
            machine.disk.extend(records)
            machine.syncing = False
            self._recorder.note("sync", machine.name, body=records, duration_ms=duration_ms)
            for _ in range(group):
                self._speak(machine, machine.queue.popleft())
            self._drain(machine)

        self.world.at(duration_ms, done)

    def _speak(self, machine: Machine, effects: Effects) -> None:
        for record in effects.persist:
            if isinstance(record, CommittedRecord):
                self._recorder.note("decided", machine.name, body=record)
        for to, message in effects.sends:
            self.wires.send(machine.name, to, message)
        for token, committed in effects.outcomes:
            assert isinstance(token, tuple)
            client, number = token[0], token[1]
            self.wires.send(machine.name, client, Outcome(number, committed))

    def _collect_locks(self, machine: Machine) -> None:
        assert machine.participant is not None
        released = machine.participant.released
        self.locks_let_go.extend((machine.name, span) for span in released)
        released.clear()
