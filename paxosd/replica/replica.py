"""A node at work: one turn after another, on whatever bus, disk and clock it is given.

    bus ──► node.step / submit ──► node.tick ──► node.ready
        ──► WAL group ──► (committer: write, fdatasync) ──► node.synced
        ──► send, publish ──► answer clients

The daemon gives it sockets, a real disk and a sync thread; the simulator gives it a network, a
disk and a clock of its own. What happens in a turn, and in which order, is here alone, so that
both run the same code.
"""

from collections.abc import Callable

from paxosd.bus.peers import PeerEndpoints, links
from paxosd.core.effects import Ready
from paxosd.core.messages import Accept, Decisions, Hello
from paxosd.core.requests import AdminAnswer, AdminRequest, RefusalAnswer, ServerMessage
from paxosd.core.state.machine import Machine
from paxosd.core.status import SnapshotStatus
from paxosd.core.types import Slot
from paxosd.core.work import CLIENT_UNITS
from paxosd.replica.authority import Authority
from paxosd.replica.background import BackgroundWork
from paxosd.replica.bulk_pace import BulkPace
from paxosd.replica.deferred_answers import Deferred, DeferredAnswers
from paxosd.replica.forwarding import Forwarding
from paxosd.replica.group_commit import GroupCommit
from paxosd.replica.log_server import serve_history
from paxosd.replica.log_source import LogSource
from paxosd.replica.observer import make_observer
from paxosd.replica.parts import Assembled
from paxosd.replica.permissions import Permissions
from paxosd.replica.ports import Ports, ReplicaOptions
from paxosd.replica.quota_alarm import QuotaAlarm
from paxosd.replica.recovery import Memory
from paxosd.replica.request_log import RequestLog
from paxosd.replica.service import Service
from paxosd.replica.watch_publisher import EventPublisher
from paxosd.snapshot.exchange import SNAPSHOT_KINDS, SnapshotExchange
from paxosd.snapshot.keeper import Snapshots
from paxosd.storage.health import StorageWatch

PEERS_PER_TURN_MAX = 1000
CLIENTS_PER_TURN_MAX = 400
CLIENTS_AT_ONCE = 4
"""Requests between two looks at how much the turn has done."""
AdminHandler = Callable[[AdminRequest, bytes], AdminAnswer | RefusalAnswer | Deferred]
_TO_LOG: frozenset[type] = frozenset({Accept, Decisions})
LOOK_MS = 50.0
"""How often a turn looks after what changes within seconds: the state of the disk, the log's
mark."""


class Replica:
    """Node, state machine and log of one member, driven by :meth:`turn`."""

    def __init__(
        self,
        options: ReplicaOptions,
        parts: Assembled,
        ports: Ports,
        *,
        admin: AdminHandler,
        rights: tuple[Authority, Permissions],
        snapshots: Snapshots | None = None,
    ) -> None:
        """``parts``: the node, and what it remembers. ``admin``: carries out the admin requests.
        ``rights``: who has which key, and who may ask for what.
        Without ``snapshots`` none are taken, sent or fetched."""
        node, memory, bus, log = parts.node, parts.memory, ports.bus, ports.log
        machine = memory.machine
        self.options = options
        self.standing = parts.standing
        """Whether the node may vote and stay."""
        self.node = node
        self.machine = machine
        self.wal = memory.wal
        self.log = log
        self._bus = bus
        self._storage = StorageWatch(memory.wal, log, debug=options.debug)
        self._quota_alarm = QuotaAlarm(log)
        self._requests = RequestLog(bus, log) if options.debug else None
        self._observer = make_observer(ports, options, node, memory)
        self._wants_applied = self._observer is not None and self._observer.wants_applied
        self.commits = GroupCommit(
            memory.wal,
            node,
            bus.inbox.peer_runs,
            ports.committer,
            self._storage,
            self._observer,
        )
        self.exchange = self._make_exchange(snapshots) if snapshots is not None else None
        self._pace = BulkPace()
        self._applied_before = machine.applied
        self.log_source = self._make_log_source(memory)
        self.forwarding = Forwarding(bus.relay, self._answer)
        helper = ports.file_helper
        self._deferred = DeferredAnswers(helper, self._answer) if helper is not None else None
        self.authority, permissions = rights
        self.authority.use(machine.rights)
        self.service = self._make_service(ports, admin, permissions)
        self.events = self._make_publisher()
        self._background = BackgroundWork(node, machine, self.events, self.exchange)
        self.turn_units = 0
        """What the last turn did; see ``core/work.py``."""
        node.tracing = options.debug
        node.want_applied = self._wants_applied
        self._epoch_heard = 0
        self._look_due_ms = 0.0
        self._stands_still = False
        """Whether its state has diverged."""
        self._contacts = dict(options.contacts)
        self._update_header()
        self._use_membership()

    def _make_exchange(self, snapshots: Snapshots) -> SnapshotExchange:
        return SnapshotExchange(
            snapshots,
            self.machine,
            self._bus.send,
            self._install,
            self.log,
            self.commits.flush,
            self.node.objection,
            self.node.flow_to,
        )

    def _make_log_source(self, memory: Memory) -> LogSource:
        bytes_max, pace = self.options.catch_up_bytes_max, self._pace
        return LogSource(
            memory.wal,
            memory.codec,
            self.node,
            self.exchange,
            self._bus,
            lambda: bytes_max // pace.part,
        )

    def _make_service(self, ports: Ports, admin: AdminHandler, permissions: Permissions) -> Service:
        machine, read_batch, pace = self.machine, self.log_source.read_batch, self._pace
        return Service(
            self.node,
            machine,
            self._requests or ports.bus,
            limits=self.options.entry_limits,
            read_bytes_max=self.options.read_bytes_max,
            history=lambda request: serve_history(request, machine, read_batch, part=pace.part),
            admin=admin,
            permissions=permissions,
            room=self.options.room,
            forwarding=self.forwarding,
            now_ms=ports.read_now_ms or ports.precise_now_ms,
            observer=self._observer,
            later=self._deferred.take if self._deferred is not None else None,
            pace=pace,
        )

    def _make_publisher(self) -> EventPublisher:
        options, bus, service = self.options, self._bus, self.service
        return EventPublisher(
            bus.publish,
            self.machine,
            cluster=options.cluster,
            node=options.node,
            boot_count=options.boot_count,
            subscriptions_max=options.subscriptions_max,
            prefix_bytes_max=lambda: service.key_bytes_max,
            log=self.log,
            waiting_bytes=lambda: bus.event_bytes_waiting,
            work=self.machine.work,
        )

    # -- the turn

    def turn(self, now_ms: float, wall_ms: int) -> None:
        """Take in all that has come, and do what follows from it.

        ``now_ms``: a clock that never goes backward; ``wall_ms``: the time since 1970. Raises
        StorageError; then nothing was said that is not durable, and this replica must not be used
        again.
        """
        node, bus = self.node, self._bus
        self.machine.work.units = 0
        self._pace.now_ms = now_ms
        node.set_time(now_ms, wall_ms)
        if self._observer is not None:
            self._observer.begin_turn(now_ms)
        if self._requests is not None:
            self._requests.begin_turn(now_ms)
        if self.commits.is_running:
            self.commits.collect(now_ms)
        self._hear_peers()
        forwarding = self.forwarding
        forwarding.begin_turn(now_ms)
        if forwarding.endpoint:
            forwarding.turn(self.service.leader_endpoint)
        requests = self._hear_clients()
        if bus.has_subscriptions:
            self._take_subscriptions(now_ms)
        node.tick(now_ms, wall_ms)
        self._act()
        if self.commits.start(now_ms):
            # The log was synced at once: what waited for that leaves in this very turn. What it
            # brings about may have to be written, too; that waits for no further sync here.
            self._act()
            self.commits.start(now_ms, may_block=False)
        if self.machine.applied != self._applied_before:
            self._applied_before, self._pace.written_ms = self.machine.applied, now_ms
        if self.service.waiting_bytes:  # now that writes and votes have gone on their way
            self.service.answer_waiting()
        self._stands_still = node.difference is not None
        if self._stands_still:
            self.events.stop()
        if self.events.streams:
            self.events.tick(int(now_ms), node.age_ms)
        if self._deferred is not None and not self._deferred.idle:
            self._deferred.turn(now_ms)
        self._background.turn(now_ms, wall_ms, requests=requests, stands_still=self._stands_still)
        if now_ms >= self._look_due_ms:
            self._look_due_ms = now_ms + LOOK_MS
            self.wal.tick(now_ms)
            if self.machine.rights.required:
                node.age_ms()  # so that it is known whether a quorum is heard of
            if self._observer is not None:
                self._observer.look()
            self._storage.look(now_ms, node.sync_us_elsewhere)
            self._quota_alarm.look(self.machine.store.quota)
            node.set_health(self._storage.sync_us, low_space=self._storage.low)
        self.standing.look(now_ms)
        self.turn_units = self.machine.work.units
        if self._observer is not None:
            self._observer.end_turn()

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
        if self.commits.log_is_full:
            # The disk is slow: silence is always a safe answer.
            envelopes = [each for each in envelopes if type(each.body) not in _TO_LOG]
        if envelopes and self._observer is not None:
            self._observer.heard(envelopes)
        for envelope in envelopes:
            message = envelope.body
            node.step(envelope.sender, envelope.run_id, message)
            if type(message) in SNAPSHOT_KINDS and self.exchange is not None and self._is_sound:
                self.exchange.receive(envelope.sender, message)  # type: ignore[arg-type]  # by kind
        for name in bus.disconnected():
            node.peer_disconnected(name)

    def _hear_clients(self) -> int:
        """Take in what clients ask, a few requests at a time, until this turn has done its share;
        what is left waits in the sockets. Returns the number of requests."""
        work, service = self.machine.work, self.service
        count = 0
        while count < CLIENTS_PER_TURN_MAX and work.units < CLIENT_UNITS:
            requests = self._bus.receive_clients(CLIENTS_AT_ONCE)
            if not requests:
                break
            count += len(requests)
            for client, request, key in requests:
                if self._requests is not None:
                    self._requests.received(client, request)
                service.receive(client, request, key)
            if len(requests) < CLIENTS_AT_ONCE:
                break
        return count

    def next_due_ms(self, now_ms: float) -> float:
        """When, on the clock of :meth:`turn`, the next turn is due if nothing comes before."""
        if self._background.is_due:
            return now_ms
        due_ms = min(self.node.next_due_ms(), self.service.next_due_ms(now_ms))
        if self._deferred is not None:
            due_ms = min(due_ms, self._deferred.next_due_ms(now_ms))
        if self.exchange is not None and not self._stands_still:
            due_ms = min(due_ms, self.exchange.next_due_ms(now_ms))
        for other_ms in (self._background.index_due_ms(now_ms), self.events.next_due_ms()):
            if other_ms is not None:
                due_ms = min(due_ms, other_ms)
        return due_ms

    @property
    def _is_sound(self) -> bool:
        """Whether no other node contradicts this node's state. If one does, it sends its state to
        nobody, and does not go on from a snapshot, which may be of another history."""
        return not self.node.in_doubt

    @property
    def votes_urgent(self) -> bool:
        """Whether anybody waits for what the next votes decide: a client, or watchers, as long as
        a slot is open. The vote that comes after those of a quorum is not worth a turn."""
        events = self.events
        return self.node.votes_urgent(watched=bool(events.streams) or events.wants_learned)

    def snapshot_status(self, wall_ms: int) -> SnapshotStatus | None:
        """None if this replica keeps no snapshots."""
        return None if self.exchange is None else self.exchange.status(wall_ms)

    def _use_membership(self) -> None:
        """Another membership is in force."""
        self._membership = self.node.membership
        self._connect()

    def _connect(self) -> None:
        """Connect to the members, where they are as far as is known by now."""
        membership = self.node.membership
        self._bus.set_peers(*links(membership, self.options.node, self._contacts))
        clients = {name: member.client for name, member in membership.members.items()}
        is_member = self.options.node in clients
        elsewhere = "" if is_member or not clients else clients[membership.voters[0]]
        self.service.use_members(clients, elsewhere)

    def _update_header(self) -> None:
        """Bring up to date what the envelopes of this turn say of this node."""
        header = self._bus.inbox.header
        node = self.node
        header.genesis = node.genesis
        header.epoch = node.membership.epoch
        if not node.genesis:
            self._bus.inbox.peer_runs.may_replace = node.may_replace_directories

    def _hear_strangers(self) -> None:
        """Take in what nodes that are no peers, or that have another founding record, say about
        the present membership of this cluster's id."""
        inbox = self._bus.inbox
        strangers, inbox.strangers = inbox.strangers, []
        for sender, _, message, genesis, epoch, *_ in strangers:
            if self.node.hear_stranger(sender, genesis, epoch, message):
                assert isinstance(message, Hello)
                self._contacts[sender] = PeerEndpoints(message.peer, message.events)
                self._connect()

    def _take_subscriptions(self, now_ms: float) -> None:
        if self.node.difference is not None:
            self._bus.receive_subscriptions()  # nothing is published any more
            return
        for subscribe, topic in self._bus.receive_subscriptions():
            self.events.on_subscription(subscribe, topic, int(now_ms), self.node.age_ms)
        self.node.want_applied = self.events.wants_learned or self._wants_applied

    # -- effects

    def _act(self) -> None:
        """Do what follows from the input so far."""
        node = self.node
        ready = node.ready()
        self.authority.use(self.machine.rights)
        header = self._bus.inbox.header
        header.log_mark = self.wal.mark
        elsewhere = node.membership is not self._membership
        if elsewhere or not header.genesis or header.genesis != node.genesis:
            self._update_header()
        self._perform(ready)
        if elsewhere:
            if self._observer is not None:
                self._observer.members_changed()
            self._use_membership()
            self.events.publish_members(self._membership.epoch)

    def _perform(self, ready: Ready) -> None:
        """Do what the core asks for, in the order of Ready: persist, send, publish, answer."""
        bus = self._bus
        if self._observer is not None:
            self._observer.done(ready)
        if ready.persist:
            self.commits.append(ready.persist, ready.ticket)
        for to, message in ready.sends:
            if not bus.send(to, message):
                self.node.unsent(to, message)
                if self._observer is not None:
                    self._observer.unsent(to, message)
        for accepted in ready.publishes:
            bus.publish_accepted(accepted)
        for slot, ballot, value, _ in ready.applied:
            self.events.publish_learned(slot, ballot, value)
        if self.machine.recent_changes:
            self.events.flush()
        for token, answer in ready.replies:
            self.service.reply(token, answer)
        for serve in ready.serves:
            self.log_source.serve(serve)
        if ready.notices or ready.traces:
            self._log_notices(ready)

    def _log_notices(self, ready: Ready) -> None:
        for event, level, fields in ready.notices:
            getattr(self.log, level)(event, **fields)
        for event, fields in ready.traces:
            self.log.debug(event, **fields)

    # -- snapshots

    def _install(self, slot: Slot, machine: Machine, done: Callable[[bool], None]) -> None:
        """Go on from a snapshot that is durable: first the log says so, durably, then the state
        machine, the publisher and the node jump to it. ``done(behind)``: whether it was needed."""
        if self.wal.commit >= slot:
            done(False)
            return
        self.wal.install(slot)
        self.commits.when_durable(lambda: self._jump(slot, machine, done))

    def _jump(self, slot: Slot, machine: Machine, done: Callable[[bool], None]) -> None:
        behind = self.machine.applied < slot
        if behind:
            self.events.flush()
            self.machine.adopt(machine)
            self.events.jumped()  # before the install applies what is chosen above the snapshot
            if self._observer is not None:
                self._observer.installed(slot)
            self.node.install(slot)
        done(behind)
