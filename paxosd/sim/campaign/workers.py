"""Many seeds on all cores: what each gave, in the order of the seeds.

    parent ── seed ──► worker process: work(seed) ── result ──► parent, in order, to the caller
              EOF  ──► the worker ends

Processes are spawned, so nothing of the parent (threads, locks, open files) comes along; ``work``
and its results must be picklable. A worker that dies takes one seed with it, which is reported as
:class:`Crashed`; another worker takes its place. Ctrl-C reaches the parent alone: it ends the
workers and goes on as KeyboardInterrupt.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Crashed:
    """The run of ``seed`` did not come to an end: an exception, or its process died."""

    seed: int
    reason: str


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def run_seeds(
    work: Callable[[int], Result],
    seeds: Iterable[int],
    *,
    jobs: int,
    until: Callable[[Result | Crashed], bool] | None = None,
    on_done: Callable[[Result | Crashed], None] | None = None,
) -> Iterator[Result | Crashed]:
    """``work`` of every seed, ``jobs`` at a time, given out in the order of ``seeds``.

    ``until``: the first result, in that order, of which this is true is the last. ``on_done``:
    called as runs end, in whatever order. With one job the runs are made in this process.
    """
    if jobs <= 1:
        for seed in seeds:
            result = attempt(work, seed)
            if on_done is not None:
                on_done(result)
            yield result
            if until is not None and until(result):
                return
        return
    pool = _Pool(work, deque(enumerate(seeds)), until, on_done)
    try:
        yield from pool.run(jobs)
    finally:
        pool.close()


def attempt(work: Callable[[int], Result], seed: int) -> Result | Crashed:
    """The result, or the exception in words."""
    try:
        return work(seed)
    except Exception:  # noqa: BLE001 - whatever it is belongs to this seed, not to the campaign
        return Crashed(seed, traceback.format_exc())


def _serve(work: Callable[[int], Result], pipe: Connection) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            pipe.send(attempt(work, pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has no more, or is gone


@dataclass(slots=True, eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    place: int = -1
    """Of the seed at work in the order of seeds; -1: idle."""
    seed: int = 0


class _Pool(Generic[Result]):
    """``todo``: (place, seed) not handed out yet."""

    def __init__(
        self,
        work: Callable[[int], Result],
        todo: deque[tuple[int, int]],
        until: Callable[[Result | Crashed], bool] | None,
        on_done: Callable[[Result | Crashed], None] | None,
    ) -> None:
        self._work = work
        self._todo = todo
        self._until = until
        self._on_done = on_done
        self._workers: list[_Worker] = []
        self._done: dict[int, Result | Crashed] = {}
        self._count = len(todo)

    def run(self, jobs: int) -> Iterator[Result | Crashed]:
        """Results in order; ends early where ``until`` says so."""
        for _ in range(min(jobs, len(self._todo))):
            self._workers.append(_start(self._work))
            self._hand_out(self._workers[-1])
        place = 0
        while place < self._count:
            while place not in self._done:
                self._collect()
            yield self._done.pop(place)
            place += 1

    def _hand_out(self, worker: _Worker) -> None:
        if self._todo:
            worker.place, worker.seed = self._todo.popleft()
            with suppress(OSError):  # it is dead, as the next look at its pipe will show
                worker.pipe.send(worker.seed)

    def _collect(self) -> None:
        """Wait until some worker has ended its run, or has died; give it the next."""
        busy: dict[Any, _Worker] = {w.pipe: w for w in self._workers if w.place >= 0}
        for pipe in wait(list(busy)):
            worker = busy[pipe]
            place, worker.place = worker.place, -1
            result: Result | Crashed
            try:
                result = worker.pipe.recv()
            except (EOFError, OSError):
                result = Crashed(worker.seed, _epitaph(worker.process))
                worker.pipe.close()
                self._workers.remove(worker)
                worker = _start(self._work)
                self._workers.append(worker)
            self._take(place, result)
            self._hand_out(worker)

    def _take(self, place: int, result: Result | Crashed) -> None:
        self._done[place] = result
        if self._on_done is not None:
            self._on_done(result)
        if self._until is not None and place < self._count and self._until(result):
            self._count = place + 1  # what comes later in the order is not wanted any more
            self._todo.clear()

    def close(self) -> None:
        """End every worker, whatever it does."""
        for worker in self._workers:
            worker.pipe.close()
            if worker.place >= 0:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(JOIN_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()


def _start(work: Callable[[int], Result]) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs), daemon=True)
    with _no_interrupt():
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """A process started in here ignores Ctrl-C from its very first instruction."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _epitaph(process: SpawnProcess) -> str:
    process.join(JOIN_S)
    code = process.exitcode
    if code is not None and code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
