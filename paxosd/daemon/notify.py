"""The sd_notify protocol (see ``man sd_notify``), both ends, without a library.

The daemon's end is :class:`Notifier`: datagrams of ``KEY=value`` lines to the socket that
NOTIFY_SOCKET names, a path or, with a leading ``@``, an abstract address. Without that
variable every call does nothing. The other end is :class:`NotifyReceiver`, for ``paxosd dev``.

A notice to the service manager must never stop the daemon: sends don't block, and a failed one
is counted in :attr:`Notifier.failures` and forgotten. READY=1 alone is sent again with the next
:meth:`Notifier.tick`: a service manager whose queue was full would wait for it, and then end the
node.
"""

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping
from pathlib import Path

MESSAGE_BYTES_MAX = 4096


class Notifier:
    """Reports the state of the daemon to the service manager.

    ``watchdog_interval_ms``: how often :meth:`tick` must be called at least; 0: no watchdog
    was asked for.
    """

    def __init__(self, address: str = "", watchdog_interval_ms: int = 0) -> None:
        self.watchdog_interval_ms = watchdog_interval_ms
        self.failures = 0
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._due_ms = 0.0
        self._status = ""
        self._ready_owed = False
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str] | None = None) -> "Notifier":
        """Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and removes them, so that no
        child process speaks in this one's name. The watchdog is fed at half its period.
        """
        environ = os.environ if environ is None else environ
        address = environ.pop("NOTIFY_SOCKET", "")
        period_us = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        if address[:1] not in ("/", "@"):
            address = ""
        mine = not pid or pid == str(os.getpid())
        interval_ms = int(period_us) // 2000 if period_us.isdecimal() and mine and address else 0
        return cls(address, interval_ms)

    @property
    def enabled(self) -> bool:
        """Whether there is a service manager that listens."""
        return self._socket is not None

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is done."""
        self._status = status
        self._ready_owed = not self._send("READY=1", *_status_line(status))

    def status(self, text: str) -> None:
        """One line for people; the same text again is not sent again."""
        if text != self._status:
            self._status = text
            self._send(*_status_line(text))

    def reloading(self) -> None:
        """A reload begins; :meth:`ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """The daemon begins to stop."""
        self._ready_owed = False
        self._send("STOPPING=1", *_status_line(status))

    def extend_timeout(self, by_ms: int, status: str = "") -> None:
        """Start-up or stopping needs this much more time from now on: a long log is read."""
        self._send(f"EXTEND_TIMEOUT_USEC={by_ms * 1000}", *_status_line(status))

    def tick(self, now_ms: float) -> None:
        """Feed the watchdog if it is due. Call from the loop itself, so that a loop that hangs
        is noticed. ``now_ms`` is monotonic.
        """
        if self.watchdog_interval_ms and now_ms >= self._due_ms:
            self._due_ms = now_ms + self.watchdog_interval_ms
            self._send("WATCHDOG=1")
        if self._ready_owed:
            self.ready(self._status)

    def close(self) -> None:
        """Later calls do nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> bool:
        """Whether it was sent, or there is nobody to send it to."""
        if self._socket is None:
            return True
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            self.failures += 1
            return False
        return True


class NotifyReceiver:
    """The service manager's end: a datagram socket at ``path``, readable when a message waits."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if the path is too long or already there."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._socket.bind(str(path))

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def receive(self) -> list[dict[str, str]]:
        """Every message that waits, each as key → value; lines of another form are skipped."""
        messages: list[dict[str, str]] = []
        while True:
            try:
                data = self._socket.recv(MESSAGE_BYTES_MAX)
            except BlockingIOError:
                return messages
            lines = data.decode("utf-8", "replace").split("\n")
            messages.append(dict(line.split("=", 1) for line in lines if "=" in line))

    def close(self) -> None:
        """Closes the socket and removes its path."""
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def _status_line(text: str) -> list[str]:
    """The line of a status, whatever is in it; none for ""."""
    return [f"STATUS={' '.join(text.split())}"] if text else []
