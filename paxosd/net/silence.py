"""Whether the other end of a connection is still there, where the kernel cannot know.

    something was sent, and nothing came back for ASK_MS  → ask something that is answered at once
    nothing came back for SILENCE_MS more                 → dead: make another connection

The kernel's keepalive finds a path that broke. It does not find a process that was stopped, nor a
proxy that swallows what it takes: there the kernel of the next machine acknowledges each byte. And
ZMTP's own heartbeats may not be used (``bus/sockets.py`` says why).

A sign of life is any byte that the kernel received, long before the message is whole that it is
part of: a large answer may take minutes on a slow link. So is a byte that the other end took in
while more waited to be sent.

Pure, but for :func:`traffic_of`.
"""

import array
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from paxosd.core.requests import AdminRequest
from paxosd.net.borrowed import borrowed

ASK_MS = 1000
SILENCE_MS = 3000
LOOK_MS = 250
"""How often to look at a connection from which something is expected."""

ALIVE_ID = (1 << 62) + 1
"""The request id of the requests that ask whether a node is there, and of no others."""
ALIVE = AdminRequest(ALIVE_ID, "alive", {})

_TCP_INFO_BYTES = 256
_ACKED_AND_RECEIVED = struct.Struct("=QQ")
_ACKED_AT = 120  # tcpi_bytes_acked and tcpi_bytes_received, since Linux 4.1


class Traffic(NamedTuple):
    """What a connection has carried so far, in bytes. ``waiting``: was sent and not acknowledged.
    All 0: not known; then only whole messages are signs of life."""

    received: int = 0
    acked: int = 0
    waiting: int = 0


UNKNOWN = Traffic()


def traffic_of(descriptor: int) -> Traffic:
    """The traffic of the TCP connection with this descriptor, which may be closed by now."""
    if descriptor < 0:
        return UNKNOWN
    left = array.array("i", [0])
    with suppress(OSError, struct.error):
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, left)
        with borrowed(descriptor) as connection:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        acked, received = _ACKED_AND_RECEIVED.unpack_from(info, _ACKED_AT)
        return Traffic(received, acked, left[0])
    return UNKNOWN


class Verdict(Enum):
    """The result of :meth:`Silence.look`."""

    FINE = "nothing to do"
    ASK = "send something that is answered at once"
    DEAD = "nobody is there: make another connection"


class Silence:
    """The silence of one connection. Times in ms, on any clock that never goes backward."""

    __slots__ = ("_asked_ms", "_since_ms", "_traffic")

    def __init__(self) -> None:
        self._traffic: Traffic | None = None
        """As of the last look; None: there was none since something was sent."""
        self._since_ms: int | None = None
        """Since when an answer is waited for without a sign of life."""
        self._asked_ms: int | None = None

    @property
    def is_watching(self) -> bool:
        """Whether an answer is waited for, as far as this knows."""
        return self._since_ms is not None

    def sent(self, now_ms: int) -> None:
        """Something was handed to the connection that will be answered. It need not be called while
        :attr:`is_watching`. What was carried before the next look is no sign of life: to ask the
        kernel for it with each request would cost more than that look's delay."""
        if self._since_ms is None:
            self._since_ms, self._traffic = now_ms, None

    def heard(self) -> None:
        """A message came."""
        self._since_ms = self._asked_ms = None

    def look(self, now_ms: int, traffic: Traffic, *, waiting: bool) -> Verdict:
        """To be called every LOOK_MS while something is expected, when all that has come was read.
        ``waiting``: whether an answer is still waited for."""
        before, self._traffic = self._traffic, traffic
        if before is not None:
            taken = traffic.acked != before.acked and traffic.waiting > 0
            if traffic.received != before.received or taken:
                self.heard()
        if waiting and self._since_ms is None:
            self._since_ms = now_ms
        if self._since_ms is None:
            return Verdict.FINE
        if self._asked_ms is None:
            if now_ms - self._since_ms < ASK_MS:
                return Verdict.FINE
            self._asked_ms = now_ms
            return Verdict.ASK
        return Verdict.DEAD if now_ms - self._asked_ms >= SILENCE_MS else Verdict.FINE
