"""The bus of a lesson's member: what a replica hears and says, over wires that a script controls.

client ── Write, Read ──► requests ─┐             ┌─► Answer ──► client
peers ── envelopes ──► the inbox ───┴─► Replica ──┴─► envelopes ──► peers
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from paxosd.bus import inbox
from paxosd.bus.inbox import Inbox
from paxosd.core.commands import Entry
from paxosd.core.effects import Applied, Refusal, WriteReply
from paxosd.core.events import LearnedEvent
from paxosd.core.messages import Accepted, Envelope, PeerMessage
from paxosd.core.requests import (
    GET,
    LINEARIZABLE,
    ClientMessage,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
    ServerMessage,
    WriteAnswer,
    WriteRequest,
)
from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultPlan
from paxosd.sim.teach.happenings import Recorder
from paxosd.sim.teach.wires import Wires
from paxosd.storage.peer_runs import PeerRuns
from paxosd.wire import encode_entry
from paxosd.wire.events import TOPIC_LEARNED, decode_event


class Write(NamedTuple):
    """A client's request to a node."""

    token: int
    entry: Entry


class Read(NamedTuple):
    """A client's linearizable read of one key."""

    token: int
    key: bytes


class Answer(NamedTuple):
    """A node's reply to a client: the outcome of a write, the value read, or a refusal."""

    token: int
    request: Write | Read
    reply: WriteReply | Refusal | bytes | None


class MemberBus:
    """One life of one member on the wires; has :class:`paxosd.replica.ports.ReplicaBus`. The
    narrator subscribes to what the member learns."""

    def __init__(
        self, name: NodeId, run_id: int, peer_runs: PeerRuns, wires: Wires, recorder: Recorder
    ) -> None:
        self.inbox = Inbox(name, FaultPlan(), peer_runs, answer=self.send, refused=self._on_refused)
        self.relay = NoLink()
        self._name = name
        self._run_id = run_id
        self._wires = wires
        self._recorder = recorder
        self._peers: list[NodeId] = []
        self._arrived: list[Envelope] = []
        self._requests: list[tuple[bytes, ClientMessage]] = []
        self._asked: dict[int, Write | Read] = {}
        self._subscriptions = [(True, TOPIC_LEARNED)]

    # -- from the wires

    def arrive(self, envelope: Envelope) -> None:
        """A peer's message has come."""
        self._arrived.append(envelope)

    def arrive_request(self, client: str, request: Write | Read) -> None:
        """A client's request has come."""
        self._asked[request.token] = request
        message: ClientMessage
        if isinstance(request, Write):
            message = WriteRequest(request.token, encode_entry(request.entry))
        else:
            message = ReadRequest(request.token, LINEARIZABLE, [[GET, request.key]])
        self._requests.append((client.encode(), message))

    # -- what the replica hears

    def receive_peers(self, limit: int) -> list[Envelope]:
        heard: list[Envelope] = []
        arrived, self._arrived = self._arrived, []
        for envelope in arrived:
            before = len(heard)
            self.inbox.take(envelope, envelope.sender, heard, self._recorder.now_ms)
            if len(heard) > before:
                self._recorder.note("deliver", envelope.sender, self._name, envelope.body)
        return heard

    def receive_clients(self, limit: int) -> list[tuple[bytes, ClientMessage]]:
        requests, self._requests = self._requests, []
        return requests

    @property
    def has_subscriptions(self) -> bool:
        return bool(self._subscriptions)

    def receive_subscriptions(self) -> list[tuple[bool, bytes]]:
        wishes, self._subscriptions = self._subscriptions, []
        return wishes

    def disconnected(self) -> list[NodeId]:
        """Connections of a lesson do not break."""
        return []

    @property
    def event_bytes_waiting(self) -> int:
        """The narrator reads everything at once."""
        return 0

    def set_peers(self, peers: Mapping[NodeId, Any], pins: Mapping[NodeId, int]) -> None:
        self._peers = list(peers)
        self.inbox.set_peers(peers, pins)

    # -- what it says

    def send(self, to: NodeId, message: PeerMessage) -> bool:
        header = self.inbox.header
        envelope = Envelope(
            self._name, self._run_id, message, header.genesis, header.epoch, header.log_mark
        )
        self._wires.send(self._name, to, message, envelope)
        return True

    def publish_accepted(self, message: Accepted) -> None:
        for peer in self._peers:
            self.send(peer, message)
        self._recorder.note("published", self._name, body=message)

    def publish(self, topic: bytes, payload: bytes) -> None:
        event = decode_event(topic, payload)[1]
        if isinstance(event, LearnedEvent):
            applied = Applied(event.slot, event.ballot, event.value, None)
            self._recorder.note("applied", self._name, body=applied)

    def answer(self, client: bytes, message: ServerMessage) -> bool:
        request = self._asked.pop(message.request_id)
        reply: WriteReply | Refusal | bytes | None
        if isinstance(message, WriteAnswer):
            reply = WriteReply(message.slot, message.results)
        elif isinstance(message, RefusalAnswer):
            reply = Refusal(message.code, message.message, message.leader)
        else:
            assert isinstance(message, ReadAnswer)
            (found,) = message.results
            reply = None if found is None else found.value
        self._wires.send(self._name, client.decode(), Answer(message.request_id, request, reply))
        return True

    def _on_refused(self, refusal: inbox.Refusal, source: NodeId, now_ms: float) -> None:
        message = refusal.message
        self._recorder.note(
            "stale", message.sender, self._name, message.body, reason=refusal.reason
        )


class NoLink:
    """In place of the connection on which writes are passed on: a lesson's clients ask the leader
    themselves. Has :class:`paxosd.replica.forwarding.Link`."""

    def aim(self, endpoint: str) -> None: ...

    def send(self, message: WriteRequest) -> bool:
        return False

    def receive(self, limit: int) -> list[ServerMessage]:
        return []

    def take_lost(self) -> bool:
        return False
