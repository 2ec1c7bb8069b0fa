"""Recording a node: each port through which it reaches the world, with an ear at it.

    equip()   clocks, random numbers, disk of the assembly   ┐
    inbox()   messages, as they come, and what faults do     ├──► operations of the turn ──► sink
    ports()   bus, committer, helper, watchers               ┘

All that the loop does for it is to append to a list, and once a turn to hand that list on: to
encode and to write it is the work of whoever empties the sink. Messages are immutable, so that may
be a thread. A node that is not traced has none of these objects: it costs nothing then.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from paxosd.bus.inbox import Header, Inbox, Refused, Source, keep_as_is
from paxosd.core.messages import Accepted, Envelope, PeerMessage
from paxosd.core.requests import ClientRequest, ServerMessage, VouchedRequest, WriteRequest
from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultPlan
from paxosd.replica.assembly import Equipment
from paxosd.replica.forwarding import Link
from paxosd.replica.ports import Committer, Ports, ReplicaBus
from paxosd.replica.replica import Replica
from paxosd.snapshot.jobs import Helper, Job
from paxosd.storage.disk import Disk, DiskFile, Names, StorageError
from paxosd.storage.identity import Claim
from paxosd.storage.peer_runs import PeerRuns
from paxosd.storage.wal import SyncJob
from paxosd.storage.wal_segments import SegmentDropper, SegmentPreparer
from paxosd.trace import operations as op
from paxosd.trace.encoding import CALL, NODE_FAILED, START, TURN, Operators, crc_of

Sink = Callable[[tuple[Any, ...]], object]
"""Takes a record, whose operations hold objects."""


class TraceRecorder:
    """Records one run of one node. ``stopped``: nothing is handed on any more."""

    def __init__(self, sink: Sink, ended: Callable[[str, str], object]) -> None:
        """``ended(reason, words)``: the node ends by an error of its own."""
        self.operations: list[op.Operation] = []
        """Of the turn under way."""
        self.stopped = False
        self._sink = sink
        self._ended = ended

    # -- what the node is made with

    def equip(self, equipment: Equipment) -> Equipment:
        """The same equipment, recorded."""
        add = self.operations.append
        wal_options = equipment.wal_options

        def dropper(disk: Disk, preparer: SegmentPreparer, ahead: bool) -> SegmentDropper:
            return TracedDropper(disk, preparer, ahead, add)

        return replace(
            equipment,
            log_disk=lambda claim: self._disk(equipment.log_disk, claim),
            now_ms=_noted(add, op.NOW, equipment.now_ms),
            wall_ms=_noted(add, op.WALL, equipment.wall_ms),
            rng=TracedRandom(equipment.rng, add),
            wal_options=replace(
                wal_options,
                random_bytes=_noted_of(add, op.BYTES, wal_options.random_bytes),
                dropper=dropper,
            ),
            random_bits=_noted_of(add, op.BITS, equipment.random_bits),
            identity_bits=lambda: _noted_of(add, op.BITS, equipment.identity_bits()),
        )

    def _disk(self, log_disk: Callable[[Claim], Disk], claim: Claim) -> Disk:
        return TracedDisk(log_disk(claim), self.operations.append)

    def inbox(self, *args: Any, **named: Any) -> Inbox:
        """What the bus is to make in the place of an Inbox."""
        return TracedInbox(self.operations.append, *args, **named)

    def ports(self, ports: Ports) -> Ports:
        """The same ports, recorded."""
        add = self.operations.append
        read_now_ms = ports.read_now_ms or ports.precise_now_ms
        return replace(
            ports,
            bus=TracedBus(ports.bus, self.operations),
            committer=TracedCommitter(ports.committer, add),
            helper=TracedHelper(ports.helper, add),
            read_now_ms=_noted(add, op.NOW, read_now_ms) if read_now_ms is not None else None,
            status=self._aside(ports.status),
        )

    def _aside(self, action: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        """What is read for people alone is not recorded."""

        def act() -> dict[str, Any]:
            count = len(self.operations)
            result = action()
            del self.operations[count:]
            return result

        return act

    # -- the run

    def begin(self) -> None:
        """The node is assembled: the first turn is next."""
        self._sink((START, self._take()))

    def turn(self, replica: Replica, now_ms: float, wall_ms: int) -> None:
        """A turn of the replica, recorded once it is over. Raises what the turn raises."""
        try:
            replica.turn(now_ms, wall_ms)
        except Exception as error:
            if not self.stopped:
                self._hand_on(replica, now_ms, wall_ms)
                self._ended(NODE_FAILED, f"{type(error).__name__}: {error}")
            raise
        if self.stopped:
            self.operations.clear()
        else:
            self._hand_on(replica, now_ms, wall_ms)

    def _hand_on(self, replica: Replica, now_ms: float, wall_ms: int) -> None:
        node = replica.node
        self._sink((TURN, now_ms, wall_ms, self._take(), node.applied, node.leading))

    def call(self, code: int) -> None:
        """Something is asked of the node between two turns."""
        if not self.stopped:
            self._sink((CALL, (code,)))

    def _take(self) -> list[op.Operation]:
        taken = self.operations[:]
        self.operations.clear()
        return taken


Add = Callable[[op.Operation], object]


def _noted(add: Add, code: int, read: Callable[[], Any]) -> Callable[[], Any]:
    def noted() -> Any:
        value = read()
        add((code, value))
        return value

    return noted


def _noted_of(add: Add, code: int, read: Callable[[int], Any]) -> Callable[[int], Any]:
    def noted(count: int) -> Any:
        value = read(count)
        add((code, value))
        return value

    return noted


class TracedRandom(random.Random):
    """A generator that gives the numbers of another one, recorded. All other draws of the class
    are made of these two."""

    def __init__(self, source: random.Random, add: Add) -> None:
        super().__init__(0)
        self._source = source
        self._add = add

    def random(self) -> float:
        value = self._source.random()
        self._add((op.DRAW, value))
        return value

    def getrandbits(self, k: int) -> int:
        value = self._source.getrandbits(k)
        self._add((op.DRAW, value))
        return value


class TracedDisk:
    """A disk that is asked how much room it has. What fails on it ends the run, or a job."""

    def __init__(self, inner: Disk, add: Add) -> None:
        self._inner = inner
        self._add = add
        self.list: Callable[[], Names] = inner.list
        self.open: Callable[..., DiskFile] = inner.open
        self.rename = inner.rename
        self.link = inner.link
        self.unlink = inner.unlink
        self.sync_dir = inner.sync_dir
        self.exists = inner.exists

    def free_bytes(self) -> int:
        return self._free(self._inner.free_bytes)

    def free_files(self) -> int:
        return self._free(self._inner.free_files)

    def _free(self, read: Callable[[], int]) -> int:
        try:
            value = read()
        except OSError as error:
            self._add((op.FREE, -1, error.strerror or str(error)))
            raise
        self._add((op.FREE, value))
        return value


class TracedDropper(SegmentDropper):
    """When a helper thread is done with old segments decides what the log holds then."""

    def __init__(self, disk: Disk, preparer: SegmentPreparer, ahead: bool, add: Add) -> None:
        super().__init__(disk, preparer, ahead)
        self._add = add

    @property
    def idle(self) -> bool:
        idle = super().idle
        self._add((op.DROPPER_IDLE, idle))
        return idle

    def collect(self) -> list[int]:
        dropped = super().collect()
        if dropped:
            self._add((op.DROPPED, dropped))
        return dropped


class _Verdicts:
    """What of a fault plan an inbox reads, recorded."""

    def __init__(self, plan: FaultPlan, add: Add) -> None:
        self._plan = plan
        self._add = add

    @property
    def messages_active(self) -> bool:
        return self._plan.messages_active

    def on_message(self, sender: NodeId, receiver: NodeId, kind: str, now_ms: float) -> Any:
        verdict = self._plan.on_message(sender, receiver, kind, now_ms)
        self._add((op.VERDICT, *verdict))
        return verdict


class TracedInbox(Inbox):
    """An inbox that records what comes to it, before faults and admission."""

    __slots__ = ("_add", "_faults")

    def __init__(
        self,
        add: Add,
        node: NodeId,
        plan: FaultPlan,
        peer_runs: PeerRuns,
        *,
        answer: Callable[[NodeId, PeerMessage], object],
        refused: Refused,
        header: Header | None = None,
        new_speakers: set[NodeId] | None = None,
        counters: Any = None,
        keep: Callable[[Source], tuple[int, Source]] = keep_as_is,
    ) -> None:
        def noted_answer(to: NodeId, message: PeerMessage) -> object:
            add((op.SEND, to, message))
            return answer(to, message)

        verdicts: Any = _Verdicts(plan, add)
        super().__init__(
            node,
            verdicts,
            peer_runs,
            answer=noted_answer,
            refused=refused,
            header=header,
            new_speakers=new_speakers,
            counters=counters,
            keep=keep,
        )
        self._add = add
        self._faults = plan

    def take(self, message: Envelope, source: Source, taken: list[Envelope], now_ms: float) -> None:
        self._add((op.PEER, message, self._faults.messages_active, now_ms))
        super().take(message, source, taken, now_ms)

    def release(self, taken: list[Envelope], now_ms: float) -> None:
        if self.held:
            self._add((op.RELEASE, now_ms))
        super().release(taken, now_ms)

    def closed(self, name: NodeId) -> None:
        self._add((op.CLOSED, name))
        super().closed(name)


class TracedLink:
    """The connection on which writes are passed on."""

    def __init__(self, inner: Link, add: Add) -> None:
        self._inner = inner
        self._add = add

    def aim(self, endpoint: str, node: str = "") -> None:
        self._add((op.AIM, endpoint))
        self._inner.aim(endpoint, node)

    def send(self, message: WriteRequest | VouchedRequest) -> bool:
        self._add((op.PASS_ON, message))
        sent = self._inner.send(message)
        if not sent:
            self._add((op.REFUSED,))
        return sent

    def receive(self, limit: int) -> list[ServerMessage]:
        answers = self._inner.receive(limit)
        if answers:
            self._add((op.RELAYED, answers))
        return answers

    def take_lost(self) -> bool:
        lost = self._inner.take_lost()
        if lost:
            self._add((op.RELAY_LOST,))
        return lost


class TracedBus:
    """A bus that records what the replica hears and says; see :class:`ReplicaBus`."""

    def __init__(self, inner: ReplicaBus, operations: list[op.Operation]) -> None:
        self._inner = inner
        self._operations = operations
        self._add = operations.append
        self._operators = Operators()
        self.inbox = inner.inbox
        self.relay: Link = TracedLink(inner.relay, operations.append)
        self.set_peers: Callable[[Mapping[NodeId, Any], Mapping[NodeId, int]], None]
        self.set_peers = inner.set_peers

    @property
    def has_subscriptions(self) -> bool:
        some = self._inner.has_subscriptions
        if some:
            self._add((op.SUBSCRIBED,))
        return some

    @property
    def event_bytes_waiting(self) -> int:
        waiting = self._inner.event_bytes_waiting
        self._add((op.WAITING, waiting))
        return waiting

    def receive_peers(self, limit: int) -> list[Envelope]:
        count = len(self._operations)
        received = self._inner.receive_peers(limit)
        if len(self._operations) > count:
            self._add((op.RECEIVED,))
        return received

    def receive_clients(self, limit: int) -> list[ClientRequest]:
        requests = self._inner.receive_clients(limit)
        if requests:
            self._operators.note(requests)
            self._add((op.REQUESTS, requests))
        return requests

    def receive_subscriptions(self) -> list[tuple[bool, bytes]]:
        wishes = self._inner.receive_subscriptions()
        self._add((op.SUBSCRIPTIONS, wishes))
        return wishes

    def disconnected(self) -> list[NodeId]:
        names = self._inner.disconnected()
        if names:
            self._add((op.LOST, names))
        return names

    def send(self, to: NodeId, message: PeerMessage) -> bool:
        self._add((op.SEND, to, message))
        sent = self._inner.send(to, message)
        if not sent:
            self._add((op.REFUSED,))
        return sent

    def publish_accepted(self, message: Accepted) -> None:
        self._add((op.VOTE, message))
        self._inner.publish_accepted(message)

    def publish(self, topic: bytes, payload: bytes) -> None:
        self._add((op.PUBLISH, topic, payload))
        self._inner.publish(topic, payload)

    def answer(self, client: bytes, message: ServerMessage) -> bool:
        self._add(self._operators.answer(client, message))
        taken = self._inner.answer(client, message)
        if not taken:
            self._add((op.REFUSED,))
        return taken


class TracedCommitter:
    """When group commits end, and how long they took."""

    def __init__(self, inner: Committer, add: Add) -> None:
        self._inner = inner
        self._add = add

    def start(self, job: SyncJob, *, may_block: bool) -> bool:
        crc = crc_of(job.buffers)
        self._add((op.APPEND, job.header.number, job.offset, job.end, crc))
        try:
            ended = self._inner.start(job, may_block=may_block)
        except StorageError as error:
            self._add((op.FAILED, str(error)))
            raise
        if ended:
            self._add((op.AT_ONCE,))
        return ended

    def finished(self) -> list[SyncJob]:
        try:
            done = self._inner.finished()
        except StorageError as error:
            self._add((op.FAILED, str(error)))
            raise
        if done:
            self._add((op.SYNCED, [job.duration_us for job in done]))
        return done


class TracedHelper:
    """When jobs on files end, and with which error."""

    def __init__(self, inner: Helper, add: Add) -> None:
        self._inner = inner
        self._add = add

    def start(self, job: Job) -> None:
        self._inner.start(job)

    def finished(self) -> list[Job]:
        done = self._inner.finished()
        if done:
            words = [
                f"{type(job.error).__name__}: {job.error}" if job.error else "" for job in done
            ]
            self._add((op.HELPED, words))
        return done
