"""A few real nodes under full control, for lessons.

    script ── client request, cut, hold, lose, crash, wipe ──► Stage ──► Members ──► Happenings

Each member runs the daemon's assembly and turn (``member.py``), on virtual time, simulated disks
and the wires of ``wires.py``. Larger and wilder runs are the business of ``sim/cluster/``; here
the script decides what goes wrong, and the nodes alone decide what follows from it.
"""

from collections.abc import Callable
from typing import Any

from paxosd.core import genesis
from paxosd.core.commands import Entry
from paxosd.core.effects import Refusal, WriteReply
from paxosd.core.messages import Envelope, Hello
from paxosd.core.node import Node
from paxosd.core.quorum import Quorums
from paxosd.core.types import NodeId, Slot
from paxosd.sim.teach.happenings import Happening, Recorder
from paxosd.sim.teach.member import CLUSTER, Member, Surroundings
from paxosd.sim.teach.member_bus import Answer, Read, Write
from paxosd.sim.teach.observer import Observer
from paxosd.sim.teach.wires import Wires
from paxosd.sim.world.world import World
from paxosd.storage import identity


class Stage:
    """``order``: the names in the order in which their election timers run out."""

    def __init__(
        self, world: World, names: tuple[str, ...], listener: Callable[[Happening], None],
        order: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.world = world
        self.names = names
        self.quorums = Quorums(names)
        self._recorder = Recorder(world, listener)
        self.wires = Wires(world, self._recorder, self._arrive)
        self.observer = Observer(names, self.quorums.phase2, self._recorder)
        self.answers: dict[int, Answer] = {}
        self.before_turn: Callable[[NodeId], None] = lambda name: None
        """Called when something arrived, before the node takes its turn: a place to crash."""
        self.on_answer: Callable[[str, Answer], None] = lambda client, answer: None
        """Called when a client gets an answer."""
        self._token = 0
        self._around = Surroundings(
            world=world,
            names=names,
            order=order or names,
            quorums=self.quorums,
            wires=self.wires,
            recorder=self._recorder,
            observer=self.observer,
            sync_rng=world.derive("disks"),
        )
        self.members = {name: Member(name, self._around) for name in names}
        self._found()

    def _found(self) -> None:
        """Where every lesson begins: all members are new, have founded the cluster, and have heard
        each other."""
        parts = {name: member.assemble(arriving=False) for name, member in self.members.items()}
        directories = {name: each.claim.directory_id for name, each in parts.items()}
        founders = {name: genesis.Founder(True, number) for name, number in directories.items()}
        record = genesis.Record(CLUSTER, founders, "")
        for name, each in parts.items():
            identity.write_genesis(self.members[name].home, record)
            each.node.use_genesis(record)
            for peer in parts.keys() - {name}:
                each.peer_runs.admit(peer, parts[peer].run_id, Hello(directories[peer]))
        for name, member in self.members.items():
            member.begin(parts[name])

    # -- what a script does

    def run(self, duration_ms: float) -> None:
        """Let time pass."""
        self.world.run_until(self.world.now_ms + duration_ms)

    def run_while(self, condition: Callable[[], bool], limit_ms: float = 10_000) -> bool:
        """Let time pass until the condition does not hold any more; false if it always held."""
        return self.world.run_while(condition, limit_ms)

    def node(self, name: NodeId) -> Node:
        """The node of a member that is up."""
        return self.members[name].life.node

    def up(self) -> list[str]:
        """Members that run."""
        return [name for name, member in self.members.items() if member.up]

    def leader(self) -> NodeId:
        """The node that leads with the highest ballot; "" if none leads."""
        leading = [name for name in self.up() if self.node(name).leading]
        return max(leading, key=lambda name: self.node(name).promised, default="")

    def write(self, client: str, to: NodeId, entry: Entry) -> int:
        """A client sends a write; the answer comes under the token returned."""
        self._token += 1
        self.wires.send(client, to, Write(self._token, entry))
        return self._token

    def read(self, client: str, to: NodeId, key: bytes) -> int:
        """A client sends a linearizable read."""
        self._token += 1
        self.wires.send(client, to, Read(self._token, key))
        return self._token

    def reply(self, token: int, limit_ms: float = 5_000) -> WriteReply | Refusal | bytes | None:
        """Let time pass until a request is answered, and return the reply; None if no answer came
        in time, and for the read of a key that is not set."""
        self.run_while(lambda: token not in self.answers, limit_ms)
        return self.answers[token].reply if token in self.answers else None

    def run_until_applied(self, slot: Slot, *names: NodeId, limit_ms: float = 10_000) -> None:
        """Let time pass until these members have applied a slot; all members if none is named."""
        waiting = names or self.names
        self.run_while(lambda: any(self.node(n).applied < slot for n in waiting), limit_ms)

    def values_at(self, slot: Slot) -> set[bytes | None]:
        """What all members have applied in a slot."""
        return {self.value_at(name, slot) for name in self.names}

    def crash(self, name: NodeId) -> None:
        """Power off: what was not synced is gone."""
        self.members[name].crash()
        self.observer.crashed(name)
        self._recorder.note("crash", name)

    def restart(self, name: NodeId, *, naive: bool = False, patient: bool = False) -> None:
        """It starts with what its disk holds. Raises StorageError if it must not. ``naive``: it
        asks nobody whether it was here before, and all believe that it is what it says.
        ``patient``: it leaves campaigns to the others for long."""
        (self._around.patient.add if patient else self._around.patient.discard)(name)
        (self._around.naive.add if naive else self._around.naive.discard)(name)
        self._recorder.note("start", name)
        self.members[name].start()

    def wipe(self, name: NodeId, *, whole: bool = False) -> None:
        """A member that is down loses its log; if ``whole``, all of its data directory."""
        self.members[name].wipe(whole=whole)
        self.observer.wiped(name)
        self._recorder.note("wipe", name, whole=whole)

    def value_at(self, name: NodeId, slot: Slot) -> bytes | None:
        """What a member has applied in a slot; None if nothing yet."""
        if not self.members[name].up or slot > self.node(name).applied:
            return None
        return self.members[name].life.wal.read(slot)[1]

    def _arrive(self, source: str, target: str, message: Any) -> bool:
        if isinstance(message, Answer):
            self._recorder.note("deliver", source, target, message)
            self.answers[message.token] = message
            self.on_answer(target, message)
            return True
        member = self.members[target]
        if not member.up:
            return False
        self.before_turn(target)
        if member.up:
            if not isinstance(message, Envelope):
                self._recorder.note("deliver", source, target, message)
            member.life.take(source, message)
        return True
