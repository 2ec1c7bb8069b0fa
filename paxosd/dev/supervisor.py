"""Keeps the children of ``paxosd dev`` running and prints what happens to them.

    start ──► starting ──READY=1──► ready ──┐
      ▲          └────────────┬─────────────┘ ends
      │                       ▼
      └── restart_after ── reported ── never, or a code that will not change ──► left down

One thread waits on everything at once: each child's notify socket, each child's pidfd, and
the signals' wake-up socket; no polling. It ends on a signal to stop, or when no child runs
and none will be started again.

Stopping: SIGTERM to all (then SIGCONT, in case one is stopped), a second one to each that begins to
stop, for a leader need not wait for a successor that stops, too; SIGKILL to what is left after
:data:`STOP_TIMEOUT_S` or at once on a second Ctrl-C. A node that is killed loses nothing.
"""

import contextlib
import os
import selectors
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from paxosd.daemon import exits
from paxosd.dev.child import Child, ChildSpec, why_ended

STOP_TIMEOUT_S = 0.8
"""A Ctrl-C is to end all within a second."""
SOCKET_PATH_BYTES_MAX = 107
"""What the kernel takes for a socket's path, less the zero byte at its end."""
SLOW_START_S = 10.0
"""After this the supervisor says once which children are not ready yet."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Supervisor:
    """``say`` prints one line. ``when_ready`` lines are printed once every child was ready.

    ``restart_after_ms`` None: a child that ends is left down.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        *,
        restart_after_ms: int | None,
        say: Callable[[str], object],
        when_ready: Sequence[str] = (),
        stop_timeout_s: float = STOP_TIMEOUT_S,
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._restart_after_ms = restart_after_ms
        self._print = say
        self._when_ready = tuple(when_ready)
        self._stop_timeout_s = stop_timeout_s
        self._selector = selectors.DefaultSelector()
        self._running: dict[str, Child] = {}
        self._restart_at: dict[str, float] = {}
        self._lives = 0
        self._stopping = False
        self._all_ready = False
        self._slow_at: float | None = None
        """When it is to be said which children are not ready yet."""
        self._code = exits.OK
        self._width = max(len(name) for name in self._specs)

    def run(self) -> int:
        """Runs until stopped; the exit code: 0 after a stop, else the last child's.

        Raises NoSocketDirectoryError before anything is started."""
        with (
            _socket_directory() as sockets,
            _signals() as wake_up,
            self._selector,
        ):
            self._sockets = sockets
            self._selector.register(wake_up, selectors.EVENT_READ, self._on_signal)
            self._wake_up = wake_up
            self._began_all = time.monotonic()
            self._slow_at = self._began_all + SLOW_START_S
            try:
                for name in self._specs:
                    self._start(name)
                while not self._stopping and (self._running or self._restart_at):
                    self._turn()
                if not self._stopping:
                    self._say("no node is left running")
            finally:
                self._stop_all()
        return exits.OK if self._stopping else self._code

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._timeout_s()):
            key.data()
        now = time.monotonic()
        due = [] if self._stopping else [n for n, at in self._restart_at.items() if at <= now]
        for name in due:
            del self._restart_at[name]
            self._start(name)
        if self._slow_at is not None and now >= self._slow_at:
            self._slow_at = None
            waiting = [name for name, child in self._running.items() if not child.ready]
            self._say(f"not ready after {SLOW_START_S:g} s: {', '.join(waiting) or 'none left'}")

    def _timeout_s(self) -> float | None:
        due = [at for at in (*self._restart_at.values(), self._slow_at) if at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _start(self, name: str) -> None:
        self._lives += 1
        try:
            child = Child(self._specs[name], self._sockets / f"{self._lives}.sock")
        except OSError as error:
            self._report(name, f"cannot be started: {error}")
            self._code = exits.FAILED
            self._plan_restart(name, exits.FAILED)
            return
        self._running[name] = child
        self._selector.register(
            child.receiver, selectors.EVENT_READ, lambda: self._on_message(name, child)
        )
        self._selector.register(child.pid_fd, selectors.EVENT_READ, lambda: self._on_end(name))

    def _on_message(self, name: str, child: Child) -> None:
        if child.receiver.fileno() < 0:  # it ended earlier in this same turn
            return
        for message in child.receiver.receive():
            status = message.get("STATUS", "")
            if self._stopping and message.get("STOPPING") == "1":
                child.process.send_signal(signal.SIGTERM)
            if message.get("READY") == "1" and not child.ready:
                child.ready = True
                words = f"ready in {child.age_s * 1000:.0f} ms, pid {child.process.pid}"
                self._report(name, f"{words}: {status}" if status else words)
                self._check_all_ready()
            elif status:
                child.status = status
                self._report(name, status)

    def _check_all_ready(self) -> None:
        if self._all_ready or len(self._running) < len(self._specs):
            return
        if all(child.ready for child in self._running.values()):
            self._all_ready = True
            self._slow_at = None
            self._say(f"ready in {time.monotonic() - self._began_all:.1f} s")
            for line in self._when_ready:
                self._say(line)

    def _on_end(self, name: str) -> None:
        child = self._running.pop(name)
        self._on_message(name, child)  # what it said last
        self._selector.unregister(child.receiver)
        self._selector.unregister(child.pid_fd)
        code = child.reap()
        if self._stopping:
            self._report(name, "stopped" if code == exits.OK else f"ended: {why_ended(code)}")
            return
        self._code = code if code > 0 else exits.FAILED
        self._report(name, f"ended: {why_ended(code)}")
        for line in child.last_words() if code > 0 else ():
            self._report(name, f"  {line}")
        if code == exits.OK and child.status.startswith("removed"):
            self._report(name, "left down, for it was removed from the cluster")
        else:
            self._plan_restart(name, code)

    def _plan_restart(self, name: str, code: int) -> None:
        by_hand = self._specs[name].by_hand
        if code in exits.LASTING:
            self._report(
                name, f"left down, for starting it again would fail again; then: {by_hand}"
            )
        elif self._restart_after_ms is None:
            self._report(name, f"left down; to start it: {by_hand}")
        else:
            self._restart_at[name] = time.monotonic() + self._restart_after_ms / 1000
            self._report(name, f"starts again in {self._restart_after_ms / 1000:g} s")

    def _on_signal(self) -> None:
        self._wake_up.recv(64)
        if self._stopping:
            self._kill()
            return
        self._stopping = True
        self._say("stopping")

    def _stop_all(self) -> None:
        """Also the way out after an error: whatever happens, no child is left behind."""
        self._stopping = True if self._running else self._stopping
        for child in self._running.values():
            child.process.send_signal(signal.SIGTERM)
            child.process.send_signal(signal.SIGCONT)
        give_up_at = time.monotonic() + self._stop_timeout_s
        while self._running:
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                self._say(f"still running, so killed: {', '.join(self._running)}")
                self._kill()
                left_s = self._stop_timeout_s
                give_up_at = time.monotonic() + left_s
            for key, _ in self._selector.select(left_s):
                key.data()

    def _kill(self) -> None:
        for child in self._running.values():
            child.process.send_signal(signal.SIGKILL)

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the reader has gone: the cluster goes on
            self._print(line)

    def _report(self, name: str, words: str) -> None:
        clock = datetime.now().strftime("%H:%M:%S.%f")[:-3]
        self._say(f"{clock}  {name:<{self._width}}  {words}")


class NoSocketDirectoryError(Exception):
    """There is no directory for the sockets that the nodes report to (exit code 78)."""


@contextlib.contextmanager
def _socket_directory() -> Iterator[Path]:
    """A new directory whose path is short enough for sockets, wherever TMPDIR is."""
    tried = dict.fromkeys([tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), *_SHORT])
    for parent in filter(None, tried):
        longest = os.path.join(parent, "paxosd-dev-12345678", "1234567.sock")
        if len(os.fsencode(longest)) > SOCKET_PATH_BYTES_MAX:
            continue
        with contextlib.suppress(OSError):
            made = tempfile.TemporaryDirectory(prefix="paxosd-dev-", dir=parent)
            break
    else:
        raise NoSocketDirectoryError(
            "the nodes report through sockets, which need a directory with a short path, and none "
            f"can be written to (tried {', '.join(filter(None, tried))}). Set TMPDIR to one"
        )
    with made as directory:
        yield Path(directory)


_SHORT = ("/tmp", "/var/tmp", "/run", "/dev/shm")


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """The stop signals make the yielded socket readable instead of interrupting anything."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    old_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    old = {number: signal.signal(number, lambda *_: None) for number in _STOP_SIGNALS}
    try:
        yield reader
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_fd)
        reader.close()
        writer.close()
