"""Sockets for the watch protocol, which itself is in ``core/client/watch.py``.

DEALER ── AdminRequest("status") ──► client endpoint of one node: its cluster, history, members
SUB    ── kv/P, progress/P ──► events endpoint of the same node, once these are known
DEALER ── HistoryRequest  ──► its client endpoint

SUB refused ──► the client may not listen: history and stale reads over the DEALER instead

SUB ── members/ ──► the same: the status is asked for again once another membership is in force

During a long watch every member may be replaced by another. The event about that can be lost, and
nodes of version 0.1 publish none, so that the status is also asked for now and then. All watches of
a node get the event at the same time: each waits for a random time before it asks.
"""

import contextlib
import random
from collections import deque

import zmq

from paxosctl.client.credentials import Failure
from paxosctl.client.dialled import DialledSocket
from paxosctl.client.errors import RefusedError, refused_of
from paxosctl.client.own_sockets import Socket
from paxosctl.client.results import WatchItem
from paxosctl.client.transport import RECEIVES_MAX, SILENT, Link, Transport
from paxosctl.client.watch_items import (
    ALL_CHANGES,
    CHANGE_OVERHEAD_BYTES,
    WatchItems,
    WatchWants,
)
from paxosctl.client.watch_nodes import WatchNodes
from paxosd.core.client.calls import NO_DEADLINE_MS
from paxosd.core.client.cluster_info import ClusterInfo, Limits
from paxosd.core.client.endpoints import KEY_UNKNOWN
from paxosd.core.client.watch import WatchState
from paxosd.core.client.watch_effects import Ask, Connect, Deliver, Effect, Fail, Pull, WatchOptions
from paxosd.core.events import LearnedEvent, MembersEvent
from paxosd.core.requests import (
    AdminAnswer,
    AdminRequest,
    HistoryAnswer,
    HistoryRequest,
    ReadAnswer,
    RefusalAnswer,
)
from paxosd.host.clock import clock_ms
from paxosd.net.silence import LOOK_MS
from paxosd.wire import WireError, decode_answer, encode_client
from paxosd.wire.events import TOPIC_MEMBERS, decode_event
from paxosd.wire.status import decode_status

SUB_BYTES_MAX = 16 << 20
"""How many bytes may wait in the socket for a slow user, if each change were as large as the
cluster allows. More waits at the node, which finally drops it; then the history has it."""
SUB_QUEUE_MIN = 16
SUB_QUEUE_MAX = 4096
CHANGES_BYTES_MAX = 4 << 20
"""Above this nothing is read until the user takes changes, except one answer of the history."""
LEARN_MS = 60_000
"""How often a node that is listened to is asked who the members are, without a reason: 0.5 to 1.5
times this, drawn anew each time."""
NEWS_SPREAD_MS = 1000
"""After an event about the members the status is asked for within this time."""
RETRY_MS = 50
HISTORY_GRACE_MS = 2000
LEARN_ID = 1 << 62
"""The id of requests for a status; requests for missed changes count from 1."""

SUB_PATIENCE_MS = 1500
"""How long an address of a name that has several may bring nothing before the next is tried: more
than a subscriber waits for its first progress message."""


class WatchSession:
    """One watch on the network, of a client in any dress. :meth:`turn` is to be called when it is
    due, as long as somebody waits for a change."""

    def __init__(
        self,
        transport: Transport,
        nodes: WatchNodes,
        key: bytes,
        *,
        prefix: bool = False,
        from_revision: int | None = None,
        history: str = "",
        prev: bool = False,
        wanted: WatchWants = ALL_CHANGES,
    ) -> None:
        """``nodes``: which nodes to try, and in which order."""
        self._items = WatchItems(wanted)
        self.troubles: deque[str] = deque()
        """Why nodes had to be left; whoever reports one takes it out."""
        self._transport = transport
        self._nodes = nodes
        self._state = WatchState(
            key,
            prefix=prefix,
            from_revision=from_revision,
            history=history,
            prev=prev,
            options=WatchOptions(history_grace_ms=HISTORY_GRACE_MS),
        )
        self._learn_due_ms: int | None = None
        self._look_due_ms = 0
        self._rng = random.Random()
        self._sub: DialledSocket | None = None  # as long as the node has not said what it is: none
        self._link: Link | None = None
        self._link_up = False
        self._pull: HistoryRequest | None = None
        self._sub_queue_max = SUB_QUEUE_MIN
        self.closed = False

    @property
    def failed(self) -> RefusedError | None:
        """Why the watch cannot go on."""
        failed = self._state.failed
        if failed is None:
            return None
        return refused_of(failed)

    @property
    def has_news(self) -> bool:
        """Whether there is something for the user: an item, a trouble or the end."""
        state = self._state
        if self._items.is_ready(state.complete_to, live=state.live):
            return True
        return bool(self.troubles or self.closed or state.failed is not None)

    def turn(self) -> int:
        """Do what is due; returns when something is due again, in ms of the clock."""
        if self.closed:
            return NO_DEADLINE_MS
        if self._state.attempt == 0:
            self._perform(self._state.start(clock_ms()))
        self._perform(self._state.on_tick(clock_ms()))
        self._look()
        self._learn()
        self._rest()
        dues_ms = [self._state.next_due_ms(), self._learn_due_ms]
        if self._link is not None and self._link.is_watched:
            dues_ms.append(self._look_due_ms)
        due_ms = min([due_ms for due_ms in dues_ms if due_ms is not None], default=NO_DEADLINE_MS)
        mark_due_ms = self._items.mark_due_ms
        if self._state.live and clock_ms() < mark_due_ms < due_ms:
            return int(mark_due_ms)
        return due_ms

    def take(self) -> WatchItem | None:
        """The next change, group or mark, if one has come."""
        return self._items.take(self._state.complete_to, live=self._state.live)

    def _rest(self) -> None:
        """Read from the socket as long as the user has not enough; else it would be reported as
        readable again and again to whoever polls."""
        if self._sub is not None:
            self._sub.read(on=self.waiting_bytes < CHANGES_BYTES_MAX)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of changes have been received and not yet been taken."""
        return self._items.waiting_bytes

    @property
    def live(self) -> bool:
        """Whether changes are taken from the stream now, with none known to be missing."""
        return self._state.live

    @property
    def resume_revision(self) -> int | None:
        """A later watch from this revision misses nothing. It can repeat changes, if some of
        this watch have been received but not been asked for. None: nothing is known yet."""
        first = self._items.first_revision
        return self._state.resume_revision if first is None else first

    @property
    def history(self) -> str:
        """The number of the founding of the cluster that this watch is of, for a later watch that
        goes on from :attr:`resume_revision`. "": not known."""
        return self._state.history

    def close(self) -> None:
        """Close the sockets; by the thread that drives."""
        self.closed = True
        self._disconnect()

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Deliver):
                self._items.add(effect.changes)
            elif isinstance(effect, Pull):
                self._pull = effect.request
                self._send_pull()
            elif isinstance(effect, Ask):
                if self._link is not None:
                    self._link.send(encode_client(effect.request, self._state.cluster))
            elif isinstance(effect, Connect):
                if effect.reason:
                    self.troubles.append(effect.reason)
                self._connect(effect.attempt)
            else:
                assert isinstance(effect, Fail)
                self._disconnect()

    def _connect(self, attempt: int) -> None:
        self._disconnect()
        try:
            self._link = Link(
                self._transport,
                self._nodes.next(),
                on_frame=lambda frame: self._on_frame(attempt, frame),
                on_up=self._on_up,
                on_down=lambda reason: self._perform(
                    self._state.on_disconnect(attempt, reason, clock_ms())
                ),
            )
        except ValueError as error:
            self._perform(self._state.on_disconnect(attempt, str(error), clock_ms()))

    def _subscribe(self, attempt: int, events: str) -> None:
        """Listen to the node, whose cluster and history are right. Its link was made before: that
        the node went is read before anything that another run of it has published since."""
        topics = (*self._state.topics, TOPIC_MEMBERS)
        queue_max = self._sub_queue_max

        def prepare(sub: Socket) -> None:
            sub.setsockopt(zmq.RCVHWM, queue_max)
            for topic in topics:
                sub.setsockopt(zmq.SUBSCRIBE, topic)

        # Whether its connection stands is seen by what it brings alone; the link speaks for both.
        with contextlib.suppress(ValueError):  # it stays silent then, and the node is left
            self._sub = DialledSocket(
                self._transport,
                zmq.SUB,
                events,
                0,
                prepare=prepare,
                on_read=lambda: self._read(attempt),
                on_event=lambda *_: None,
                on_failed=lambda failure: self._take_failure(attempt, failure),
                on_unresolved=lambda _: None,
                patience_ms=SUB_PATIENCE_MS,
            )
            if self._link is not None:
                self._sub.prefer(self._link.host)

    def _take_failure(self, attempt: int, failure: Failure) -> None:
        """The node does not let this client listen. Where that is for the sake of its rights, it
        is asked for its history instead, by the connection that stands."""
        if self._sub is not None:
            self._sub.close()
        if failure.code == KEY_UNKNOWN:
            self._perform(self._state.on_no_events(attempt, clock_ms()))
        else:
            self._perform(self._state.on_disconnect(attempt, failure.message, clock_ms()))

    def _disconnect(self) -> None:
        self._link_up = False
        self._learn_due_ms = None
        self._pull = None
        if self._sub is not None:
            self._sub.close()
            self._sub = None
        if self._link is not None:
            self._link.close()
            self._link = None

    def _on_up(self) -> None:
        self._link_up = True
        self._learn_due_ms = clock_ms()
        self._learn()
        if self._sub is not None and self._link is not None:
            self._sub.prefer(self._link.host)
        self._send_pull()

    def _look(self) -> None:
        """Leave the node if it does not answer, even if its events still come."""
        if self._link is not None and self._link.is_watched and clock_ms() >= self._look_due_ms:
            self._look_due_ms = clock_ms() + LOOK_MS
            if self._link.look():
                attempt = self._state.attempt
                self._perform(self._state.on_disconnect(attempt, SILENT, clock_ms()))

    def _learn(self) -> None:
        """Ask the node for its status, if that is due. That it does not answer is noticed: without
        it there are no events."""
        if self._link is None or self._learn_due_ms is None or clock_ms() < self._learn_due_ms:
            return
        # Addressed to any cluster: that it is another one is to be found out.
        sent = self._link.send(encode_client(AdminRequest(LEARN_ID, "status", {}), ""))
        pause_ms = round(LEARN_MS * self._rng.uniform(0.5, 1.5)) if sent else RETRY_MS
        self._learn_due_ms = clock_ms() + pause_ms

    def _hear_news(self) -> None:
        """The members have changed."""
        if self._learn_due_ms is not None:
            soon_ms = clock_ms() + round(self._rng.uniform(0, NEWS_SPREAD_MS))
            self._learn_due_ms = min(self._learn_due_ms, soon_ms)

    def _take_status(self, attempt: int, info: ClusterInfo) -> None:
        state = self._state
        self._perform(state.on_identity(attempt, info, clock_ms()))
        if not state.is_current(attempt):
            return
        self._nodes.learn(info)
        self._sub_queue_max = _queue_max(info.limits)
        own = info.members.get(info.node)
        if own is None:
            why = f"{info.node} is no member of the cluster"
            self._perform(state.on_disconnect(attempt, why, clock_ms()))
        elif self._sub is None:
            self._subscribe(attempt, own.events)

    def _send_pull(self) -> None:
        if self._pull is not None and self._link_up and self._link is not None:
            self._link.send(
                encode_client(self._pull, self._state.cluster)
            )  # if it is lost, it times out
            self._pull = None

    def _on_frame(self, attempt: int, frame: bytes) -> None:
        with contextlib.suppress(WireError):  # as good as no answer, which is noticed
            answer = decode_answer(frame)
            if isinstance(answer, AdminAnswer):
                if answer.request_id == LEARN_ID and self._state.is_current(attempt):
                    self._learn_keys(answer)
                    self._take_status(attempt, ClusterInfo.of_status(decode_status(answer.body)))
            elif isinstance(answer, HistoryAnswer | ReadAnswer | RefusalAnswer):
                answer = decode_answer(frame, self._state.cluster)
                if isinstance(answer, HistoryAnswer | RefusalAnswer):
                    count = len(self._nodes.order)
                    self._perform(self._state.on_answer(attempt, answer, clock_ms(), nodes=count))
                if isinstance(answer, ReadAnswer | RefusalAnswer):
                    self._perform(self._state.on_age(attempt, answer, clock_ms()))

    def _learn_keys(self, answer: AdminAnswer) -> None:
        credentials = self._transport.credentials
        if credentials is not None and self._link is not None and self._link.is_encrypted:
            credentials.learn_answer(answer.body)

    def _read(self, attempt: int) -> None:
        dialled = self._sub
        sub = dialled.socket if dialled is not None else None
        if dialled is None or sub is None:
            return
        for _ in range(RECEIVES_MAX):
            # A message made the state leave this node, or the user has enough for now.
            if sub.closed or self.waiting_bytes >= CHANGES_BYTES_MAX:
                self._rest()
                return
            try:
                frames = sub.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            dialled.heard()
            if len(frames) != 2:
                continue
            try:
                cluster, event = decode_event(frames[0], frames[1])
            except WireError:
                continue  # whatever it was, the numbers show whether a change is missing
            if isinstance(event, MembersEvent):
                self._hear_news()
            elif not isinstance(event, LearnedEvent):
                self._perform(self._state.on_event(attempt, cluster, event, clock_ms()))


def _queue_max(limits: Limits) -> int:
    """How many changes, of any size that the cluster allows, may wait in the socket."""
    change_bytes = CHANGE_OVERHEAD_BYTES + limits.key_bytes_max + limits.value_bytes_max
    return max(SUB_QUEUE_MIN, min(SUB_QUEUE_MAX, SUB_BYTES_MAX // change_bytes))
