"""A node at work: one turn after another, on whatever bus, disk and clock it is given.

    bus ──► node.step / submit ──► node.tick ──► node.ready
        ──► WAL group ──► (committer: write, fdatasync) ──► node.synced
        ──► send, publish ──► answer clients

The daemon gives it sockets, a real disk and a sync thread; the simulator gives it a network, a
disk and a clock of its own. What happens in a turn, and in which order, is here alone, so that
both run the same code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from paxosd.bus.inbox import Inbox
from paxosd.bus.peers import PeerEndpoints, links
from paxosd.core.commands import Batch
from paxosd.core.context import Codec
from paxosd.core.effects import Ready, ServeLog
from paxosd.core.message_room import MessageRoom
from paxosd.core.messages import Accept, Accepted, Decisions, Envelope, Hello, PeerMessage
from paxosd.core.node import Node
from paxosd.core.requests import (
    AdminAnswer,
    AdminRequest,
    ClientMessage,
    RefusalAnswer,
    ServerMessage,
)
from paxosd.core.state.machine import Machine
from paxosd.core.status import SnapshotStatus
from paxosd.core.types import NOOP, Ballot, NodeId, Slot
from paxosd.core.work import CLIENT_UNITS
from paxosd.host.log import Log
from paxosd.replica.forwarding import Forwarding, Link
from paxosd.replica.log_server import serve_history, serve_log
from paxosd.replica.request_log import RequestLog
from paxosd.replica.service import Service
from paxosd.replica.watch_publisher import EventPublisher
from paxosd.snapshot.exchange import SNAPSHOT_KINDS, SnapshotExchange
from paxosd.snapshot.keeper import Snapshots
from paxosd.storage.disk import CorruptionError
from paxosd.storage.health import StorageWatch
from paxosd.storage.standing import Standing
from paxosd.storage.wal import SyncJob, Wal
from paxosd.wire import EntryLimits

PEERS_PER_TURN_MAX = 1000
CLIENTS_PER_TURN_MAX = 400
CLIENTS_AT_ONCE = 4
"""Requests between two looks at how much the turn has done."""
LOG_WAITING_BYTES_MAX = 64 << 20
"""While so much waits for the disk, nothing more is proposed, accepted or learned."""
_TO_LOG: frozenset[type] = frozenset({Accept, Decisions})
KEYS_PER_TURN = 1000
"""How many keys background work (checksums, removed ranges, the scan index) takes at a time."""
KEYS_BUSY = 250
"""… and in a turn that has done much already: a little, for it must end some time."""
MARKS_MS = 50.0
"""Log marks of peers are written down at most so often …"""
MARKS_IDLE_MS = 1000.0
"""… and so much later at the latest."""
QUIET_MS = 50.0
"""So long without a request or a new slot, and background work may begin."""
LOOK_MS = 50.0
"""How often a turn minds what has seconds of time: the state of the disk, the log's mark."""


class ReplicaBus(Protocol):
    """What a replica hears and says; :class:`paxosd.bus.bus.Bus` has it. Nothing here blocks."""

    inbox: Inbox

    @property
    def relay(self) -> Link: ...

    def set_peers(self, peers: Mapping[NodeId, Any], pins: Mapping[NodeId, int]) -> None: ...

    @property
    def has_subscriptions(self) -> bool: ...

    @property
    def event_bytes_waiting(self) -> int: ...

    def receive_peers(self, limit: int) -> list[Envelope]: ...

    def receive_clients(self, limit: int) -> list[tuple[bytes, ClientMessage]]: ...

    def receive_subscriptions(self) -> list[tuple[bool, bytes]]: ...

    def disconnected(self) -> list[NodeId]: ...

    def send(self, to: NodeId, message: PeerMessage) -> bool: ...

    def publish_accepted(self, message: Accepted) -> None: ...

    def publish(self, topic: bytes, payload: bytes) -> None: ...

    def answer(self, client: bytes, message: ServerMessage) -> bool: ...


class Committer(Protocol):
    """Runs group commits beside the loop, one at a time; :class:`paxosd.daemon.worker.Syncer` has
    it."""

    def start(self, job: SyncJob) -> None: ...

    def finished(self) -> list[SyncJob]:
        """The jobs done since the last call. Raises the StorageError of one that failed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOptions:
    """Who the replica is and how much it does at a time; sizes in bytes.

    ``contacts``: where the other members of the configuration are reached. ``debug``: whether the
    log takes protocol events; if not, none is made.
    """

    cluster: str
    node: NodeId
    boot_count: int
    entry_limits: EntryLimits
    read_bytes_max: int
    catch_up_bytes_max: int
    subscriptions_max: int
    contacts: Mapping[NodeId, PeerEndpoints]
    room: MessageRoom | None = None
    debug: bool = False


class Replica:
    """Node, state machine and log of one member, driven by :meth:`turn`."""

    def __init__(
        self,
        options: ReplicaOptions,
        *,
        node: Node,
        machine: Machine,
        wal: Wal,
        codec: Codec,
        bus: ReplicaBus,
        committer: Committer,
        admin: Callable[[AdminRequest], AdminAnswer | RefusalAnswer],
        log: Log,
        standing: Standing,
        snapshots: Snapshots | None = None,
    ) -> None:
        self.options = options
        self.standing = standing
        """Whether the node may vote and stay."""
        self.node = node
        self.machine = machine
        self.wal = wal
        self.log = log
        self.exchange = None
        if snapshots is not None:
            self.exchange = SnapshotExchange(
                snapshots,
                machine,
                bus.send,
                self._install,
                log,
                self._flush,
                node.objection,
                node.flow_to,
            )
        self._codec = codec
        self._bus = bus
        self._storage = StorageWatch(wal, log, debug=options.debug)
        self._requests = RequestLog(bus, log) if options.debug else None
        self._committer = committer
        self.events = EventPublisher(
            bus.publish,
            machine,
            cluster=options.cluster,
            node=options.node,
            boot_count=options.boot_count,
            subscriptions_max=options.subscriptions_max,
            prefix_bytes_max=lambda: self.service.key_bytes_max,
            log=log,
            waiting_bytes=lambda: bus.event_bytes_waiting,
        )
        self.service = Service(
            node,
            machine,
            self._requests or bus,
            options.entry_limits,
            options.read_bytes_max,
            {},
            lambda request: serve_history(request, machine, self._read_batch),
            admin,
        )
        self.service.room = options.room
        self.forwarding = Forwarding(bus.relay, self._answer)
        self.service.forwarding = self.forwarding
        self.events.work = machine.work
        self.turn_units = 0
        """What the last turn did; see ``core/work.py``."""
        node.tracing = options.debug
        self._syncing = False
        self._tickets: list[int] = []
        self._job_tickets: list[int] = []
        self._after_sync: list[Callable[[], None]] = []
        """To be called once a group commit that begins after now is done."""
        self._after_job: list[Callable[[], None]] = []
        self._quiet_from_ms = 0.0
        self._epoch_heard = 0
        self._log_full = False
        self._rest_first = False
        self._pauses = False
        """Whether nothing is applied: what was has yet to be published."""
        self._look_due_ms = 0.0
        self._stands_still = False
        """Whether its state has diverged."""
        self._applied = 0
        self._contacts = dict(options.contacts)
        self._marks_due_ms = 0.0
        self._say_where_it_stands()
        self._use_membership()

    # -- the turn

    def turn(self, now_ms: float, wall_ms: int) -> None:
        """Take in all that has come, and do what follows from it.

        ``now_ms``: a clock that never goes backward. Raises StorageError; then nothing was said
        that is not durable, and this replica must not be used again.
        """
        node, bus = self.node, self._bus
        self.machine.work.units = 0
        node.set_time(now_ms, wall_ms)
        if self._syncing:
            self._collect_syncs(now_ms)
        self._hear_peers()
        forwarding = self.forwarding
        forwarding.now_ms = now_ms
        if forwarding.endpoint:
            forwarding.turn(self.service.leader_endpoint)
        requests = self._hear_clients(now_ms)
        if bus.has_subscriptions:
            self._take_subscriptions(now_ms)
        node.tick(now_ms, wall_ms)
        ready = node.ready()
        header = bus.inbox.header
        header.log_mark = self.wal.mark
        elsewhere = node.membership is not self._membership
        if elsewhere or not header.genesis or header.genesis != node.genesis:
            self._say_where_it_stands()
        self._perform(ready)
        if elsewhere:
            self._use_membership()
            self.events.publish_members(self._membership.epoch)
        service = self.service
        if service.reads_waiting or service.history_waiting:
            service.answer_waiting()
        self._start_sync(now_ms)
        self._stands_still = node.difference is not None
        if self._stands_still:
            self.events.stop()
        if self.events.streams:
            self.events.tick(int(now_ms), node.age_ms)
        if requests or node.applied != self._applied:
            self._applied = node.applied
            self._quiet_from_ms = now_ms + QUIET_MS
        self._background(now_ms, wall_ms)
        if now_ms >= self._look_due_ms:
            self._look_due_ms = now_ms + LOOK_MS
            self.wal.tick(now_ms)
            self._storage.look(now_ms, node.sync_us_elsewhere)
            node.set_health(self._storage.sync_us, low_space=self._storage.low)
        self.standing.look(now_ms)
        self.turn_units = self.machine.work.units

    def trace(self, on: bool) -> None:
        """Have debug events made from now on, or not any more."""
        self.node.tracing = on
        self._storage.debug = on
        self._requests = RequestLog(self._bus, self.log) if on else None
        self.service.use_bus(self._requests or self._bus)

    def _answer(self, client: bytes, message: ServerMessage) -> bool:
        return (self._requests or self._bus).answer(client, message)

    def _hear_peers(self) -> None:
        """Take in what peers sent, and whose connections broke."""
        node, bus = self.node, self._bus
        envelopes = bus.receive_peers(PEERS_PER_TURN_MAX)
        inbox = bus.inbox
        if inbox.newest_epoch != self._epoch_heard:
            # Ahead of the messages: none of this very batch is to be acted on in the past.
            self._epoch_heard = inbox.newest_epoch
            node.hear_epoch(inbox.newest_epoch)
        if inbox.strangers:
            self._hear_strangers()
        if inbox.genesis_heard and not node.genesis:
            node.hear_genesis(inbox.genesis_heard)
        for envelope in envelopes:
            message = envelope.body
            if self._log_full and type(message) in _TO_LOG:
                continue  # the disk is slow: silence is always a safe answer
            node.step(envelope.sender, envelope.run_id, message)
            if type(message) in SNAPSHOT_KINDS and self.exchange is not None and self._is_sound:
                self.exchange.receive(envelope.sender, message)  # type: ignore[arg-type]  # by kind
        for name in bus.disconnected():
            node.peer_disconnected(name)

    def _hear_clients(self, now_ms: float) -> int:
        """Take in what clients ask, a few requests at a time, until this turn has done its share;
        what is left waits in the sockets. Returns how many requests it were."""
        work, service = self.machine.work, self.service
        count = 0
        while count < CLIENTS_PER_TURN_MAX and work.units < CLIENT_UNITS:
            requests = self._bus.receive_clients(CLIENTS_AT_ONCE)
            if not requests:
                break
            count += len(requests)
            for client, request in requests:
                if self._requests is not None:
                    self._requests.now_ms = now_ms
                    self._requests.received(client, request)
                service.receive(client, request)
            if len(requests) < CLIENTS_AT_ONCE:
                break
        return count

    def next_due_ms(self, now_ms: float) -> float:
        """When, on the clock of :meth:`turn`, the next turn is due if nothing comes before."""
        machine, service = self.machine, self.service
        store = machine.store
        if machine.checksum_runs.running or machine.disposal.rest or self.events.backlog:
            return now_ms
        if machine.sessions.expired:
            return now_ms
        if service.reads_waiting or service.history_waiting:
            return now_ms
        if store.removals and store.can_remove:
            return now_ms
        due_ms = self.node.next_due_ms()
        if self.exchange is not None and not self._stands_still:
            due_ms = min(due_ms, self.exchange.next_due_ms(now_ms))
        if store.added or store.removed:
            due_ms = min(due_ms, max(self._quiet_from_ms, now_ms + 1.0))
        event_due_ms = self.events.next_due_ms()
        return due_ms if event_due_ms is None else min(due_ms, event_due_ms)

    @property
    def _is_sound(self) -> bool:
        """Whether no word of others speaks against this node's state: else it gives it to nobody,
        and does not go on from what may be of another."""
        return not self.node.in_doubt

    @property
    def votes_urgent(self) -> bool:
        """Whether anybody waits for what a vote would decide."""
        events = self.events
        return self.node.votes_urgent or bool(events.streams) or events.wants_learned

    def snapshot_status(self, wall_ms: int) -> SnapshotStatus | None:
        """None if this replica keeps no snapshots."""
        return None if self.exchange is None else self.exchange.status(wall_ms)

    def finish_log(self, now_ms: float) -> None:
        """The committer has ended: take in its last job and write what is left, now."""
        if self._syncing:
            self._collect_syncs(now_ms)
        job = self.wal.begin_sync(flush=True)
        if job is not None:
            job.run()
            self.wal.finish_sync(job)

    def _use_membership(self) -> None:
        """Another membership is in force: be in touch with its members."""
        membership = self.node.membership
        self._membership = membership
        self._bus.set_peers(*links(membership, self.options.node, self._contacts))
        clients = {name: member.client for name, member in membership.members.items()}
        self.service.client_endpoints = clients
        is_member = self.options.node in clients
        self.service.elsewhere = "" if is_member or not clients else clients[membership.voters[0]]

    def _say_where_it_stands(self) -> None:
        """What the envelopes of this turn say of this node."""
        header = self._bus.inbox.header
        node = self.node
        header.genesis = node.genesis
        header.epoch = node.membership.epoch
        if not node.genesis:
            self._bus.inbox.lives.may_replace = node.may_replace_directories

    def _hear_strangers(self) -> None:
        """Messages of this cluster's id from nodes that are no peers, or of another founding: what
        they tell of the present."""
        inbox = self._bus.inbox
        strangers, inbox.strangers = inbox.strangers, []
        for sender, _, message, genesis, epoch, *_ in strangers:
            if self.node.hear_stranger(sender, genesis, epoch, message):
                assert isinstance(message, Hello)
                self._contacts[sender] = PeerEndpoints(message.peer, message.events)
                self._use_membership()

    def _take_subscriptions(self, now_ms: float) -> None:
        if self.node.difference is not None:
            self._bus.receive_subscriptions()  # nobody is told anything
            return
        for subscribe, topic in self._bus.receive_subscriptions():
            self.events.on_subscription(subscribe, topic, int(now_ms), self.node.age_ms)
        self.node.want_applied = self.events.wants_learned

    def _background(self, now_ms: float, wall_ms: int) -> None:
        """Work that may wait: publishing and taking out what a removed range held; a piece of a
        snapshot or of a running checksum; the scan index, when it is quiet."""
        machine = self.machine
        store = machine.store
        if self.events.backlog or self._pauses:
            self.events.pump()
            self._pauses = self.node.pausing = self.events.lags
        keys_max = max(KEYS_BUSY, KEYS_PER_TURN - machine.work.units)
        busy = keys_max == KEYS_BUSY
        # A piece of a snapshot is as large in any turn: in a busy one it takes turns with the rest.
        self._rest_first = busy and not self._rest_first
        if self.exchange is not None and not self._stands_still and not self._rest_first:
            self.exchange.turn(now_ms, wall_ms)
            if busy:
                return
        if store.removals:
            store.advance_removal(keys_max)
        if machine.sessions.expired:
            machine.sessions.advance(keys_max)
        elif machine.disposal.rest:
            machine.disposal.advance(keys_max)
        if machine.checksum_runs.running:
            machine.advance_checksum(keys_max)
        elif now_ms >= self._quiet_from_ms and (store.added or store.removed):
            store.advance_index(keys_max)

    # -- effects

    def _perform(self, ready: Ready) -> None:
        """Do what the core asks, in its order: persist, send, publish, answer."""
        bus = self._bus
        if ready.persist:
            self.wal.append(ready.persist)
            self._note_log_room()
            self._tickets.append(ready.ticket)
        for to, message in ready.sends:
            if not bus.send(to, message):
                self.node.unsent(to, message)
        for accepted in ready.publishes:
            bus.publish_accepted(accepted)
        for slot, ballot, value, _ in ready.applied:
            self.events.publish_learned(slot, ballot, value)
        if self.machine.recent_changes:
            self.events.flush()
        for token, answer in ready.replies:
            self.service.reply(token, answer)
        for serve in ready.serves:
            if serve.first < self.wal.first_slot:
                self._offer(serve)
                continue
            limits = self.node.limits
            decisions = serve_log(
                serve.first,
                serve.last,
                self.read_log,
                min(
                    self.options.catch_up_bytes_max,
                    serve.bytes_max,
                    limits.room_of(serve.to) or inf,
                ),
                serve.commit,
                serve.before,
            )
            if decisions is not None and not limits.takes(serve.to, len(decisions.values[0][1])):
                self._offer(serve, made=True)
            elif decisions is not None:
                size = sum([len(value) for _, value in decisions.values])
                if bus.send(serve.to, decisions):
                    self.node.served(serve.to, decisions, size)
            else:
                self._offer(serve)
        if ready.notices or ready.traces:
            self._tell(ready)

    def _offer(self, serve: ServeLog, *, made: bool = False) -> None:
        """The log has nothing for a peer: it may have a snapshot. ``made``: if there is none that
        will do, one is taken, for the log has what the peer's limits keep from it."""
        if self.exchange is not None and self._is_sound:
            newest = self.exchange.own.newest
            if made and (newest is None or newest.slot < serve.first):
                self.exchange.own.ask()
            self.exchange.offer(serve.to, serve.first)

    def read_log(self, slot: Slot) -> tuple[Ballot, bytes]:
        """What the log has for a slot. Raises KeyError if it has nothing, or nothing that is
        sound: that is told, and made good."""
        try:
            return self.wal.read(slot)
        except CorruptionError as error:
            if self.exchange is None:
                raise
            self.exchange.damaged(error)
            raise KeyError(slot) from error

    def _read_batch(self, slot: Slot) -> Batch | None:
        """The decoded value of an applied slot, as the core applied it. Raises KeyError."""
        value = self.read_log(slot)[1]
        try:
            return None if value == NOOP else self._codec.decode_batch(value)
        except ValueError:
            return None  # every node took the same bytes for a NOOP

    def _tell(self, ready: Ready) -> None:
        for event, level, fields in ready.notices:
            getattr(self.log, level)(event, **fields)
        for event, fields in ready.traces:
            self.log.debug(event, **fields)

    # -- group commit

    def _start_sync(self, now_ms: float) -> None:
        """Log marks of peers ride on what is to be written anyway, at most so often; if nothing is,
        they are written a while later, so that an idle cluster remembers them, too."""
        if self._syncing:
            return
        flush = False
        lives = self._bus.inbox.lives
        if lives.marks_news and now_ms >= self._marks_due_ms and self.node.genesis:
            lives.marks_news = waiting = self.wal.note_heard(lives.marks)
            flush = waiting and now_ms >= self._marks_due_ms + MARKS_IDLE_MS
            if self._tickets or flush:
                self._marks_due_ms = now_ms + MARKS_MS
        if not (self._tickets or self._after_sync or flush):
            return
        job = self.wal.begin_sync(flush=flush)
        self._job_tickets, self._tickets = self._tickets, []
        self._after_job, self._after_sync = self._after_sync, []
        if job is None:
            self._synced()
            return
        self._syncing = True
        self._note_log_room()
        self._committer.start(job)

    def _note_log_room(self) -> None:
        """Whether too much waits for the disk; to be called when that has changed."""
        full = self.wal.waiting_bytes > LOG_WAITING_BYTES_MAX
        if full != self._log_full:
            self._log_full = self.node.log_full = full

    def _synced(self) -> None:
        if self._job_tickets:
            self.node.synced(self._job_tickets[-1])
        done, self._after_job = self._after_job, []
        for action in done:
            action()

    def _flush(self) -> None:
        """Have what is open in the log written, though nobody waits for it."""
        if not self._after_sync:
            self._after_sync.append(lambda: None)

    def _collect_syncs(self, now_ms: float) -> None:
        for job in self._committer.finished():
            self.wal.finish_sync(job)
            self._storage.on_sync(job, now_ms)
            self._syncing = False
            self._synced()

    # -- snapshots

    def _install(self, slot: Slot, machine: Machine, done: Callable[[bool], None]) -> None:
        """Go on from a snapshot that is durable: the log says so, durably, then all jump."""
        if self.wal.commit >= slot:
            done(False)
            return
        self.wal.install(slot)
        self._after_sync.append(lambda: self._jump(slot, machine, done))

    def _jump(self, slot: Slot, machine: Machine, done: Callable[[bool], None]) -> None:
        behind = self.machine.applied < slot
        if behind:
            self.events.flush()
            self.machine.adopt(machine)
            self.events.jumped()  # before the install applies what is chosen above the snapshot
            self.node.install(slot)
        done(behind)
