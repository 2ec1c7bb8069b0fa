"""Fan-out: many subscribers, one writer, and the time from each put to each event of it.

    writer's thread ── put(time, …) ──► leader ──► every node ── kv/bench/watch/… ──► subscribers

The value of a put begins with the time at which it was due, by the clock that all processes of this
machine share. Subscribers are bare SUB sockets, which nodes feed as they feed watches; an event
that a node dropped for a slow subscriber is missed here, where a watch would fetch it from the
history.
"""

import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError, NotSubmittedError
from paxosctl.client.pipeline import Future
from paxosctl.load.connections import Connection, ConnectionPool, make_room
from paxosctl.load.generator import RECEIVES_MAX
from paxosctl.load.keys import KEY_PREFIX
from paxosctl.load.load import Load
from paxosctl.load.recorder import ProcessReport, Recorder, Window
from paxosctl.load.report import LoadReport, merge
from paxosctl.load.usage import Usage
from paxosd.core.events import ChangeEvent, ProgressEvent
from paxosd.host.clock import clock_ns
from paxosd.wire import WireError
from paxosd.wire.events import decode_event

VERB_WATCH = "watch"
PREFIX = KEY_PREFIX + b"watch/"
TOPICS = (b"kv/" + PREFIX, b"progress/" + PREFIX)
"""In this order: a node that answers the second subscription with its progress knows the first."""
KEYS = 1000
DUE = struct.Struct(">Q")
POLL_S = 0.2
QUIET_S = 2.0
"""After the last put is answered: so long without an event means that the rest is missed."""


class FanOut(NamedTuple):
    """``report``: its operations are events. ``missed``: events that did not arrive."""

    report: LoadReport
    puts: int
    missed: int


class _Writer(threading.Thread):
    """Puts at a rate until the time is over. Only this thread uses its client."""

    def __init__(self, endpoints: Sequence[str], load: Load, timeout_s: float) -> None:
        super().__init__(name="bench-writer", daemon=True)
        self._endpoints, self._load, self._timeout_s = endpoints, load, timeout_s
        self.acknowledged = 0
        self.error: ClientError | None = None

    def run(self) -> None:
        """The thread: puts what is due, then waits for all answers."""
        with Client(list(self._endpoints), timeout_s=self._timeout_s) as client:
            try:
                self._write(client)
            except ClientError as error:
                self.error = error

    def _write(self, client: Client) -> None:
        load = self._load
        total = int(load.rate * load.duration_ms / 1000)
        padding = bytes(max(0, load.size - DUE.size))
        pipe = client.pipeline()
        futures: list[Future] = []
        begin_ns = clock_ns()
        for number in range(total):
            due_ns = begin_ns + int(number * 1e9 / load.rate)
            time.sleep(max(0, due_ns - clock_ns()) / 1e9)
            key = b"%s%d" % (PREFIX, number % KEYS)
            futures.append(pipe.put(key, DUE.pack(due_ns) + padding))
            pipe.flush()
        for future in futures:
            if (error := future.error()) is None:
                self.acknowledged += 1
            else:
                self.error = self.error or error


class Subscribers:
    """``load.connections`` of them, on the ``events`` endpoints in turn. Raises NotSubmittedError
    if there are more than this process may have files open, or a node does not answer one."""

    def __init__(self, events: Sequence[str], load: Load, timeout_s: float) -> None:
        make_room(load.connections)
        self._load = load
        self._pool = ConnectionPool(timeout_s)
        try:
            for place in range(load.connections):
                self._pool.subscribe(events[place % len(events)], TOPICS)
            self._wait_for_all(timeout_s)
        except NotSubmittedError:
            self._pool.close()
            raise

    def _wait_for_all(self, timeout_s: float) -> None:
        """Until each has heard of the node's progress, and so gets every later event."""
        heard: set[Connection] = set()
        deadline_ns = clock_ns() + int(timeout_s * 1e9)
        while len(heard) < self._load.connections:
            for connection in self._pool.wait(POLL_S):
                while (parts := connection.receive_parts()) is not None:
                    if isinstance(_event_of(parts), ProgressEvent):
                        heard.add(connection)
            if clock_ns() > deadline_ns:
                missing = self._load.connections - len(heard)
                words = f"{missing} of {self._load.connections} subscriptions had no answer in time"
                raise NotSubmittedError("no_answer", words)

    def run(
        self, writer: _Writer, on_window: Callable[[Window], None]
    ) -> tuple[ProcessReport, int]:
        """Start the writer, and record events until all are here or nothing comes any more; how
        many there were. Closes everything."""
        began_ns = last_ns = clock_ns()
        recorder = Recorder(began_ns, on_window)
        used = Usage()
        used.mark()
        events = 0
        writer.start()
        while True:
            is_written = not writer.is_alive()
            for connection in self._pool.wait(POLL_S):
                for _ in range(RECEIVES_MAX):
                    parts = connection.receive_parts()
                    if parts is None:
                        break
                    event = _event_of(parts)
                    if isinstance(event, ChangeEvent) and event.value is not None:
                        last_ns = clock_ns()
                        (due_ns,) = DUE.unpack_from(event.value)
                        recorder.record(VERB_WATCH, last_ns, last_ns - due_ns, 1)
                        events += 1
                else:
                    self._pool.touched.add(connection)
            recorder.tick(clock_ns())
            if is_written and events >= writer.acknowledged * self._load.connections:
                break
            if is_written and clock_ns() > last_ns + int(QUIET_S * 1e9):
                break
        cpu_ns, delayed_ns = used.since_mark()
        self._pool.close()
        recorder.finish(last_ns)
        if writer.error is not None:
            recorder.fail(writer.error.code, str(writer.error), 0, is_unknown=False)
        report = ProcessReport(began_ns, last_ns, recorder.windows, recorder.failed, False,
                               recorder.first_error, 0, cpu_ns, delayed_ns)  # fmt: skip
        return report, events


def run_fan_out(
    endpoints: Sequence[str],
    events: Sequence[str],
    load: Load,
    timeout_s: float,
    on_progress: Callable[[int], None] = lambda _: None,
) -> FanOut:
    """Subscribe at the ``events`` endpoints, write by a client of ``endpoints``, and measure.
    Raises ClientError if it cannot begin."""
    subscribers = Subscribers(events, load, timeout_s)
    writer = _Writer(endpoints, load, timeout_s)
    part, count = subscribers.run(writer, lambda window: on_progress(window.count))
    missed = max(0, writer.acknowledged * load.connections - count)
    return FanOut(merge(load, [part]), writer.acknowledged, missed)


def _event_of(parts: Sequence[bytes]) -> object:
    """None for what is no event."""
    if len(parts) != 2:
        return None
    try:
        return decode_event(*parts)[1]
    except WireError:
        return None
