"""Processes that share a load out.

    parent ── (what each is to do) ──► child     connects, opens its sessions
           ◄─ "ready" ─────────────────
           ── begin_ns ───────────────►          all begin at the same time of the monotonic clock
           ◄─ a number ────────────────          each second: how many commands or events it counted
           ◄─ its report ──────────────

Processes are spawned, so that nothing of the parent's sockets comes along. A child that cannot
begin sends the error instead of "ready"; the parent then ends the others.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, TypeVar

from paxosctl.client.errors import ClientError, NotSubmittedError, RefusedError
from paxosd.host.clock import clock_ns

BEGIN_S = 0.05
"""From the last "ready" to the beginning."""
END_S = 10.0
"""How long an ended child may take to be gone."""

Progress = Callable[[int], None]
"""Called with how many more commands were acknowledged, about once a second."""
Work = Callable[..., Callable[[Connection, int, Progress], object]]
"""Called in the child with its part, it connects and gives what does the work: called with the
pipe, begin_ns and whom to give each second's number, it returns the report, which is no int. Both
can be pickled by their names."""

Report = TypeVar("Report")


class _Failure(NamedTuple):
    """A ClientError on its way to the parent."""

    code: str
    message: str
    is_refusal: bool


@contextmanager
def children(work: Work, parts: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[Connection]]:
    """A process for each of ``parts``, the arguments of ``work``; the parent's ends of their
    pipes. Whatever ends the block, they are gone after it."""
    context = multiprocessing.get_context("spawn")
    processes, pipes = [], []
    try:
        for part in parts:
            own, other = context.Pipe()
            child = context.Process(target=_serve, args=(other, work, part), daemon=True)
            child.start()
            other.close()
            processes.append(child)
            pipes.append(own)
        yield pipes
    except BaseException:
        for child in processes:
            child.terminate()
        raise
    finally:
        for pipe in pipes:
            pipe.close()
        for child in processes:
            child.join(END_S)
            if child.is_alive():
                child.kill()
                child.join()


def wait_ready(pipes: Sequence[Connection]) -> None:
    """Wait until all can begin. Raises the error of one that cannot."""
    for pipe in pipes:
        receive(pipe)


def begin(pipes: Sequence[Connection]) -> int:
    """Have all begin at one moment, which is returned (``clock_ns``)."""
    begin_ns = clock_ns() + int(BEGIN_S * 1e9)
    for pipe in pipes:
        pipe.send(begin_ns)
    return begin_ns


def collect(
    pipes: Sequence[Connection],
    kind: type[Report],
    on_progress: Progress,
    *,
    meanwhile: Callable[[], None] = lambda: None,
    every_s: float | None = None,
) -> list[Report]:
    """The reports of all. ``meanwhile`` is called each time something came, and each ``every_s``.
    Raises NotSubmittedError if one has died."""
    open_pipes, reports = list(pipes), []
    while open_pipes:
        for pipe in wait(open_pipes, every_s):
            assert isinstance(pipe, Connection)
            found = receive(pipe)
            if isinstance(found, kind):
                reports.append(found)
                open_pipes.remove(pipe)
            else:
                assert isinstance(found, int)
                on_progress(found)
        meanwhile()
    return reports


def receive(pipe: Connection) -> object:
    """What a child sent. Raises its error, and NotSubmittedError if it has died."""
    try:
        found: object = pipe.recv()
    except (EOFError, ConnectionResetError):
        words = "a generator process ended without a report; see its message above"
        raise NotSubmittedError("generator_died", words) from None
    if isinstance(found, _Failure):
        kind = RefusedError if found.is_refusal else NotSubmittedError
        raise kind(found.code, found.message)
    return found


def _serve(pipe: Connection, work: Work, part: tuple[Any, ...]) -> None:
    """One child, from its start to its report."""
    # Ctrl-C reaches the whole group; the parent ends its children by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = work(*part)
    except ClientError as error:
        pipe.send(_Failure(error.code, str(error), isinstance(error, RefusedError)))
        return
    pipe.send("ready")
    try:
        begin_ns = pipe.recv()
        pipe.send(run(pipe, begin_ns, pipe.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has given up
