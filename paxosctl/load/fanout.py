"""Fan-out: many subscribers, one writer, and the time from each put to each event of it.

    writer's thread ── put(time, …) ──► leader ──► every node ── kv/bench/watch/… ──► subscribers

The value of a put begins with the time at which it was due, by the clock that all processes of this
machine share. Subscribers are bare SUB sockets, which nodes feed as they feed watches; an event
that a node dropped for a slow subscriber is missed here, where a watch would fetch it from the
history. Puts that are due in the warm-up are made, and neither they nor their events are counted.

Several processes share the subscribers out; the writer stays in the parent, and once it has ended
they are sent how many events there are to be.
"""

import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from typing import NamedTuple

from paxosctl.client.client import Client
from paxosctl.client.credentials import Credentials
from paxosctl.client.errors import ClientError, NotSubmittedError
from paxosctl.client.future import Future
from paxosctl.load.children import Progress, begin, children, collect, wait_ready
from paxosctl.load.connections import Connection, ConnectionPool, make_room
from paxosctl.load.generator import RECEIVES_MAX
from paxosctl.load.keys import KEY_PREFIX
from paxosctl.load.load import VERB_WATCH, Load
from paxosctl.load.recorder import FirstError, ProcessReport, Recorder, Window
from paxosctl.load.report import LoadReport, merge
from paxosctl.load.usage import Usage
from paxosd.core.events import ChangeEvent, ProgressEvent
from paxosd.host.clock import clock_ns
from paxosd.wire import WireError
from paxosd.wire.events import decode_event

PREFIX = KEY_PREFIX + b"watch/"
TOPICS = (b"kv/" + PREFIX, b"progress/" + PREFIX)
"""In this order: a node that answers the second subscription with its progress knows the first."""
KEYS = 1000
DUE = struct.Struct(">Q")
POLL_S = 0.2
QUIET_S = 2.0
"""After the last put is answered: so long without an event means that the rest is missed."""
LOOK_S = 0.1
"""How often the parent looks whether its writer has ended."""


class FanOut(NamedTuple):
    """``report``: its operations are events. ``missed``: events that did not arrive."""

    report: LoadReport
    puts: int
    missed: int


class _Part(NamedTuple):
    """What the subscribers of one process found. ``events``: how many that count arrived."""

    report: ProcessReport
    events: int


class _Writer(threading.Thread):
    """Puts at a rate until the time is over. Only this thread uses its client."""

    def __init__(
        self,
        endpoints: Sequence[str],
        load: Load,
        timeout_s: float,
        credentials: Credentials | None = None,
    ) -> None:
        super().__init__(name="bench-writer", daemon=True)
        self._endpoints, self._load, self._timeout_s = endpoints, load, timeout_s
        self._credentials = credentials
        self._begin_ns = 0
        self._acknowledged = 0
        self.error: ClientError | None = None

    def start_at(self, begin_ns: int) -> None:
        """Start the thread, whose first put is due then."""
        self._begin_ns = begin_ns
        self.start()

    @property
    def acknowledged(self) -> int | None:
        """How many puts that count were acknowledged; None as long as it writes."""
        return None if self.is_alive() else self._acknowledged

    def run(self) -> None:
        """The thread: puts what is due, then waits for all answers."""
        with Client(
            list(self._endpoints), timeout_s=self._timeout_s, key=self._credentials
        ) as client:
            try:
                self._write(client)
            except ClientError as error:
                self.error = error

    def _write(self, client: Client) -> None:
        load = self._load
        warming = int(load.rate * load.warmup_ms / 1000)
        total = warming + int(load.rate * load.duration_ms / 1000)
        padding = bytes(max(0, load.size - DUE.size))
        pipe = client.pipeline()
        futures: list[Future[int]] = []
        first_ns = self._begin_ns + load.warmup_ms * 1_000_000
        for number in range(-warming, total - warming):
            due_ns = first_ns + int(number * 1e9 / load.rate)
            time.sleep(max(0, due_ns - clock_ns()) / 1e9)
            key = b"%s%d" % (PREFIX, number % KEYS)
            future = pipe.put(key, DUE.pack(due_ns) + padding)
            pipe.flush()
            if number >= 0:
                futures.append(future)
        for future in futures:
            if (error := future.error()) is None:
                self._acknowledged += 1
            else:
                self.error = self.error or error


class Subscribers:
    """``load.connections`` of them, on the ``events`` endpoints in turn, from the one at ``place``
    on. Raises NotSubmittedError if there are more than this process may have files open, or a node
    does not answer one."""

    def __init__(
        self,
        events: Sequence[str],
        load: Load,
        timeout_s: float,
        place: int = 0,
        credentials: Credentials | None = None,
    ) -> None:
        make_room(load.connections)
        self._load = load
        self._pool = ConnectionPool(timeout_s, credentials)
        try:
            for number in range(load.connections):
                self._pool.subscribe(events[(place + number) % len(events)], TOPICS)
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
        self,
        begin_ns: int,
        acknowledged: Callable[[], int | None],
        on_window: Callable[[Window], None],
    ) -> _Part:
        """Record events until all are here or nothing comes any more. ``acknowledged``: how many
        puts count, once that is known. Closes everything."""
        measured_ns = begin_ns + self._load.warmup_ms * 1_000_000
        last_ns = measured_ns
        recorder = Recorder(measured_ns, on_window)
        used = Usage()
        events, puts, quiet_ns = 0, None, 0
        while puts is None or (events < puts * self._load.connections and clock_ns() < quiet_ns):
            for due_ns in self._receive():
                if due_ns >= measured_ns:
                    last_ns = clock_ns()
                    recorder.record(VERB_WATCH, last_ns, last_ns - due_ns, 1)
                    events += 1
            now_ns = clock_ns()
            recorder.tick(now_ns)
            if not used.is_marked and now_ns >= measured_ns:
                used.mark()
            if puts is None:
                puts, quiet_ns = acknowledged(), now_ns
            quiet_ns = max(quiet_ns, last_ns + int(QUIET_S * 1e9))
        cpu_ns, delayed_ns = used.since_mark()
        self._pool.close()
        recorder.finish(last_ns)
        report = ProcessReport(
            measured_ns=measured_ns,
            ended_ns=last_ns,
            windows=recorder.windows,
            failed={},
            refused={},
            unknown=False,
            first_error=None,
            unsent=0,
            cpu_ns=cpu_ns,
            delayed_ns=delayed_ns,
        )
        return _Part(report, events)

    def _receive(self) -> Iterator[int]:
        """When the puts were due of which events are here, or come soon."""
        for connection in self._pool.wait(POLL_S):
            for _ in range(RECEIVES_MAX):
                parts = connection.receive_parts()
                if parts is None:
                    break
                event = _event_of(parts)
                if isinstance(event, ChangeEvent) and event.value is not None:
                    yield DUE.unpack_from(event.value)[0]
            else:
                self._pool.touched.add(connection)


def run_fan_out(
    endpoints: Sequence[str],
    events: Sequence[str],
    load: Load,
    timeout_s: float,
    *,
    credentials: Credentials | None = None,
    processes: int = 1,
    on_progress: Progress = lambda _: None,
) -> FanOut:
    """Subscribe at the ``events`` endpoints, write by a client of ``endpoints``, and measure.
    Raises ClientError if it cannot begin."""
    writer = _Writer(endpoints, load, timeout_s, credentials)
    if processes == 1:
        subscribers = Subscribers(events, load, timeout_s, credentials=credentials)
        begin_ns = clock_ns()
        writer.start_at(begin_ns)
        acknowledged = lambda: writer.acknowledged  # noqa: E731 - what a child has a pipe for
        parts = [subscribers.run(begin_ns, acknowledged, lambda window: on_progress(window.count))]
    else:
        shares = [
            (events, load.share(place, processes), timeout_s, place, credentials)
            for place in range(processes)
        ]
        with children(_work, shares) as pipes:
            wait_ready(pipes)
            writer.start_at(begin(pipes))
            parts = collect(
                pipes, _Part, on_progress, meanwhile=_Announcement(writer, pipes), every_s=LOOK_S
            )
    return _found(load, writer, parts)


class _Announcement:
    """Sends the children once how many puts there were, when the writer has ended."""

    def __init__(self, writer: _Writer, pipes: Sequence[Pipe]) -> None:
        self._writer, self._pipes = writer, pipes
        self._is_made = False

    def __call__(self) -> None:
        if self._is_made or (puts := self._writer.acknowledged) is None:
            return
        self._is_made = True
        for pipe in self._pipes:
            with suppress(BrokenPipeError, ConnectionResetError):  # whoever reads it hears of that
                pipe.send(puts)


def _found(load: Load, writer: _Writer, parts: Sequence[_Part]) -> FanOut:
    reports = [part.report for part in parts]
    if writer.error is not None:
        error = FirstError(writer.error.code, str(writer.error))
        reports[0] = reports[0]._replace(failed={error.code: 0}, first_error=error)
    puts = writer.acknowledged
    assert puts is not None
    missed = max(0, puts * load.connections - sum(part.events for part in parts))
    return FanOut(merge(load, reports), puts, missed)


def _work(
    events: Sequence[str],
    load: Load,
    timeout_s: float,
    place: int,
    credentials: Credentials | None,
) -> Callable[[Pipe, int, Progress], _Part]:
    """One child's part."""
    subscribers = Subscribers(events, load, timeout_s, place, credentials)

    def run(pipe: Pipe, begin_ns: int, on_progress: Progress) -> _Part:
        def acknowledged() -> int | None:
            if not pipe.poll():
                return None
            puts: int = pipe.recv()
            return puts

        return subscribers.run(begin_ns, acknowledged, lambda window: on_progress(window.count))

    return run


def _event_of(parts: Sequence[bytes]) -> object:
    """None for what is no event."""
    if len(parts) != 2:
        return None
    try:
        return decode_event(*parts)[1]
    except WireError:
        return None
