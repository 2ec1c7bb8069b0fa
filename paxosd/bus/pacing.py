"""Connections that send what is refused, again and again, are read seldom.

    a frame is refused ──► its connection's allowance, which comes back with time, is less by one
    nothing is left of it ──► the kernel takes nothing from the connection for a while ──► a smaller
                              allowance, and a pause twice as long the next time

libzmq reads every connection, and offers no way to wait with one of them. But a message says by
which descriptor it came, and the kernel drops what comes for a socket with a filter that takes
nothing: the other side's TCP sends again, less and less often, and holds back what it has. Nothing
is lost, and a paused connection costs this node nothing. Where the filter is taken away the stream
goes on.

- Who is never refused is never paused, whatever others do with the same key, or from the same
  address: a connection pays for itself alone. But one that is refused something begins with the
  smaller allowance while another one of its key is paced: else to connect anew would be the way
  out.
- Who is refused now and then (a program without the right that it needs, one of another version)
  is not paused: see :data:`ALLOWANCES`.
- At the events port every subscription counts, for each of them is answered, and libzmq keeps it
  in memory for as long as the connection lasts, with some 50 bytes for each byte of it. A
  connection that has given too many bytes of them is ended, and so is the one that gave most once
  all together gave too many. Who is ended may come back, and its watcher gets from the history what
  it missed.
- A connection is known by its descriptor and the kernel's *cookie* of it, which no other has. A
  frame may be read when its connection has ended and another one has its descriptor. No more such
  frames than libzmq's queue for one connection holds are laid to the wrong one, which is no more
  than its allowance.
- A pause is shorter than the time after which the kernel, on either side, takes the other for dead
  (``net/keepalive.py``).
"""

import ctypes
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

import zmq

from paxosd.bus.sockets import CLIENT_RECEIVE_MAX, PEER_RECEIVE_MAX


class Allowance(NamedTuple):
    """``first``: what a connection may have refused before its first pause; ``per_s``: by how much
    that grows in a second; ``after``: what it has after a pause."""

    first: int
    per_s: int
    after: int


ALLOWANCES: Mapping[str, Allowance] = {
    "peer": Allowance(PEER_RECEIVE_MAX + 100, 50, PEER_RECEIVE_MAX + 1),
    "client": Allowance(300, 50, CLIENT_RECEIVE_MAX + 4),
    "events": Allowance(2000, 500, 500),
}
"""By what listens. At the events port each subscription counts, longer ones more."""
TOPIC_BYTES = 256
"""So much of a subscription counts as one more."""
TOPIC_BYTES_MAX = 1 << 20
"""Of subscriptions on one connection; some 50 MiB of memory."""
TOPIC_BYTES_OF_ALL_MAX = 4 << 20
TOPIC_BYTES_KEPT = 64 << 10
"""Who has given more is remembered for as long as the connection lasts."""
PAUSE_MS, PAUSE_MS_MAX = 250, 2000
FORGET_MS = 30_000
"""Who was refused nothing for so long starts anew."""
CONNECTIONS_MAX = 1024
"""So many connections are remembered; of more, the one that was refused longest ago is not."""
RECEIVE_BYTES = 32 << 10
"""What the kernel keeps for a connection that was paused once; it is handed to this node at the end
of the pause."""

_SO_ATTACH_FILTER, _SO_DETACH_FILTER, _SO_COOKIE = 26, 27, 57
_SRCFD = 2
_TAKE_NOTHING = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0), 8)  # BPF: return 0
_FILTER = struct.pack("@HP", 1, ctypes.addressof(_TAKE_NOTHING))

Cookie = bytes


class _Offender:
    """A connection that was refused something. ``number``: of the port that it came to; ``key``: by
    which it was let in, "": by none."""

    __slots__ = ("allowance", "allowed", "descriptor", "key", "pause_ms", "paused_until_ms",
                 "seen_ms", "topic_bytes")  # fmt: skip

    def __init__(self, descriptor: int, allowance: Allowance, key: str, now_ms: int) -> None:
        self.descriptor = descriptor
        self.allowance = allowance
        self.key = key
        self.allowed: float = allowance.first
        self.seen_ms = now_ms
        self.pause_ms = PAUSE_MS
        """How long the next pause is."""
        self.paused_until_ms = 0
        """0: it is not paused."""
        self.topic_bytes = 0

    @property
    def is_paced(self) -> bool:
        """Whether it was paused and is not forgiven yet."""
        return self.pause_ms > PAUSE_MS

    def charge(self, cost: int, now_ms: int) -> bool:
        """Take so much of its allowance; whether it is to be paused now."""
        if self.paused_until_ms:
            return False  # what it had sent before
        gain = (now_ms - self.seen_ms) * self.allowance.per_s / 1000
        self.allowed = min(self.allowance.first, self.allowed + gain) - cost
        self.seen_ms = now_ms
        return self.allowed < 0


class Pacing:
    """The connections to one bus's sockets that were refused something. Use it in one thread."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        """``numbers``: what listens (peer, client, events) → its port."""
        self._numbers = numbers
        self._offenders: dict[Cookie, _Offender] = {}
        """In order of the last refusal."""
        self._paused: set[Cookie] = set()
        self._paced_of: Counter[str] = Counter()
        """Key → how many of its connections are paced."""
        self._topic_bytes = 0
        """Of all connections that are remembered."""

    def __len__(self) -> int:
        return len(self._offenders)

    def refused(
        self, frame: zmq.Frame, port: str, now_ms: int, cost: int = 1, topic_bytes: int = 0
    ) -> int:
        """A frame that came to a port (peer, client, events) was refused, which counts for
        ``cost``; for how many ms its connection is paused for that from now on, 0: it is not.
        ``topic_bytes``: the size of a subscription."""
        try:
            descriptor = int(frame.get(_SRCFD))
        except zmq.ZMQError:
            return 0
        cookie = _cookie(descriptor, self._numbers[port])
        if not cookie:
            return 0  # it has ended, or is not one to that port
        offender = self._offenders.pop(cookie, None)
        if offender is None:
            offender = self._begin(descriptor, ALLOWANCES[port], _key_of(frame), now_ms)
        self._offenders[cookie] = offender
        if len(self._offenders) > CONNECTIONS_MAX:
            self._forget(next(iter(self._offenders)))
        if topic_bytes and self._ends_for_topics(cookie, offender, topic_bytes):
            return 0
        return self._pause(cookie, offender, now_ms) if offender.charge(cost, now_ms) else 0

    def _ends_for_topics(self, cookie: Cookie, offender: _Offender, topic_bytes: int) -> bool:
        """Count a subscription, and end who has given too much; whether it is this connection."""
        offender.topic_bytes += topic_bytes
        self._topic_bytes += topic_bytes
        if offender.topic_bytes > TOPIC_BYTES_MAX:
            self._end(cookie)
        elif self._topic_bytes > TOPIC_BYTES_OF_ALL_MAX:
            offenders = self._offenders
            for each in [each for each, one in offenders.items() if not _on(one, each, bool)]:
                self._forget(each)  # it has ended by itself
            if self._topic_bytes > TOPIC_BYTES_OF_ALL_MAX:
                self._end(max(offenders, key=lambda each: offenders[each].topic_bytes))
        return cookie not in self._offenders

    def _end(self, cookie: Cookie) -> None:
        _on(self._offenders[cookie], cookie, lambda each: each.shutdown(socket.SHUT_RDWR))
        self._forget(cookie)

    def _begin(self, descriptor: int, allowance: Allowance, key: str, now_ms: int) -> _Offender:
        offender = _Offender(descriptor, allowance, key, now_ms)
        if key and self._paced_of[key]:
            offender.allowed = allowance.after
        return offender

    def _pause(self, cookie: Cookie, offender: _Offender, now_ms: int) -> int:
        if not _on(offender, cookie, _take_nothing):
            offender.allowed = offender.allowance.first  # forbidden here: do not try at every frame
            return 0
        if not offender.is_paced:
            self._paced_of[offender.key] += 1
        pause_ms = offender.pause_ms
        offender.paused_until_ms = now_ms + pause_ms
        offender.pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)
        self._paused.add(cookie)
        return pause_ms

    def tick(self, now_ms: int) -> None:
        """To be called now and then: end the pauses that are over, forget who was quiet."""
        for cookie in list(self._paused):
            offender = self._offenders[cookie]
            if now_ms >= offender.paused_until_ms:
                self._resume(cookie)
                offender.paused_until_ms, offender.allowed = 0, offender.allowance.after
                offender.seen_ms = now_ms
        for cookie, offender in list(self._offenders.items()):
            if now_ms - offender.seen_ms < FORGET_MS:
                break
            if offender.topic_bytes <= TOPIC_BYTES_KEPT or not _on(offender, cookie, bool):
                self._forget(cookie)

    def _resume(self, cookie: Cookie) -> None:
        self._paused.discard(cookie)
        _on(self._offenders[cookie], cookie, _take_all)

    def _forget(self, cookie: Cookie) -> None:
        if cookie in self._paused:
            self._resume(cookie)
        offender = self._offenders.pop(cookie)
        self._topic_bytes -= offender.topic_bytes
        if offender.is_paced:
            self._paced_of[offender.key] -= 1
            if not self._paced_of[offender.key]:
                del self._paced_of[offender.key]


def _key_of(frame: zmq.Frame) -> str:
    with suppress(zmq.ZMQError):
        return str(frame.get("User-Id"))
    return ""  # it came by no key


@contextmanager
def _held(descriptor: int) -> Iterator[socket.socket]:
    """The connection that has this descriptor now, by another one of our own: libzmq may close its
    own at any moment, and then the next connection has it, to a peer even. Raises OSError."""
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        yield connection


def _cookie(descriptor: int, number: int) -> Cookie:
    """What distinguishes this connection to the port ``number`` from all others; b"": there is none
    of this descriptor."""
    with suppress(OSError), _held(descriptor) as connection:
        if connection.getsockname()[1] == number:
            return connection.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
    return b""


def _on(offender: _Offender, cookie: Cookie, do: Callable[[socket.socket], object]) -> bool:
    """Do something with a connection; whether that was done."""
    with suppress(OSError), _held(offender.descriptor) as connection:
        if connection.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8) == cookie:
            do(connection)
            return True  # else another one has its descriptor
    return False


def _take_nothing(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _FILTER)


def _take_all(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
