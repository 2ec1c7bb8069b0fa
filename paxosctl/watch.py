"""Sockets for the watch protocol; what to make of what they bring is ``watch_state.py``'s.

SUB    ── kv/P, progress/P ──► events endpoint of one node
DEALER ── HistoryRequest  ──► client endpoint of the same node
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import zmq

from paxosctl.dial import Dial
from paxosctl.errors import RefusedError
from paxosctl.transport import RECEIVES_MAX, Link, Socket, Transport, clock_ms
from paxosctl.watch_state import Connect, Deliver, Effect, Fail, Pull, WatchState
from paxosd.core.commands import Change
from paxosd.core.requests import HistoryAnswer, HistoryRequest, RefusalAnswer
from paxosd.wire import WireError, decode_answer, encode_client
from paxosd.wire_events import LearnedEvent, decode_event

SUB_QUEUE_MAX = 100_000
"""Messages that may wait for a slow user; more are dropped, noticed, and pulled later."""

SUB_PATIENCE_MS = 1500
"""How long an address of a name that has several may bring nothing before the next is tried: more
than a subscriber waits for its first progress message."""


class Watcher(Iterator[Change]):
    """An endless iterator over changes; made by :meth:`paxosctl.client.Client.watch`."""

    def __init__(
        self,
        transport: Transport,
        nodes: Sequence[tuple[str, str]],
        key: bytes,
        *,
        prefix: bool = False,
        from_revision: int | None = None,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        """``nodes``: pairs of client and events endpoint, in the order to try them."""
        self._transport = transport
        self._nodes = list(nodes)
        self._on_trouble = on_trouble
        self._state = WatchState(key, prefix=prefix, from_revision=from_revision)
        self._sub: Socket | None = None
        self._sub_dial: Dial | None = None
        self._link: Link | None = None
        self._link_up = False
        self._pull: HistoryRequest | None = None
        self._changes: deque[Change] = deque()
        self._closed = False

    def __next__(self) -> Change:
        """The next change, however long it takes. StopIteration once the watch is closed."""
        while not self._closed:
            change = self.poll(1000)
            if change is not None:
                return change
        raise StopIteration

    def poll(self, timeout_ms: int) -> Change | None:
        """The next change, or None if there is none within the time.

        Raises RefusedError for a watch that cannot go on.
        """
        until_ms = clock_ms() + timeout_ms
        while not self._changes:
            if self._closed:
                return None
            if self._state.attempt == 0:
                self._perform(self._state.start(clock_ms()))
            self._perform(self._state.on_tick(clock_ms()))
            failed = self._state.failed
            if failed is not None:
                self.close()
                raise RefusedError(failed.code, failed.message, detail=failed.detail)
            if self._changes:
                break
            now_ms = clock_ms()
            due_ms = self._state.next_due_ms()
            wait_ms = until_ms - now_ms if due_ms is None else min(until_ms, due_ms) - now_ms
            if not self._transport.poll(max(0, wait_ms)) and clock_ms() >= until_ms:
                break
        return self._changes.popleft() if self._changes else None

    @property
    def live(self) -> bool:
        """Whether changes are taken from the stream now, with none known to be missing."""
        return self._state.live

    @property
    def resume_revision(self) -> int | None:
        """A later watch from this revision misses nothing. It can repeat changes, if some of
        this watch have been received but not been asked for. None: nothing is known yet."""
        if self._changes:
            return self._changes[0].revision
        return self._state.resume_revision

    def close(self) -> None:
        """End the watch; an iteration over it ends."""
        self._closed = True
        self._disconnect()

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Deliver):
                self._changes.extend(effect.changes)
            elif isinstance(effect, Pull):
                self._pull = effect.request
                self._send_pull()
            elif isinstance(effect, Connect):
                if effect.reason and self._on_trouble is not None:
                    self._on_trouble(effect.reason)
                self._connect(effect.attempt)
            else:
                assert isinstance(effect, Fail)
                self._disconnect()

    def _connect(self, attempt: int) -> None:
        self._disconnect()
        client, events = self._nodes[(attempt - 1) % len(self._nodes)]
        sub = self._sub = self._transport.socket(zmq.SUB)
        sub.setsockopt(zmq.RCVHWM, SUB_QUEUE_MAX)
        for topic in self._state.topics:
            sub.setsockopt(zmq.SUBSCRIBE, topic)
        self._transport.register(sub, lambda: self._read(attempt, sub))
        # Whether its connection stands is seen by what it brings alone; the link speaks for both.
        with contextlib.suppress(ValueError):  # it stays silent then, and the node is left
            self._sub_dial = Dial(
                self._transport,
                sub,
                events,
                on_unresolved=lambda _: None,
                patience_ms=SUB_PATIENCE_MS,
            )
        self._link = Link(
            self._transport,
            client,
            on_frame=lambda frame: self._on_frame(attempt, frame),
            on_up=self._on_up,
            on_down=lambda reason: self._perform(
                self._state.on_disconnect(attempt, reason, clock_ms())
            ),
        )

    def _disconnect(self) -> None:
        self._link_up = False
        self._pull = None
        if self._sub_dial is not None:
            self._sub_dial.close()
            self._sub_dial = None
        if self._sub is not None:
            self._transport.unregister(self._sub)
            self._sub.close(0)
            self._sub = None
        if self._link is not None:
            self._link.close()
            self._link = None

    def _on_up(self) -> None:
        self._link_up = True
        if self._sub_dial is not None and self._link is not None:
            self._sub_dial.prefer(self._link.host, clock_ms())
        self._send_pull()

    def _send_pull(self) -> None:
        if self._pull is not None and self._link_up and self._link is not None:
            self._link.send(
                encode_client(self._pull, self._state.cluster)
            )  # if it is lost, it times out
            self._pull = None

    def _on_frame(self, attempt: int, frame: bytes) -> None:
        with contextlib.suppress(WireError):  # as good as no answer, which is noticed
            answer = decode_answer(frame, self._state.cluster)
            if isinstance(answer, HistoryAnswer | RefusalAnswer):
                self._perform(self._state.on_answer(attempt, answer, clock_ms()))

    def _read(self, attempt: int, sub: Socket) -> None:
        for _ in range(RECEIVES_MAX):
            if sub.closed:  # a message made the state leave this node
                return
            try:
                frames = sub.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if self._sub_dial is not None:
                self._sub_dial.on_up()
            if len(frames) != 2:
                continue
            try:
                cluster, event = decode_event(frames[0], frames[1])
            except WireError:
                continue  # whatever it was, the numbers show whether a change is missing
            if not isinstance(event, LearnedEvent):
                self._perform(self._state.on_event(attempt, cluster, event, clock_ms()))
