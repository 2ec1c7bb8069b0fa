"""Host names to addresses, without making any loop wait.

    loop ── name(host), refresh(host) ──► Lookups: a thread for each name that is looked up
    loop ◄── wake_fd, poll() ◄── addresses, or why there are none

``getaddrinfo`` knows no deadline: a name server that does not answer holds its caller for many
seconds. So the rules are:

1. Sockets are given numeric addresses only, for ZeroMQ would resolve names in its one I/O thread,
   and every peer would wait for the slowest name server.
2. A name is looked up in a thread of its own, and at most one lookup of a name is under way in the
   whole process, so that hanging ones do not pile up. The threads are daemon threads: none of them
   keeps the process from its end. An address needs no thread.
3. The last good addresses of a name stay in use when a later lookup fails or hangs. An answer that
   comes after its deadline still counts.
4. The owner of a connection that broke asks for a *refresh*. Refreshes of one name are spread out,
   from RETRY_MS up to RETRY_MS_MAX while nothing changes.
"""

import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import NamedTuple

from paxosd.host.clock import clock_ms
from paxosd.net.endpoints import is_address, plain_address

LOOKUP_MS_MAX = 5000
"""After so long a lookup counts as failed, until its answer comes after all."""
RETRY_MS = 500
RETRY_MS_MAX = 10_000
LOOKUPS_MAX = 64
"""Lookups under way in one process; more of them wait their turn."""
ADDRESSES_MAX = 16
"""So many addresses of one name are used."""

NO_HOST = "there is no such host"
UNRESOLVED = "the name"
"""So begin the words of :func:`unresolved_words`."""
SILENT = "the name server does not answer"

_UNKNOWN_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class ResolveError(OSError):
    """A name has no address; the text says why."""


LookUp = Callable[[str], tuple[str, ...]]
"""The addresses of a host, the best first; raises ResolveError. It may take as long as it likes."""
OnAnswer = Callable[[str, "tuple[str, ...] | ResolveError"], None]


def system_addresses(host: str) -> tuple[str, ...]:
    """What this machine's resolver says, in the order that it prefers (RFC 6724)."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        words = NO_HOST if error.errno in _UNKNOWN_NAME else str(error.strerror or error).lower()
        raise ResolveError(SILENT if error.errno == socket.EAI_AGAIN else words) from None
    except (OSError, UnicodeError) as error:
        raise ResolveError(str(error)) from None
    addresses = []
    for family, _, _, _, where in found:
        if family in (socket.AF_INET, socket.AF_INET6):
            address = str(where[0])
            if family == socket.AF_INET6 and len(where) == 4 and where[3] and "%" not in address:
                address += f"%{where[3]}"  # a link-local address means nothing without its zone
            addresses.append(plain_address(address))
    if not addresses:
        raise ResolveError(NO_HOST)
    return tuple(dict.fromkeys(addresses))[:ADDRESSES_MAX]


class Lookups:
    """Runs lookups in threads: one a name, LOOKUPS_MAX in all. May be used from any thread."""

    def __init__(self, look_up: LookUp = system_addresses) -> None:
        self.look_up = look_up
        self._lock = threading.Lock()
        self._running: dict[str, list[OnAnswer]] = {}
        self._waiting: deque[str] = deque()
        """The names of ``_running`` that have no thread yet."""

    @property
    def under_way(self) -> int:
        """How many names are being looked up, or wait for it."""
        with self._lock:
            return len(self._running)

    def ask(self, host: str, on_answer: OnAnswer) -> None:
        """Look the name up, or share the lookup under way. ``on_answer`` is called once, in
        another thread, at some later time."""
        with self._lock:
            if (listeners := self._running.get(host)) is not None:
                listeners.append(on_answer)
                return
            self._running[host] = [on_answer]
            if len(self._running) - len(self._waiting) > LOOKUPS_MAX:
                self._waiting.append(host)
                return
        self._start(host)

    def forget(self) -> None:
        """To be called in a child after ``fork``: the threads are the parent's."""
        self.__init__(self.look_up)  # type: ignore[misc] # the state of a new one, lock included

    def _start(self, host: str) -> None:
        following: str | None = host
        while following is not None:
            name = f"paxosd-name-{following}"
            thread = threading.Thread(target=self._work, args=(following,), name=name, daemon=True)
            try:
                thread.start()
                return
            except RuntimeError as error:  # the machine has no room for a thread
                following = self._end(following, ResolveError(str(error)))

    def _work(self, host: str) -> None:
        following: str | None = host
        while following is not None:
            host = following
            try:
                answer: tuple[str, ...] | ResolveError = self.look_up(host)
            except ResolveError as error:
                answer = error
            except BaseException as error:  # noqa: BLE001 - those who wait must get an answer
                answer = ResolveError(f"{type(error).__name__}: {error}")
            following = self._end(host, answer)

    def _end(self, host: str, answer: "tuple[str, ...] | ResolveError") -> str | None:
        """Give the answer to all who asked; returns the name that is next."""
        with self._lock:
            listeners = self._running.pop(host)
            following = self._waiting.popleft() if self._waiting else None
        for on_answer in listeners:
            on_answer(host, answer)
        return following


LOOKUPS = Lookups()
"""The lookups of this process."""
os.register_at_fork(after_in_child=LOOKUPS.forget)


class Name:
    """What is known of one host name. ``addresses``: the last good answer, () before the first;
    ``error``: why the last lookup gave none, "" if it did."""

    __slots__ = ("addresses", "ask_due_ms", "asked_ms", "error", "host", "pending", "wait_ms")

    def __init__(self, host: str) -> None:
        self.host = host
        self.addresses: tuple[str, ...] = ()
        self.error = ""
        self.pending = False
        self.asked_ms = 0
        self.ask_due_ms = 0
        self.wait_ms = RETRY_MS


class News(NamedTuple):
    """Something about a name is not as it was: other addresses, or a failure (``error``)."""

    host: str
    before: tuple[str, ...]
    addresses: tuple[str, ...]
    error: str


class Resolver:
    """The names of one loop: never waits, and is used by one thread. ``wake_fd`` becomes readable
    when there is something for :meth:`poll`."""

    def __init__(
        self, lookups: Lookups | None = None, now_ms: Callable[[], int] = clock_ms
    ) -> None:
        self._lookups = lookups if lookups is not None else LOOKUPS
        self._now_ms = now_ms
        self._names: dict[str, Name] = {}
        self._mailbox = _Mailbox()
        self.wake_fd = self._mailbox.wake_fd

    def __iter__(self) -> Iterator[Name]:
        return iter(list(self._names.values()))

    def name(self, host: str) -> Name:
        """What is known of a name; the first time that it is asked for, it is looked up."""
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = Name(host)
            self.refresh(name)
        return name

    def refresh(self, name: Name, *, age_ms: int = 0) -> None:
        """Look it up anew, unless that is under way, or was done less than ``age_ms`` or the
        name's present pause ago."""
        now_ms = self._now_ms()
        if name.pending or now_ms < max(name.ask_due_ms, name.asked_ms + age_ms if age_ms else 0):
            return
        name.pending = True
        name.asked_ms = now_ms
        self._lookups.ask(name.host, self._mailbox.put)

    def poll(self) -> list[News]:
        """Take the answers that have come, and give up on those that are late."""
        news = []
        now_ms = self._now_ms()
        for host, answer in self._mailbox.take():
            name = self._names[host]
            name.pending = False
            name.ask_due_ms = now_ms + name.wait_ms
            name.wait_ms = min(2 * name.wait_ms, RETRY_MS_MAX)
            if isinstance(answer, ResolveError):
                news += self._failed(name, str(answer))
            else:
                news += self._resolved(name, answer)
        for name in self._names.values():
            if name.pending and not name.error and now_ms - name.asked_ms >= LOOKUP_MS_MAX:
                news += self._failed(name, SILENT)
        return news

    def hasten(self, name: Name) -> None:
        """A connection broke: a new reason to look the name up soon."""
        name.wait_ms = RETRY_MS
        name.ask_due_ms = min(name.ask_due_ms, name.asked_ms + RETRY_MS)

    def keep(self, hosts: set[str]) -> None:
        """Forget all other names, but for those that are being looked up now."""
        for host in [h for h, n in self._names.items() if h not in hosts and not n.pending]:
            del self._names[host]

    def close(self) -> None:
        """Nothing is waited for: what still comes is dropped."""
        self._mailbox.close()

    @staticmethod
    def _resolved(name: Name, addresses: tuple[str, ...]) -> list[News]:
        before, failed = name.addresses, name.error
        name.addresses, name.error = addresses, ""
        if set(before) == set(addresses):  # many name servers turn the order each time
            return [News(name.host, before, addresses, "")] if failed else []
        name.wait_ms = RETRY_MS
        return [News(name.host, before, addresses, "")]

    @staticmethod
    def _failed(name: Name, error: str) -> list[News]:
        if name.error == error:
            return []
        name.error = error
        return [News(name.host, name.addresses, name.addresses, error)]


class _Mailbox:
    """From the threads to the loop. The lock keeps a late thread from writing to a descriptor
    that is closed, and may be another file's by then."""

    def __init__(self) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._answers: list[tuple[str, tuple[str, ...] | ResolveError]] = []
        self._closed = False

    def put(self, host: str, answer: "tuple[str, ...] | ResolveError") -> None:
        with self._lock:
            if not self._closed:
                self._answers.append((host, answer))
                os.eventfd_write(self.wake_fd, 1)

    def take(self) -> list[tuple[str, "tuple[str, ...] | ResolveError"]]:
        with self._lock:
            if not self._answers:
                return []
            os.eventfd_read(self.wake_fd)
            answers, self._answers = self._answers, []
            return answers

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.wake_fd)


def resolve(host: str, timeout_s: float, lookups: Lookups | None = None) -> tuple[str, ...]:
    """The addresses of a host, for callers that may wait ``timeout_s``. An address has itself.
    Raises ResolveError."""
    if is_address(host):
        return (host,)
    answers: SimpleQueue[tuple[str, ...] | ResolveError] = SimpleQueue()
    (lookups or LOOKUPS).ask(host, lambda _, answer: answers.put(answer))
    try:
        answer = answers.get(timeout=max(0.0, timeout_s))
    except Empty:
        raise ResolveError(f"{SILENT} within {timeout_s:g} s") from None
    if isinstance(answer, ResolveError):
        raise answer
    return answer


def unresolved_words(host: str, error: str) -> str:
    """Words for an operator: a name has no address."""
    return f"{UNRESOLVED} {host} cannot be resolved: {error}"
