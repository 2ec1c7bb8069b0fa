"""A few real nodes under full control, for lessons: each message can be held, lost or let pass.

The nodes are :class:`paxosd.core.node.Node` with the daemon's log and recovery, on virtual time
and simulated disks. Larger and wilder runs are the business of ``sim/cluster/cluster.py``;
here the script decides what goes wrong, and the nodes alone decide what follows from it.

    script ── client request, cut, hold, lose, crash, wipe ──► Stage ──► Node ──► Happenings
"""

import random
from collections.abc import Callable
from typing import Any

from paxosd.bus.inbox import Inbox, Refusal
from paxosd.bus.peers import PeerEndpoints, links
from paxosd.core import genesis
from paxosd.core.commands import Entry
from paxosd.core.effects import (
    AcceptRecord,
    DecisionRecord,
    PromiseRecord,
    ReadReady,
    Ready,
    Record,
)
from paxosd.core.messages import Decisions, Envelope, Hello, PeerMessage
from paxosd.core.node import Node
from paxosd.core.options import NodeOptions
from paxosd.core.quorum import Quorums
from paxosd.core.requests import GET
from paxosd.core.types import NULL_BALLOT, Ballot, NodeId, Slot
from paxosd.faults.plan import FaultPlan
from paxosd.replica.assembly import Equipment, assemble
from paxosd.sim.teach.stage_parts import Actor, Answer, Lots, Read, Silence, Trusting, Write
from paxosd.sim.teach.wires import Happening, Listener, Wires
from paxosd.sim.world.world import World
from paxosd.storage import identity
from paxosd.storage.node_directory import NodeDirectory
from paxosd.storage.wal import WalOptions
from paxosd.wire import encode_entry

CLUSTER = "lesson"
SEGMENT_BYTES = 256 << 10
SYNC_MS = (0.8, 1.2)
"""How long an fsync takes."""


class Stage:
    """``order``: the names in the order in which their election timers run out."""

    def __init__(
        self, world: World, names: tuple[str, ...], listener: Listener,
        order: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.world = world
        self.names = names
        self._order = order or names
        self.actors = {name: Actor(name, world.derive(f"{name}/disk")) for name in names}
        self.quorums = Quorums(names)
        self.wires = Wires(world, listener, self._arrive)
        self.answers: dict[int, Answer] = {}
        self.chosen: dict[Slot, tuple[Ballot, bytes]] = {}
        """What a majority has had on disk under one ballot: known to the observer alone."""
        self.conflicts: list[tuple[Slot, bytes, bytes]] = []
        """Slots for which a second value was chosen: must stay empty."""
        self.breach = ""
        """What no node may ever do, and one did."""
        self._promised = dict.fromkeys(names, NULL_BALLOT)
        self.before_turn: Callable[[Actor], None] = lambda actor: None
        """Called when something arrived, before the node takes its turn: a place to crash."""
        self.on_answer: Callable[[str, Answer], None] = lambda client, answer: None
        """Called when a client gets an answer."""
        self._accepted: dict[tuple[Slot, Ballot], list[NodeId]] = {}
        self._listener = listener
        self._disk_rng = world.derive("disks")
        self._token = 0
        for name in names:
            # That all are new, and have told each other so, is where every lesson begins.
            self._boot(self.actors[name], arriving=False)
        self._found()

    def _found(self) -> None:
        """All have founded the cluster, and heard each other."""
        actors = self.actors
        directories = {name: self.node(name).directory_id for name in self.names}
        founders = {name: genesis.Founder(True, directories[name]) for name in self.names}
        record = genesis.Record(CLUSTER, founders, "")
        for actor in actors.values():
            assert actor.node is not None
            identity.write_genesis(actor.home, record)
            actor.node.use_genesis(record)
            actor.inbox.header.genesis = record.hash
            actor.inbox.set_peers(
                *links(actor.node.membership, actor.name, self._contacts(actor.name))
            )
            for peer in self.names:
                if peer != actor.name:
                    hello = Hello(directories[peer])
                    actor.inbox.lives.admit(peer, actors[peer].run_id, hello)

    # -- what a script does

    def run(self, duration_ms: float) -> None:
        """Let time pass."""
        self.world.run_until(self.world.now_ms + duration_ms)

    def run_while(self, condition: Callable[[], bool], limit_ms: float = 10_000) -> bool:
        """Let time pass until the condition fails to hold; false if it held for all of it."""
        return self.world.run_while(condition, limit_ms)

    def node(self, name: NodeId) -> Node:
        """The node of a member that is up."""
        node = self.actors[name].node
        assert node is not None, f"{name} is down"
        return node

    def up(self) -> list[str]:
        """Members that run."""
        return [name for name, actor in self.actors.items() if actor.node is not None]

    def leader(self) -> NodeId:
        """Who leads with the highest ballot, "" if nobody does."""
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

    def crash(self, name: NodeId) -> None:
        """Power off: what was not synced is gone."""
        actor = self.actors[name]
        assert actor.node is not None
        actor.node = None
        actor.disk.restore(actor.disk.copy())
        self._promised[name] = self.promised_at(name)
        self._tell("crash", name)

    def restart(self, name: NodeId, *, naive: bool = False) -> None:
        """It starts with what its disk holds. Raises StorageError if it must not. ``naive``: it
        asks nobody whether it was here before, and all believe that it is what it says."""
        self.actors[name].naive = naive
        self._boot(self.actors[name], arriving=not naive)
        self._tell("start", name)
        self._turn(self.actors[name])

    def wipe(self, name: NodeId, *, whole: bool = False) -> None:
        """A member that is down loses its log; if ``whole``, all of its data directory."""
        actor = self.actors[name]
        assert actor.node is None
        actor.disk.wipe()
        if whole:
            actor.home.wipe()
        actor.durable = []
        self._promised[name] = NULL_BALLOT
        self._tell("wipe", name, whole=whole)

    def value_at(self, name: NodeId, slot: Slot) -> bytes | None:
        """What a member has applied in a slot, None if nothing yet."""
        actor = self.actors[name]
        if actor.node is None or slot > actor.node.applied:
            return None
        return actor.memory.wal.read(slot)[1]

    def accepted_at(self, name: NodeId, slot: Slot) -> tuple[Ballot, bytes] | None:
        """What a member's disk holds as accepted in a slot, also while it is down."""
        return self._held(name, slot, AcceptRecord)

    def learned_at(self, name: NodeId, slot: Slot) -> tuple[Ballot, bytes] | None:
        """What a member's disk holds as chosen in a slot without having voted for it there."""
        return self._held(name, slot, DecisionRecord)

    def _held(
        self, name: NodeId, slot: Slot, kind: type[AcceptRecord | DecisionRecord]
    ) -> tuple[Ballot, bytes] | None:
        found = None
        for record in self.actors[name].durable:
            if isinstance(record, kind) and record.slot == slot:
                found = (record.ballot, record.value)
        return found

    def promised_at(self, name: NodeId) -> Ballot:
        """The highest promise on a member's disk, also while it is down: who accepts under a
        ballot has promised it, too."""
        return max((record.ballot for record in self.actors[name].durable
                    if isinstance(record, PromiseRecord | AcceptRecord)),
                   default=NULL_BALLOT)  # fmt: skip

    # -- a member's life

    def _boot(self, actor: Actor, *, arriving: bool) -> None:
        """The daemon's own start: identity, log, replay, node."""
        assert actor.node is None
        world, name = self.world, actor.name
        rng = world.derive(f"{name}/{world.now_ms}")
        parts = assemble(
            NodeDirectory(
                cluster=CLUSTER, node=name, home=actor.home, log_disk=actor.disk, place=name
            ),
            NodeOptions(node=name, quorums=self.quorums, cluster=CLUSTER, compare_wait_ms=0),
            self._contacts(name),
            self._equipment(actor, rng),
            arriving=arriving,
        )
        assert isinstance(parts.lives, Trusting)
        parts.lives.actors = self.actors
        actor.inbox = Inbox(
            name,
            FaultPlan(),
            parts.lives,
            answer=lambda to, message: self.say(actor, to, message),
            refused=lambda refusal, source, now_ms: self._on_refused(actor, refusal),
        )
        actor.run_id, actor.memory, actor.node = parts.run_id, parts.memory, parts.node
        actor.pending, actor.group, actor.job, actor.turn_at = [], [], None, None
        actor.node.want_applied = True
        self._wake(actor)

    def _contacts(self, name: NodeId) -> dict[NodeId, PeerEndpoints]:
        """Where the configuration of a member has the others; no membership ever says it here."""
        return {peer: PeerEndpoints(peer, peer) for peer in self.names if peer != name}

    def _equipment(self, actor: Actor, rng: random.Random) -> Equipment:
        world = self.world
        place = self._order.index(actor.name)
        return Equipment(
            log=Silence(),
            log_disk=lambda claim: actor.disk,
            now_ms=lambda: world.now_ms,
            wall_ms=lambda: int(world.now_ms),
            rng=Lots(str(rng.random()), place, len(self.names)),
            wal_options=WalOptions(
                segment_bytes=SEGMENT_BYTES,
                prepare_ahead=False,
                random_bytes=rng.randbytes,
                clock_ns=lambda: int(world.now_ms * 1e6),
            ),
            random_bits=rng.getrandbits,
            identity_bits=lambda: rng.getrandbits,
            lives_kind=Trusting,
        )

    def _arrive(self, source: str, target: str, message: Any, envelope: Envelope | None) -> bool:
        if isinstance(message, Answer):
            self._tell("deliver", source, target, message)
            self.answers[message.token] = message
            self.on_answer(target, message)
            return True
        actor = self.actors[target]
        if actor.node is None:
            return False
        heard: list[Envelope] = []
        if envelope is not None:
            actor.inbox.take(envelope, source, heard, self.world.now_ms)
            if not heard:
                return True
        self._tell("deliver", source, target, message)
        self.before_turn(actor)
        node = actor.node
        if node is None:
            return True
        node.set_time(self.world.now_ms, int(self.world.now_ms))
        if isinstance(message, Write):
            node.submit((source, message), message.entry, encode_entry(message.entry))
        elif isinstance(message, Read):
            node.read((source, message))
        for each in heard:
            node.hear_epoch(each.epoch)
            node.step(each.sender, each.run_id, each.body)
        self._turn(actor)
        return True

    def say(self, actor: Actor, to: NodeId, message: PeerMessage) -> None:
        """A node sends a message to another."""
        self.wires.send(actor.name, to, message, actor.envelope(message))

    def _on_refused(self, actor: Actor, refusal: Refusal) -> None:
        sender, _, message = refusal.message[:3]
        self._tell("stale", sender, actor.name, message, reason=refusal.reason)

    def _turn(self, actor: Actor) -> None:
        node = actor.node
        assert node is not None
        node.tick(self.world.now_ms, int(self.world.now_ms))
        ready = node.ready()
        if node.promised < self._promised[actor.name]:
            self.breach = f"the promise of {actor.name} went down"
        self._promised[actor.name] = node.promised
        if ready.persist:
            actor.memory.wal.append(ready.persist)
            actor.pending.append((ready.ticket, ready.persist))
            self._sync(actor)
        header = actor.inbox.header
        header.genesis, header.epoch = node.genesis, node.membership.epoch
        header.log_mark = actor.memory.wal.mark
        self._perform(actor, ready)
        actor.inbox.set_peers(*links(node.membership, actor.name, self._contacts(actor.name)))
        self._wake(actor)

    def _perform(self, actor: Actor, ready: Ready) -> None:
        for notice in ready.notices:
            self._tell("notice", actor.name, body=notice)
        for to, message in ready.sends:
            self.say(actor, to, message)
        for accepted in ready.publishes:
            for name in self.names:
                if name != actor.name:
                    self.say(actor, name, accepted)
            self._tell("published", actor.name, body=accepted)
        for applied in ready.applied:
            self._tell("applied", actor.name, body=applied)
        for serve in ready.serves:
            slots = range(serve.first, serve.last + 1)
            values = tuple(actor.memory.wal.read(slot) for slot in slots)
            decisions = Decisions(serve.first, values, serve.commit, serve.before)
            self.say(actor, serve.to, decisions)
        for (client, request), reply in ready.replies:
            shown: Any = reply
            if isinstance(reply, ReadReady):
                found = actor.memory.machine.query([[GET, request.key]], 1 << 20)[0]
                shown = None if found is None else found.value
            self.wires.send(actor.name, client, Answer(request.token, request, shown))

    def _wake(self, actor: Actor) -> None:
        node = actor.node
        assert node is not None
        due_ms = max(node.next_due_ms(), self.world.now_ms + 0.01)
        if actor.turn_at is not None and self.world.now_ms < actor.turn_at <= due_ms:
            return
        actor.turn_at = due_ms

        def wake() -> None:
            if actor.node is node and actor.turn_at == due_ms:
                actor.turn_at = None
                self._turn(actor)

        self.world.at(due_ms - self.world.now_ms, wake)

    def _sync(self, actor: Actor) -> None:
        """Group commit: what comes while one fsync runs is the next one's."""
        if actor.group or not actor.pending:
            return
        actor.group, actor.pending = actor.pending, []
        actor.job = actor.memory.wal.begin_sync()
        if actor.job is None:  # commit records alone ride with the next group
            self._synced(actor)
            return
        node = actor.node
        duration_ms = self._disk_rng.uniform(*SYNC_MS)

        def done() -> None:
            if actor.node is not node or node is None or actor.job is None:
                return  # it crashed before: the group is lost
            actor.job.run()
            actor.memory.wal.finish_sync(actor.job)
            records = [record for _, batch in actor.group for record in batch]
            actor.durable.extend(records)
            self._tell("sync", actor.name, body=records, duration_ms=duration_ms)
            self._note_accepted(actor.name, records)
            self._synced(actor)
            self._turn(actor)
            self._sync(actor)

        self.world.at(duration_ms, done)

    def _synced(self, actor: Actor) -> None:
        node = actor.node
        assert node is not None
        group, actor.group, actor.job = actor.group, [], None
        node.set_time(self.world.now_ms, int(self.world.now_ms))
        node.synced(group[-1][0])

    # -- the observer

    def _note_accepted(self, name: NodeId, records: list[Record]) -> None:
        for record in records:
            if not isinstance(record, AcceptRecord):
                continue
            names = self._accepted.setdefault((record.slot, record.ballot), [])
            if name not in names:
                names.append(name)
            if len(names) != self.quorums.phase2:
                continue
            known = self.chosen.setdefault(record.slot, (record.ballot, record.value))
            if known[1] != record.value:
                self.conflicts.append((record.slot, known[1], record.value))
                self._tell("conflict", name, body=record, names=tuple(names), before=known)
            elif known[0] == record.ballot:
                self._tell("chosen", name, body=record, names=tuple(names))

    def _tell(self, kind: str, node: str, to: str = "", body: Any = None, **detail: Any) -> None:
        self._listener(
            Happening(
                at_ms=self.world.now_ms, kind=kind, node=node, to=to, body=body, detail=detail
            )
        )
