"""What a node says first on a connection: whether it takes keys.

    TCP ── signature, version 3 ──► node        (ZMTP 3.1, RFC 37)
        ◄── signature, version, mechanism "NULL" or "CURVE" ──

Where one side has a key and the other has none, libzmq reports that the mechanisms do not fit, or
that the connection broke: whichever comes first, for the other side ends it at the same time. So
before a broken handshake is blamed on a wrong key, the node is asked for its mechanism alone.
"""

import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

from paxosd.host.clock import clock_ms
from paxosd.net.endpoints import Endpoint

HELLO = b"\xff" + bytes(7) + b"\x01\x7f" + b"\x03"
GREETING_BYTES = 64
LOOK_MS = 500
_MECHANISM = slice(12, 32)


class Registers(Protocol):
    """What of :class:`paxosctl.client.transport.Transport` this needs."""

    def mind(self, each: "GreetingLook", *, on: bool) -> None: ...
    def register(self, socket: int, handler: Callable[[], None]) -> None: ...
    def unregister(self, socket: int) -> None: ...


class GreetingLook:
    """Asks at ``target``, a numeric endpoint, once. ``on_end(mechanism)`` is called from the poll;
    "": nothing that is a greeting came in time."""

    def __init__(self, sockets: Registers, target: str, on_end: Callable[[str], None]) -> None:
        self._sockets = sockets
        self._on_end = on_end
        self._until_ms = clock_ms() + LOOK_MS
        self._read = b""
        endpoint = Endpoint.parse(target)
        self._socket: socket.socket | None = socket.socket(endpoint.family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        with contextlib.suppress(OSError):  # it is under way; what comes of it is read
            self._socket.connect((endpoint.host, endpoint.port))
        self._is_sent = False
        # The node speaks first, so that it can be read as soon as it is connected.
        sockets.register(self._socket.fileno(), self._take)
        sockets.mind(self, on=True)

    def tick(self, now_ms: int) -> None:
        """Its time may be over."""
        if now_ms >= self._until_ms:
            self._end("")

    def close(self) -> None:
        """End it without an answer."""
        if self._socket is not None:
            self._sockets.mind(self, on=False)
            self._sockets.unregister(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _take(self) -> None:
        if self._socket is None:
            return
        try:
            if not self._is_sent:
                self._socket.sendall(HELLO)
                self._is_sent = True
            came = self._socket.recv(GREETING_BYTES - len(self._read))
        except BlockingIOError:
            return
        except OSError:
            came = b""
        self._read += came
        if not came:
            self._end("")
        elif len(self._read) == GREETING_BYTES:
            mechanism = self._read[_MECHANISM].rstrip(b"\0")
            self._end(mechanism.decode("ascii", "replace"))

    def _end(self, mechanism: str) -> None:
        self.close()
        self._on_end(mechanism)
