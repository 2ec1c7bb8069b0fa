"""The bus of a lesson's member: what a replica hears and says, over wires that a script controls.

client ── Write, Read ──► requests ─┐             ┌─► Answer ──► client
peers ── envelopes ──► the inbox ───┴─► Replica ──┴─► envelopes ──► peers
"""

from typing import NamedTuple, cast

from paxosd.bus.inbox import Refusal as Stale
from paxosd.bus.inbox import Source
from paxosd.core.commands import Entry
from paxosd.core.effects import Applied, Refusal, WriteReply
from paxosd.core.events import LearnedEvent
from paxosd.core.messages import Accepted, Envelope
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
from paxosd.sim.world.bus import SimBus
from paxosd.sim.world.network import Network
from paxosd.sim.world.trace import TraceLog
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


class WiredNetwork:
    """The wires in the place of the simulator's network: what a bus sends to peers goes there."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires

    def send(self, envelope: Envelope, to: NodeId) -> None:
        self._wires.send(envelope.sender, to, envelope)


class MemberBus(SimBus):
    """The bus of one run of a member. The narrator subscribes to what the member learns."""

    def __init__(
        self, name: NodeId, run_id: int, peer_runs: PeerRuns, wires: Wires, recorder: Recorder
    ) -> None:
        super().__init__(
            name,
            run_id,
            (),
            cast(Network, WiredNetwork(wires)),  # no more of it is used
            FaultPlan(),
            peer_runs=peer_runs,
            now_ms=lambda: recorder.now_ms,
            effect=lambda what: None,
            wake=lambda: None,
            log=TraceLog(None, ""),
        )
        self.subscriptions.append((True, TOPIC_LEARNED))
        self._wires = wires
        self._recorder = recorder
        self._asked: dict[int, Write | Read] = {}

    def take_request(self, client: str, request: Write | Read) -> None:
        """A client's request has come."""
        self._asked[request.token] = request
        message: ClientMessage
        if isinstance(request, Write):
            message = WriteRequest(request.token, encode_entry(request.entry))
        else:
            message = ReadRequest(request.token, LINEARIZABLE, [[GET, request.key]])
        self.arrive_request(client.encode(), message)

    def receive_peers(self, limit: int) -> list[Envelope]:
        heard = super().receive_peers(limit)
        for envelope in heard:
            self._recorder.note("deliver", envelope.sender, self._name, envelope.body)
        return heard

    def publish_accepted(self, message: Accepted) -> None:
        super().publish_accepted(message)
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

    def _on_refused(self, refusal: Stale, source: Source, now_ms: float) -> None:
        message = refusal.message
        self._recorder.note(
            "stale", message.sender, self._name, message.body, reason=refusal.reason
        )
