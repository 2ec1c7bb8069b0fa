"""How soon the kernel sends again what the network lost: for connections between nodes.

By default a segment is sent again after at least 200 ms, and after twice as long each further time
that it is lost: 0.2, 0.4, 0.8, 1.6 s, up to two minutes. All that is sent later on the connection
waits behind it. On a path that loses 30 % of its packets each way, half of all attempts are not
acknowledged, and a connection stands still for many seconds now and then (``ss -ti`` shows
``backoff``).

    TCP_RTO_MIN_US            The first time-out is the measured round trip, its variation, and at
                              least this. The kernel at the other end, if it has the option, delays
                              its acknowledgements less than this. Linux 6.15.
    TCP_RTO_MAX_MS            No time-out becomes longer than this; less is not allowed. Linux 6.15.
    TCP_THIN_LINEAR_TIMEOUTS  With fewer than four segments on the way the first six time-outs do
                              not double (Documentation/networking/tcp-thin.rst). Linux 2.6.34.
    TCP_CONGESTION            BBR sets no threshold for slow start, without which Linux takes no
                              stream for a thin one; so where BBR is the default, a connection that
                              carries small messages alone gets Reno, which every kernel has.

Time-outs of other connections still double, so that a path that is full is not filled further. A
kernel that lacks an option goes by its own times.
"""

import errno
import socket
from contextlib import suppress

from paxosd.net.borrowed import borrowed

REPEAT_MS_MIN = 20
REPEAT_MS_MAX = 1000

# Numbers of linux/tcp.h: Python's socket module does not name them.
_OPTIONS = {
    "TCP_THIN_LINEAR_TIMEOUTS": (16, 1),
    "TCP_RTO_MAX_MS": (44, REPEAT_MS_MAX),
    "TCP_RTO_MIN_US": (45, REPEAT_MS_MIN * 1000),
}
_UNKNOWN = {errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EINVAL}
_NAME_BYTES = 16
_KEEPS_THRESHOLD = b"bbr"
_SETS_THRESHOLD = b"reno"


def repeat_soon(descriptor: int, *, small: bool = False) -> tuple[str, ...]:
    """Set this for a TCP connection, or for a socket that listens: what it accepts inherits it.
    ``small``: what is sent there are small messages. Returns the names of the options that the
    kernel does not have.

    ``descriptor`` may be ZeroMQ's, closed by now, and its number another file's: what is no TCP
    socket is left alone, and another TCP socket of this process may have these options as well.
    """
    missing: list[str] = []
    with suppress(OSError), borrowed(descriptor) as connection:
        if not _is_tcp(connection):
            return ()
        for name, (option, value) in _OPTIONS.items():
            try:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
            except OSError as error:
                if error.errno in _UNKNOWN:
                    missing.append(name)
        if small:
            _let_be_thin(connection)
    return tuple(missing)


def _let_be_thin(connection: socket.socket) -> None:
    chosen = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_BYTES)
    if chosen.startswith(_KEEPS_THRESHOLD):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _SETS_THRESHOLD)


def missing_options() -> tuple[str, ...]:
    """The names of the options that this kernel does not have."""
    with socket.socket() as unconnected:
        return repeat_soon(unconnected.fileno())


def _is_tcp(connection: socket.socket) -> bool:
    return (
        connection.family in (socket.AF_INET, socket.AF_INET6)
        and connection.type == socket.SOCK_STREAM
        and connection.proto in (0, socket.IPPROTO_TCP)
    )
