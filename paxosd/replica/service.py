"""What the daemon does with a client's request, and with what the core answers to it.

    frame → WriteRequest   → limits checked → node.submit ──► WriteReply | Refusal → answer
            ForwardRequest → the same, or another node leads: forwarding
            ReadRequest    → node.read (or at once, if stale) ──► ReadReady → machine.query
            HistoryRequest → history            AdminRequest → admin

Pages of scans and of history are answered at the end of a turn (``bulk_pace.py``).

Nothing is proposed before every limit was checked. An error in a request is reported to its sender
only, in words.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from paxosd.core.admin_verbs import ADMIN_VERBS
from paxosd.core.cluster_settings import LEVEL_COORDINATION
from paxosd.core.commands import Entry
from paxosd.core.effects import (
    BUSY,
    COMPACTED,
    DIVERGED,
    INVALID,
    NOT_LEADER,
    QUOTA,
    REFUSALS,
    ReadReady,
    Refusal,
    WriteReply,
)
from paxosd.core.message_room import MessageRoom
from paxosd.core.node import Node
from paxosd.core.requests import (
    GET,
    LINEARIZABLE,
    PASSES_ON,
    AdminRequest,
    ForwardRequest,
    HistoryRequest,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
    ServerMessage,
    VouchedRequest,
    WriteAnswer,
    WriteRequest,
    revision_of,
)
from paxosd.core.state.machine import Machine
from paxosd.core.state.queries import may_be_large
from paxosd.core.state.revision_view import NO_REVISIONS, RevisionAheadError
from paxosd.core.state.sessions import SESSION_UNKNOWN_RESULT
from paxosd.core.state.undo_log import RevisionGoneError
from paxosd.core.types import NodeId
from paxosd.core.work import CLIENT_UNITS, UNIT_BYTES
from paxosd.recorder.event import COUNT_BIT
from paxosd.replica.authority import Authority
from paxosd.replica.bulk_pace import PIECE_UNITS, BulkPace, TurnQueue
from paxosd.replica.control_checks import control_refusal
from paxosd.replica.deferred_answers import Deferred
from paxosd.replica.forwarding import Forwarding
from paxosd.replica.observer import Observer
from paxosd.replica.permissions import UNOPENED, Permissions
from paxosd.replica.ports import Answers
from paxosd.replica.tokens import ReadToken, WriteToken
from paxosd.wire import EntryLimits, WireError, decode_entry

READS_BYTES_MAX = 64 << 20
"""Of read requests that wait, for the leader's confirmation or for a turn with time."""
REQUEST_BYTES = 200
QUERY_BYTES = 100
"""What requests and queries count besides their keys."""
SETTLED_AGE_MS_MAX = 1000
"""A node that heard of a quorum no longer ago answers for earlier revisions by itself."""

READ, STALE_READ, FORWARD, HISTORY, ADMIN = "read", "stale_read", "forward", "history", "admin"
"""Kinds of requests besides ``write``."""

Writing = WriteRequest | ForwardRequest
_DIVERGED = Refusal(DIVERGED, REFUSALS[DIVERGED], "")


class Service:
    """Requests in, answers out, for one daemon."""

    def __init__(
        self,
        node: Node,
        machine: Machine,
        answers: Answers,
        *,
        limits: EntryLimits,
        read_bytes_max: int,
        history: Callable[[HistoryRequest], ServerMessage],
        admin: Callable[[AdminRequest, bytes], ServerMessage | Deferred],
        permissions: Permissions | None = None,
        room: MessageRoom | None = None,
        forwarding: Forwarding | None = None,
        now_ms: Callable[[], float] | None = None,
        observer: Observer | None = None,
        later: Callable[[bytes, Deferred], None] | None = None,
        pace: BulkPace | None = None,
    ) -> None:
        """``limits``: of the configuration, until the log has settings. ``read_bytes_max``: of one
        answer to a read. ``permissions``: who may ask for what; None: nobody has a key. ``room``:
        what this node's sockets take; None: anything. ``forwarding`` passes writes on to the
        leader; None: this node does not. ``now_ms``: the clock of the turns, read anew; None: no
        time passes within a turn. ``later``: takes the admin requests that are answered later.
        ``pace``: when there is time for bulk work; None: one of this service's own."""
        self._node = node
        self._machine = machine
        self._bus = answers
        self._first_limits = limits
        self._limits_version = 0
        self._limits = limits
        """What admission goes by: the replicated settings, once the log has some."""
        self._read_bytes_max = read_bytes_max
        self._client_endpoints: Mapping[NodeId, str] = {}
        self._elsewhere = ""
        self._now_ms = now_ms
        self._observer = observer
        self._room = room
        self._forwarding = forwarding
        self._history = history
        self._admin = admin
        self._permissions = permissions or Permissions(machine, Authority(), self._age_ms)
        self._later = later
        self._pace = pace or BulkPace()
        self._reads: deque[tuple[ReadToken, bool]] = deque()
        """Small reads that a later turn answers, and whether they may be stale."""
        self._bulk: TurnQueue[tuple[ReadToken, bool] | tuple[bytes, HistoryRequest, bytes]]
        self._bulk = TurnQueue()
        """Large reads, and requests for history."""
        self.waiting_bytes = 0
        """Of reads that are not answered yet."""
        self.requests = 0
        self.kinds = dict.fromkeys((READ, STALE_READ, FORWARD, HISTORY, ADMIN), 0)
        """How many of them were what; the others were writes."""
        self.refused = 0
        self.refusals: Counter[str] = Counter()
        """Code → how many refusals."""

    def _age_ms(self) -> int:
        # By the clock of now, after the request came in: a turn may be long, or the process may
        # have been stopped within it. A write that was acknowledged meanwhile, before the client
        # asked, must not be younger than the age says.
        return self._node.age_ms(self._now_ms() if self._now_ms else None)

    def _turn_ms(self) -> float:
        return self._observer.now_ms if self._observer is not None else 0.0

    def _use_settings(self) -> None:
        settings = self._machine.settings
        if settings.version != self._limits_version:
            self._limits_version = settings.version
            self._limits = EntryLimits.of(settings) if settings.level else self._first_limits

    @property
    def key_bytes_max(self) -> int:
        """How long a key may be, by the settings in force."""
        self._use_settings()
        return self._limits.key_bytes_max

    def use_members(self, client_endpoints: Mapping[NodeId, str], elsewhere: str) -> None:
        """Where clients reach each member from now on, for redirections. ``elsewhere``: where a
        client that is refused may ask if no leader is known, for a node that is no member and so
        hears of no leader: the client may know no other node that is left. "": nowhere."""
        self._client_endpoints = client_endpoints
        self._elsewhere = elsewhere

    def use_bus(self, bus: Answers) -> None:
        """Where answers go from now on."""
        self._bus = bus

    def receive(self, client: bytes, message: Any, key: bytes = b"") -> None:
        """Take one decoded request of a client, whose connection was proven by ``key`` (b"": by
        none)."""
        self.requests += 1
        self._use_settings()
        if type(message) is VouchedRequest:
            refusal = self._permissions.voucher_refusal(key, message.key)
            if refusal is not None:
                self._refuse(client, message.request_id, refusal)
                return
            key = message.key if key else b""
            message = WriteRequest(message.request_id, message.entry)
        if type(message) is WriteRequest:
            self._write(client, message, self._permissions.asker(key))
        elif type(message) is ReadRequest:
            self.kinds[READ if message.mode == LINEARIZABLE else STALE_READ] += 1
            self._read(client, message, key)
        elif type(message) is ForwardRequest:
            self.kinds[FORWARD] += 1
            self._forward(client, message, self._permissions.asker(key))
        elif type(message) is HistoryRequest:
            self.kinds[HISTORY] += 1
            self._ask_history(client, message, key)
        else:
            self.kinds[ADMIN] += 1
            refusal = self._permissions.verb_refusal(key, ADMIN_VERBS.get(message.verb))
            if refusal is not None:
                self._refuse(client, message.request_id, refusal)
                return
            answer = self._admin(message, key)
            if not isinstance(answer, Deferred):
                self._bus.answer(client, answer)
            elif self._later is not None:
                self._later(client, answer)

    def _ask_history(self, client: bytes, message: HistoryRequest, key: bytes) -> None:
        if self._refuses_history(client, message, key):
            return
        size = REQUEST_BYTES + len(message.start) + len(message.end)
        if self._takes(client, message.request_id, size):
            self._bulk.put(client, (client, message, key))

    def _refuses_history(self, client: bytes, message: HistoryRequest, key: bytes) -> bool:
        refusal = self._permissions.history_refusal(key, message.start, message.end)
        if refusal is not None:
            self._refuse(client, message.request_id, refusal)
        return refusal is not None

    def _takes(self, client: bytes, request_id: int, size: int) -> bool:
        """Whether one more read may wait; if not, it is refused."""
        if self.waiting_bytes and self.waiting_bytes + size > READS_BYTES_MAX:
            words = f"{REFUSALS[BUSY]}: reads of {self.waiting_bytes} bytes wait"
            self._refuse(client, request_id, Refusal(BUSY, words, ""))
            return False
        self.waiting_bytes += size
        return True

    def reply(self, token: Any, answer: WriteReply | ReadReady | Refusal) -> None:
        """Take one answer of the core."""
        if self._observer is not None:
            self._observer.answered(token, answer)
        if type(answer) is WriteReply:
            written = WriteAnswer(token.request_id, answer.slot, answer.results)
            self._bus.answer(token.client, written)
        elif type(answer) is ReadReady:
            self._serve_in_turn(token, stale=False)
        else:
            assert isinstance(answer, Refusal)
            if type(token) is ReadToken:
                self.waiting_bytes -= token.size
            self._refuse(token.client, token.request_id, answer)

    @property
    def reads_waiting(self) -> list[tuple[ReadToken, bool]]:
        """The reads that a later turn answers, and whether they may be stale."""
        return [*self._reads, *(each for each in self._bulk if len(each) == 2)]

    @property
    def history_waiting(self) -> list[tuple[bytes, HistoryRequest, bytes]]:
        """The requests for history that a later turn answers."""
        return [each for each in self._bulk if len(each) == 3]

    def next_due_ms(self, now_ms: float) -> float:
        """When what waits here can go on; infinity: nothing does."""
        if self._reads:
            return now_ms
        return self._pace.next_due_ms(now_ms) if self._bulk else math.inf

    def answer_waiting(self) -> None:
        """Answer the reads that an earlier turn had no time for, and what is large, as far as this
        turn has time for it; a piece of it also in one that has none, or they would wait for as
        long as others keep this node busy. Call it once a turn, if there are ``waiting_bytes``, and
        when the records of all that the core has applied were handed to the log: before that, the
        log lacks the newest slots."""
        work = self._machine.work
        units_max = max(CLIENT_UNITS, work.units + PIECE_UNITS)
        while self._reads and work.units < units_max:
            self._answer_read(*self._reads.popleft(), part=1)
        pace = self._pace
        units_max = max(CLIENT_UNITS, work.units + PIECE_UNITS)
        while self._bulk and work.units < units_max and pace.allows:
            bulk, before = self._bulk.take(), work.units
            if len(bulk) == 2:
                self._answer_read(*bulk, pace.part)
            else:
                self._answer_history(*bulk)
            pace.spent(work.units - before)

    def _answer_read(self, token: ReadToken, stale: bool, part: int) -> None:
        if self._node.difference is not None:
            self.waiting_bytes -= token.size
            self._refuse(token.client, token.request_id, _DIVERGED)
        else:
            self._serve_read(token, stale=stale, part=part)

    def _answer_history(self, client: bytes, message: HistoryRequest, key: bytes) -> None:
        self.waiting_bytes -= REQUEST_BYTES + len(message.start) + len(message.end)
        if self._node.difference is not None:
            self._refuse(client, message.request_id, _DIVERGED)
        elif not self._refuses_history(client, message, key):
            self._machine.work.units += 1
            self._bus.answer(client, self._history(message))

    @property
    def leader_endpoint(self) -> str:
        """Where clients reach the leader; "": none is known, or it is this node."""
        leader = self._node.leader
        return "" if self._node.leading else self._client_endpoints.get(leader, "")

    def _forward(self, client: bytes, message: ForwardRequest, key: bytes) -> None:
        """Pass a write on, if another node leads; here the limits are checked, too."""
        to = self.leader_endpoint
        if not to or self._forwarding is None:
            self._write(client, message, key)
        elif self._take_entry(client, message, key, leading=False) is not None:
            leader = self._node.leader
            self._forwarding.pass_on(client, message.request_id, message.entry, leader, to, key)

    def _write(self, client: bytes, message: Writing, key: bytes, *, settled: bool = False) -> None:
        leading = self._node.leading
        entry = self._take_entry(client, message, key, leading=leading, settled=settled)
        if entry is None:
            return
        blob = message.entry
        if entry.session == 0:
            entry, blob = self._permissions.named(key, entry, blob)
        self._machine.work.units += len(entry.commands) + len(blob) // UNIT_BYTES
        refusal = control_refusal(entry, self._node, self._machine, self._room, self._permissions)
        if refusal:
            self._invalid(client, message.request_id, refusal)
            return
        quota = self._machine.store.quota
        if quota.limit_bytes and leading and self._machine.is_over_quota(entry):
            quota.note_refusal()
            words = REFUSALS[QUOTA]
            self._refuse(client, message.request_id, Refusal(QUOTA, words, self._node.leader))
            return
        seqs = entry.first_seq | len(entry.commands) << COUNT_BIT
        token = WriteToken(client, message.request_id, entry.session, seqs, self._turn_ms())
        self._node.submit(token, entry, blob)

    def _take_entry(
        self, client: bytes, message: Writing, key: bytes, *, leading: bool, settled: bool = False
    ) -> Entry | None:
        """The commands of a request; None: it was refused, for a limit of the settings or of some
        member, or because it is not allowed; or it has its answer for want of such a session."""
        try:
            entry = decode_entry(message.entry, self._limits)
            words = self._node.limits.refusal(len(message.entry))
        except WireError as error:
            words = str(error)
        if words:
            self._invalid(client, message.request_id, words)
            return None
        if key or not entry.session or self._machine.rights.required:
            refusal = self._permissions.entry_refusal(key, entry, leading=leading)
            if refusal is UNOPENED:
                self._await_session(client, message, key, entry, settled=settled)
            elif refusal is not None:
                self._refuse(client, message.request_id, refusal)
            return entry if refusal is None else None
        return entry

    def _await_session(
        self, client: bytes, message: Writing, key: bytes, entry: Entry, *, settled: bool
    ) -> None:
        """Go on once all openings are applied that somebody may know of (``settled``), as a
        linearizable read does. A session that nobody has then is not proposed for: by the slot in
        which that would be applied, the number might be another's."""
        if settled:
            results = [SESSION_UNKNOWN_RESULT] * len(entry.commands)
            answer = WriteAnswer(message.request_id, self._machine.applied, results)
            self._bus.answer(client, answer)
            return
        size = REQUEST_BYTES + len(message.entry)
        if self._takes(client, message.request_id, size):
            who = client, message.request_id
            self._node.read(ReadToken(*who, [], size, self._turn_ms(), key, message))

    def _read(self, client: bytes, message: ReadRequest, key: bytes) -> None:
        size = REQUEST_BYTES
        for query in message.queries:
            size += QUERY_BYTES + sum([len(part) for part in query if type(part) is bytes])
            name = query[1]
            if query[0] == GET and len(name) > self._limits.key_bytes_max:
                words = f"key is {len(name)} bytes; the limit is {self._limits.key_bytes_max} "
                self._invalid(client, message.request_id, words + "(limits.key_bytes_max)")
                return
        if self._node.difference is not None:
            self._refuse(client, message.request_id, _DIVERGED)
            return
        stale = message.mode != LINEARIZABLE
        if self._refuses_read(client, message.request_id, message.queries, key, stale=stale):
            return
        if not self._takes(client, message.request_id, size):
            return
        who = client, message.request_id
        token = ReadToken(*who, message.queries, size, self._turn_ms(), key)
        if stale or self._is_settled(message.queries):
            self._serve_in_turn(token, stale=stale)
        else:
            self._node.read(token)

    def _is_settled(self, queries: list[list[Any]]) -> bool:
        """Whether all that is asked for is of revisions that this node has applied. They never
        change, so nobody has to be asked: as are all pages of a scan but the first. It must be in
        touch with a quorum: one left over from a cluster that was recovered without it is not."""
        machine = self._machine
        revisions = [revision_of(query) for query in queries] or [0]
        if not 0 < min(revisions) <= max(revisions) <= machine.revision or machine.rights.required:
            return False
        if machine.settings.level < LEVEL_COORDINATION:
            return False  # as far as is known here
        return 0 <= self._age_ms() <= SETTLED_AGE_MS_MAX

    def _refuses_read(
        self, client: bytes, request_id: int, queries: list[list[Any]], key: bytes, *, stale: bool
    ) -> bool:
        """Whether the rights in force now forbid it; asked when it comes, and when it is answered.
        It is refused then."""
        if not key and not self._machine.rights.required:
            return False
        refusal = self._permissions.read_refusal(key, queries)
        if refusal is None and stale:
            refusal = self._permissions.unconfirmed()
        if refusal is not None:
            self._refuse(client, request_id, refusal)
        return refusal is not None

    def _serve_in_turn(self, token: ReadToken, *, stale: bool) -> None:
        """Answer now, or else behind those that wait: no less is applied then."""
        if any(map(may_be_large, token.queries)):
            self._bulk.put(token.client, (token, stale))
        elif self._reads or self._machine.work.units >= CLIENT_UNITS:
            self._reads.append((token, stale))
        else:
            self._serve_read(token, stale=stale, part=1)

    def _is_prepared(self, token: ReadToken, *, stale: bool, part: int) -> bool:
        """Whether a read can be answered now; else a later turn goes on with it, or it was
        refused."""
        queries = token.queries
        try:
            if self._machine.settings.level < LEVEL_COORDINATION and any(map(revision_of, queries)):
                self._invalid(token.client, token.request_id, NO_REVISIONS)
            elif self._machine.prepare(queries, part):
                return True
            else:
                self._bulk.put(token.client, (token, stale))
                return False
        except RevisionGoneError as error:
            self._count_refusal(COMPACTED)
            gone = RefusalAnswer(token.request_id, COMPACTED, str(error), "", "", error.floor)
            self._bus.answer(token.client, gone)
        except RevisionAheadError as error:
            if stale:  # another node, or this one later, may have come to it
                self._refuse(token.client, token.request_id, Refusal(BUSY, str(error), ""))
            else:
                self._invalid(token.client, token.request_id, str(error))
        self.waiting_bytes -= token.size
        return False

    def _serve_read(self, token: ReadToken, *, stale: bool, part: int) -> None:
        """``part``: the pages in the answer hold 1/part of the most that they may."""
        if token.request is not None:
            self.waiting_bytes -= token.size
            self._write(token.client, token.request, token.key, settled=True)
            return
        if not self._is_prepared(token, stale=stale, part=part):
            return
        self.waiting_bytes -= token.size
        who = token.client, token.request_id, token.queries, token.key
        if self._refuses_read(*who, stale=stale):
            return
        age_ms = self._age_ms() if stale else 0
        self._machine.work.units += len(token.queries)
        try:
            results = self._machine.query(token.queries, self._read_bytes_max, part)
        except ValueError as error:
            self._invalid(token.client, token.request_id, str(error))
            return
        machine = self._machine
        answer = ReadAnswer(token.request_id, machine.applied, machine.revision, age_ms, results)
        self._bus.answer(token.client, answer)

    def _invalid(self, client: bytes, request_id: int, message: str) -> None:
        self._refuse(client, request_id, Refusal(INVALID, message, self._node.leader))

    def _count_refusal(self, code: str) -> None:
        self.refused += 1
        self.refusals[code] += 1

    def _refuse(self, client: bytes, request_id: int, refusal: Refusal) -> None:
        self._count_refusal(refusal.code)
        leader = refusal.leader or self._node.leader
        endpoint = self._client_endpoints.get(leader, "") or self._elsewhere
        detail = 0
        to = self.leader_endpoint
        if refusal.code == NOT_LEADER and self._forwarding is not None and to == endpoint != "":
            detail = PASSES_ON
        who = leader, endpoint, detail
        self._bus.answer(client, RefusalAnswer(request_id, refusal.code, refusal.message, *who))
