"""Messages of peers, from their arrival to the node: the one way in, for sockets and simulator
alike.

    take() ──► fault verdict ──┬── dropped
                               ├── held back ── release(), once it is due ──┐
                               └── now, perhaps several times ──────────────┤
                                                                            ▼
               answer() to one that is not heard ◄── admission of the sender's run
               refused(), with the reason        ◄──┤   (``storage/peer_runs.py``)
                                                    └──► handed on, under the run id that it is
                                                         to be heard as (0: it may only learn)

No sockets and no clock here: a bus decodes, gives the time, and sends the answers. Faults act
before the admission, and what they held back is admitted or refused when it is due: by then its
sender may have started again, or may not be a peer any more.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Any, NamedTuple

from paxosd.bus.refusal_log import RefusalLog
from paxosd.core.messages import Envelope, Hello, PeerMessage
from paxosd.core.run_id import boot_count_of
from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultPlan
from paxosd.storage.peer_runs import PeerRuns
from paxosd.wire import PEER_KIND_NAMES

STRANGERS_MAX = 16
HELD_MAX = 10_000
HELD_BYTES_MAX = 64 << 20

UNKNOWN_SENDER = "unknown_sender"
OWN_NAME = "own_name"
STALE = "stale_run"
OLD_VERSION = "version"
GENESIS = "genesis"
DOUBLED = "doubled"
UNWRITTEN = "unwritten"
"""A new start that would be heard, if this node could write that down on its disk."""
WAITS = "waits"
"""A new start says Hello: it is heard once it repeats the challenge, unless another process with
its name is there."""

Source = Any
"""Where a message came from, in whatever form the bus has it."""


_BY_SENDER = {
    GENESIS: "bus.other_genesis",
    DOUBLED: "bus.doubled",
    UNWRITTEN: "storage.run_unwritten",
}
"""Reason → the event that reports it, by the name of the sender."""


class Refusal(NamedTuple):
    """A message that is not handed on, and why not. ``known``: the run id known of its sender."""

    message: Envelope
    reason: str
    detail: str
    known: int = 0


Refused = Callable[[Refusal, Source, float], object]


def keep_as_is(source: Source) -> tuple[int, Source]:
    """For a bus whose messages need no room, and whose sources may be kept as they are."""
    return 0, source


class Header:
    """What a node's envelopes say of it, besides its name and run id; see Envelope."""

    __slots__ = ("epoch", "genesis", "log_mark")

    def __init__(self) -> None:
        self.genesis = 0
        self.epoch = 0
        self.log_mark = 0

    @property
    def speaks_old(self) -> bool:
        """Whether frames in the form from before the founding records are heard, and sent to peers
        that have not shown the new form: as long as this node's cluster has no such record."""
        return not self.genesis


class Inbox:
    """The messages of all peers of one node, during one run of it."""

    __slots__ = (
        "_answer",
        "_held_bytes",
        "_held_order",
        "_keep",
        "_node",
        "_plan",
        "_refused",
        "_sources",
        "counters",
        "genesis_heard",
        "header",
        "held",
        "new_speakers",
        "newest_epoch",
        "peer_runs",
        "strangers",
    )  # fmt: skip

    def __init__(
        self,
        node: NodeId,
        plan: FaultPlan,
        peer_runs: PeerRuns,
        *,
        answer: Callable[[NodeId, PeerMessage], object],
        refused: Refused,
        header: Header | None = None,
        new_speakers: set[NodeId] | None = None,
        counters: Counter[str] | None = None,
        keep: Callable[[Source], tuple[int, Source]] = keep_as_is,
    ) -> None:
        """``answer(peer, message)`` is called to send; ``refused(refusal, source, now_ms)`` to
        report. ``keep``: the bytes of a message that is to be held back, and its source in a form
        that may be kept. ``header`` and ``new_speakers``: shared with the sender of messages, which
        reads them. ``counters``: where to count (``fault.delayed``, ``refused.REASON``)."""
        self.peer_runs = peer_runs
        """Which run of each peer is heard."""
        self.header = header if header is not None else Header()
        """What this node says of itself."""
        self.newest_epoch = 0
        """The highest epoch of the membership in any envelope of this cluster."""
        self.genesis_heard = 0
        """The founding record's hash in a peer's envelope, while this node knows none."""
        self.new_speakers = new_speakers if new_speakers is not None else set()
        """The peers that sent a frame of the present version, while the old one is heard, too."""
        self.strangers: list[Envelope] = []
        """The last few messages with this cluster's id whose senders are no peers, or have another
        founding record. The reader empties it."""
        self._sources: dict[NodeId, Source] = {}
        """Where each peer's present run said Hello from."""
        self.counters: Counter[str] = counters if counters is not None else Counter()
        self._node = node
        self._plan = plan
        self._answer = answer
        self._refused = refused
        self._keep = keep
        self.held: list[tuple[float, int, int, Envelope, Source]] = []
        """A heap: what faults hold back, for :meth:`release`."""
        self._held_bytes = 0
        self._held_order = 0

    # -- who the peers are

    def set_peers(self, names: Mapping[NodeId, object], pins: Mapping[NodeId, int]) -> None:
        """Set who the peers are from now on, without this node, and which data directory may vote
        in each one's name (see :meth:`PeerRuns.set_peers`; missing: not pinned)."""
        self.peer_runs.set_peers({name: pins.get(name, 0) for name in names})

    # -- what comes

    def take(self, message: Envelope, source: Source, taken: list[Envelope], now_ms: float) -> None:
        """A message has come: what may be heard now goes to the end of ``taken``."""
        genesis = self.header.genesis
        if message.genesis == genesis and genesis and not self._plan.messages_active:
            # Nearly every message: of the run that is heard, with nothing to answer or report.
            run_id = message.run_id
            if self.peer_runs.goes_on(
                message.sender, run_id, message.body, message.log_mark, now_ms
            ):
                self.newest_epoch = max(self.newest_epoch, message.epoch)
                taken.append(message)
                return
        copies = 1
        if self._plan.messages_active and message.sender in self.peer_runs:
            copies = self._through_faults(message, source, now_ms)  # the rules are about peers
        if copies:
            self._admit(message, copies, source, taken, now_ms)

    def _fits(self, message: Envelope, source: Source, now_ms: float) -> bool:
        """Whether a message without this node's founding record, or of the old version of the
        wire, may go on to admission."""
        header = self.header
        if message.version == 1:
            if header.speaks_old:
                return True
            words = (
                "a frame of wire version 1: its sender began with an empty directory and has yet "
                "to learn of this cluster's founding, or is of a version to upgrade"
            )
            refusal = Refusal(message, OLD_VERSION, words)
        elif message.genesis and header.genesis:
            self._note_stranger(message)
            refusal = Refusal(
                message,
                GENESIS,
                f"{message.sender} runs a cluster of this id that was founded at another time "
                f"(record {message.genesis:016x}, here {header.genesis:016x})",
            )
        else:
            return True
        self.counters[f"refused.{refusal.reason}"] += 1
        self._refused(refusal, source, now_ms)
        return False

    def _note_stranger(self, message: Envelope) -> None:
        if len(self.strangers) < STRANGERS_MAX:
            self.strangers.append(message)

    def release(self, taken: list[Envelope], now_ms: float) -> None:
        """Messages that were held back for long enough have come now."""
        while self.held and self.held[0][0] <= now_ms:
            _, _, size, message, source = heappop(self.held)
            self._held_bytes -= size
            self._admit(message, 1, source, taken, now_ms, held=True)

    def next_due_ms(self) -> float | None:
        """When the next message that is held back is due."""
        return self.held[0][0] if self.held else None

    def clear(self) -> None:
        """Drop what is held back."""
        self.held.clear()
        self._held_bytes = 0

    # -- one after the other

    def _through_faults(self, message: Envelope, source: Source, now_ms: float) -> int:
        """How many copies of this message arrive now, by the fault rules: none if it is dropped or
        held back, more than one if it is duplicated."""
        drop, delay_ms, copies, copies_delay_ms = self._plan.on_message(
            message.sender, self._node, PEER_KIND_NAMES[type(message.body)], now_ms
        )
        if drop:
            self.counters["fault.dropped"] += 1
            return 0
        arriving = 1
        if delay_ms:
            self.counters["fault.delayed"] += 1
            self._hold(message, source, now_ms + delay_ms)
            arriving = 0
        if copies:
            self.counters["fault.duplicated"] += copies
            copies_delay_ms += delay_ms
            if not copies_delay_ms:
                return arriving + copies
            for _ in range(copies):
                self._hold(message, source, now_ms + copies_delay_ms)
        return arriving

    def _hold(self, message: Envelope, source: Source, due_ms: float) -> None:
        size, kept = self._keep(source)
        if len(self.held) >= HELD_MAX or self._held_bytes + size > HELD_BYTES_MAX:
            self.counters["fault.held_overflow"] += 1
            return
        self._held_order += 1
        # A tie is broken by the order of arrival, so messages are never compared.
        heappush(self.held, (due_ms, self._held_order, size, message, kept))
        self._held_bytes += size

    def _admit(
        self,
        message: Envelope,
        copies: int,
        source: Source,
        taken: list[Envelope],
        now_ms: float,
        held: bool = False,
    ) -> None:
        """Hand a message on under the run id that it is to be heard as, unless it is refused.
        ``held``: its source is in the form that may be kept. What a frame says is judged only
        here, after the faults and when the message is due."""
        sender, run_id, body = message.sender, message.run_id, message.body
        header = self.header
        if message.genesis != header.genesis or not header.genesis:
            if not self._fits(message, source, now_ms):
                return
            if message.version > 1 and sender in self.peer_runs:
                self.new_speakers.add(sender)
        self.newest_epoch = max(self.newest_epoch, message.epoch)
        heard = self.peer_runs.admit(
            sender, run_id, body, message.log_mark, now_ms, old=message.version == 1
        )
        if heard > 0:
            if type(body) is Hello:
                self._sources[sender] = source if held else self._keep(source)[1]
        else:
            if heard < 0:
                self._refuse(message, source, now_ms)
            answer = self.peer_runs.answer(sender, run_id, body)
            if answer is not None:
                self._answer(sender, answer)
            if heard < 0:
                return
        if message.genesis and not header.genesis:
            self.genesis_heard = message.genesis
        if heard != run_id:
            message = message._replace(run_id=heard)
        taken.append(message)
        for _ in range(copies - 1):
            taken.append(message)

    def _refuse(self, message: Envelope, source: Source, now_ms: float) -> None:
        refusal = self._refusal(message)
        if refusal.reason == UNKNOWN_SENDER:
            self._note_stranger(message)
        self.counters[f"refused.{refusal.reason}"] += 1
        self._refused(refusal, source, now_ms)

    def closed(self, name: NodeId) -> None:
        """The connection to a peer broke: it may come back as another run, or as another program
        that speaks an older version."""
        self.peer_runs.closed(name)
        self.new_speakers.discard(name)

    def _refusal(self, message: Envelope) -> Refusal:
        sender = message.sender
        if sender not in self.peer_runs:  # it may have been one when a fault held this back
            reason = OWN_NAME if sender == self._node else UNKNOWN_SENDER
            return Refusal(message, reason, f'the sender calls itself "{sender}": it is no peer')
        known = self.peer_runs.known(sender)
        if self.peer_runs.is_second(message):
            return Refusal(
                message,
                DOUBLED,
                f"a second process calls itself {sender}, out of a copy of its data directory; the "
                f"one that said Hello from {self._sources.get(sender, 'an unknown address')} goes "
                "on: stop the other and empty its data directory",
                known,
            )
        if sender in self.peer_runs.unwritten and message.run_id != known:
            return Refusal(
                message,
                UNWRITTEN,
                f"{sender} has started anew, and this node cannot write that down in its data "
                f"directory: {self.peer_runs.unwritten[sender]}. {sender} is not heard here before "
                "that is done: free some space, or check this node's disk",
                known,
            )
        if self.peer_runs.is_waiting(message):
            return Refusal(message, WAITS, f"{sender} has started anew", known)
        detail = f"{sender} was wiped or rolled back, or this is a replay"
        if known in (0, message.run_id):
            detail = (
                f"{sender} is not heard before it has said Hello out of the directory that votes"
            )
        return Refusal(message, STALE, detail, known)


InboxKind = Callable[..., Inbox]
"""Makes an inbox: Inbox itself, or what records one (``paxosd/trace``)."""


def log_refusal(log: RefusalLog, refusal: Refusal, address: str, now_ms: float) -> None:
    """Report a refusal in a log. ``address``: where the message came from."""
    message, reason, detail, known = refusal
    if reason == WAITS:
        return
    if reason in _BY_SENDER:
        # Loud, and by the sender: its address may be one that others share.
        event = _BY_SENDER[reason]
        log.note(event, message.sender, reason, int(now_ms), detail=detail, address=address)
        return
    if reason != STALE:
        log.note("bus.refused", address, reason, int(now_ms), detail=detail)
        return
    log.note(
        "bus.stale_run",
        message.sender,
        reason,
        int(now_ms),
        detail=detail,
        address=address,
        sender_boot_count=boot_count_of(message.run_id),
        highest_boot_count=boot_count_of(known),
    )
