"""The surroundings of a node in a replay: ports that give what the trace has, and compare.

The counterpart of ``recording.py``, class by class: each asks the feed at the places where the
recording noted something.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paxosd.bus.inbox import Inbox, Refused
from paxosd.core.messages import Accepted, Envelope, PeerMessage
from paxosd.core.requests import ClientRequest, ServerMessage, VouchedRequest, WriteRequest
from paxosd.core.state.snapshot_head import SnapshotError
from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultPlan, Verdict
from paxosd.replica.deferred_answers import DeferredJob
from paxosd.replica.forwarding import Link
from paxosd.snapshot.jobs import Job
from paxosd.storage.disk import Disk, StorageError
from paxosd.storage.peer_runs import PeerRuns
from paxosd.storage.wal import SyncJob
from paxosd.storage.wal_segments import SegmentDropper, SegmentPreparer
from paxosd.trace import operations as op
from paxosd.trace.encoding import Operators, crc_of, decode_number
from paxosd.trace.feed import Feed
from paxosd.wire import decode_answer, decode_peer, decode_request


class ReplayedRandom(random.Random):
    """The draws of the node's own generator."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(0)
        self._feed = feed

    def random(self) -> float:
        if self._feed.live is not None:
            return self._feed.live.rng.random()
        return float(self._feed.take(op.DRAW)[1])

    def getrandbits(self, k: int) -> int:
        if self._feed.live is not None:
            return self._feed.live.rng.getrandbits(k)
        return int(decode_number(self._feed.take(op.DRAW)[1]))


class ReplayedDropper(SegmentDropper):
    """Old segments are gone when they were."""

    def __init__(self, disk: Disk, preparer: SegmentPreparer, feed: Feed) -> None:
        super().__init__(disk, preparer, ahead=False)
        self._feed = feed

    @property
    def idle(self) -> bool:
        if self._feed.live is not None:
            return super().idle
        return bool(self._feed.take(op.DROPPER_IDLE)[1])

    def collect(self) -> list[int]:
        gone = super().collect()
        if self._feed.live is not None:
            return gone
        dropped = self._feed.take_if(op.DROPPED)
        return [] if dropped is None else list(dropped[1])


class _Verdicts:
    """What faults did to messages: a plan, as far as an inbox reads one."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.messages_active = False

    def on_message(self, *_: Any) -> Verdict:
        return Verdict(*self._feed.take(op.VERDICT)[1:])


class ReplayedLink:
    """The connection on which writes are passed on. A node that goes on has none."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def aim(self, endpoint: str, node: str = "") -> None:
        if self._feed.live is None:
            self._feed.did_output((op.AIM, endpoint))

    def send(self, message: WriteRequest | VouchedRequest) -> bool:
        if self._feed.live is not None:
            return False
        self._feed.did_output((op.PASS_ON, message))
        return self._feed.take_if(op.REFUSED) is None

    def receive(self, limit: int) -> list[ServerMessage]:
        if self._feed.live is not None:
            return []
        answers = self._feed.take_if(op.RELAYED)
        return [] if answers is None else [decode_answer(frame, "") for frame in answers[1]]

    def take_lost(self) -> bool:
        return self._feed.live is None and self._feed.take_if(op.RELAY_LOST) is not None


class ReplayedInbox(Inbox):
    """The inbox of a replay, which may go on with another bus."""

    __slots__ = ()

    def go_live(
        self, plan: FaultPlan, answer: Callable[[NodeId, PeerMessage], object], refused: Refused
    ) -> "ReplayedInbox":
        """From now on messages meet these faults."""
        self._plan, self._answer, self._refused = plan, answer, refused
        return self


class ReplayedBus:
    """The bus of a replay, with the inbox that the node really has; see :class:`ReplicaBus`."""

    def __init__(self, feed: Feed, node: NodeId, peer_runs: PeerRuns) -> None:
        self._feed = feed
        self._verdicts = _Verdicts(feed)
        plan: Any = self._verdicts
        self.peers: list[NodeId] = []
        """Who they are by now."""
        self.own_inbox = ReplayedInbox(
            node, plan, peer_runs, answer=self._answer_peer, refused=lambda *refusal: None
        )
        self.inbox: Inbox = self.own_inbox
        self.relay: Link = ReplayedLink(feed)
        self._operators = Operators()
        self.messages = 0
        """How many came from peers so far, and requests of clients."""

    def set_peers(self, peers: Mapping[NodeId, Any], pins: Mapping[NodeId, int]) -> None:
        self.peers = list(peers)
        if self._feed.live is not None:
            self._feed.live.bus.set_peers(peers, pins)
            return
        self.inbox.set_peers(peers, pins)
        self._hear_closed()

    def _hear_closed(self) -> None:
        while (closed := self._feed.take_if(op.CLOSED)) is not None:
            self.inbox.closed(closed[1])

    def _answer_peer(self, to: NodeId, message: PeerMessage) -> None:
        self._feed.did_output((op.SEND, to, message))

    @property
    def has_subscriptions(self) -> bool:
        if self._feed.live is not None:
            return self._feed.live.bus.has_subscriptions
        return self._feed.take_if(op.SUBSCRIBED) is not None

    @property
    def event_bytes_waiting(self) -> int:
        if self._feed.live is not None:
            return self._feed.live.bus.event_bytes_waiting
        return int(self._feed.take(op.WAITING)[1])

    def receive_peers(self, limit: int) -> list[Envelope]:
        if self._feed.live is not None:
            return self._feed.live.bus.receive_peers(limit)
        received: list[Envelope] = []
        feed = self._feed
        while feed.peek() in (op.PEER, op.RELEASE, op.CLOSED):
            if (message := feed.take_if(op.PEER)) is not None:
                _, frame, self._verdicts.messages_active, now_ms = message
                envelope = decode_peer(frame, "")
                self.messages += 1
                self.inbox.take(envelope, envelope.sender, received, now_ms)
            elif (release := feed.take_if(op.RELEASE)) is not None:
                self.inbox.release(received, release[1])
            else:
                self._hear_closed()
        feed.take_if(op.RECEIVED)
        return received

    def receive_clients(self, limit: int) -> list[ClientRequest]:
        if self._feed.live is not None:
            return self._feed.live.bus.receive_clients(limit)
        requests = self._feed.take_if(op.REQUESTS)
        if requests is None:
            return []
        self.messages += len(requests[1])
        taken = [
            (client, decode_request(frame, ""), key[0] if key else b"")
            for client, frame, *key in requests[1]
        ]
        self._operators.note(taken)
        return taken

    def receive_subscriptions(self) -> list[tuple[bool, bytes]]:
        if self._feed.live is not None:
            return self._feed.live.bus.receive_subscriptions()
        return [(wish, topic) for wish, topic in self._feed.take(op.SUBSCRIPTIONS)[1]]

    def disconnected(self) -> list[NodeId]:
        if self._feed.live is not None:
            return self._feed.live.bus.disconnected()
        self._hear_closed()
        lost = self._feed.take_if(op.LOST)
        return [] if lost is None else list(lost[1])

    def send(self, to: NodeId, message: PeerMessage) -> bool:
        if self._feed.live is not None:
            return self._feed.live.bus.send(to, message)
        self._feed.did_output((op.SEND, to, message))
        return self._feed.take_if(op.REFUSED) is None

    def publish_accepted(self, message: Accepted) -> None:
        if self._feed.live is not None:
            return self._feed.live.bus.publish_accepted(message)
        self._feed.did_output((op.VOTE, message))

    def publish(self, topic: bytes, payload: bytes) -> None:
        if self._feed.live is not None:
            return self._feed.live.bus.publish(topic, payload)
        self._feed.did_output((op.PUBLISH, topic, payload))

    def answer(self, client: bytes, message: ServerMessage) -> bool:
        if self._feed.live is not None:
            return self._feed.live.bus.answer(client, message)
        self._feed.did_output(self._operators.answer(client, message))
        return self._feed.take_if(op.REFUSED) is None


class NoProbes:
    """What the machine reaches is of no matter in a replay."""

    def ask(self, endpoints: Sequence[str]) -> dict[str, Any]:
        return {}


class NoFiles:
    """What is in the files that a node hands out is of no matter either."""

    def listed(self) -> dict[str, Any]:
        return {}

    def read(self, name: str, offset: int, count: int) -> dict[str, Any]:
        return {}


class ReplayedFileHelper:
    """Requests for files: each is answered in the turn in which it was."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._job: DeferredJob | None = None

    def start(self, job: DeferredJob) -> None:
        self._job = job

    def finished(self) -> list[DeferredJob]:
        job = self._job
        assert job is not None
        answer = op.OPERATOR, job.client, job.deferred.request_id
        if self._feed.live is None and not self._feed.awaits(answer):
            return []
        self._job = None
        return [job]


class ReplayedCommitter:
    """Group commits: each is carried out when it begins, and reported when it was."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._job: SyncJob | None = None

    def start(self, job: SyncJob, *, may_block: bool) -> bool:
        if self._feed.live is not None:
            return self._feed.live.committer.start(job, may_block=may_block)
        crc = crc_of(job.buffers)
        self._feed.did_output((op.APPEND, job.header.number, job.offset, job.end, crc))
        self._fail()
        job.run()
        self._job = job
        return self._feed.take_if(op.AT_ONCE) is not None

    def finished(self) -> list[SyncJob]:
        if self._feed.live is not None:
            return self._taken() or self._feed.live.committer.finished()
        self._fail()
        synced = self._feed.take_if(op.SYNCED)
        if synced is None:
            return []
        (job,) = self._taken()
        job.duration_us = synced[1][0]
        return [job]

    def _taken(self) -> list[SyncJob]:
        """The job under way, which has ended; empty: there is none."""
        job, self._job = self._job, None
        return [job] if job is not None else []

    def _fail(self) -> None:
        failed = self._feed.take_if(op.FAILED)
        if failed is not None:
            raise StorageError(failed[1])


class ReplayedHelper:
    """Jobs on files: each is carried out when it begins, and reported when it was."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._job: Job | None = None

    def start(self, job: Job) -> None:
        if self._feed.live is not None:
            self._feed.live.helper.start(job)
            return
        job.run()
        self._job = job

    def finished(self) -> list[Job]:
        if self._feed.live is not None:
            job, self._job = self._job, None
            return [job] if job is not None else self._feed.live.helper.finished()
        helped = self._feed.take_if(op.HELPED)
        if helped is None:
            return []
        job, self._job = self._job, None
        assert job is not None
        words = helped[1][0]
        if bool(words) != bool(job.error):
            kind, _, why = words.partition(": ")
            job.error = SnapshotError(why) if kind == "SnapshotError" else OSError(5, why)
            job.error = job.error if words else None
        return [job]
