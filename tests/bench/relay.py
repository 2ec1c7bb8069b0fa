"""A relay between TCP connections that delays each direction: a network with a round trip.

    python -m tests.bench.relay --rtt-ms 10 127.0.0.1:7411=127.0.0.2:7411 ...

Listens on the first address of each pair and carries what arrives to the second. Nodes that should
be far from each other listen on the second ones and name each other by the first ones. Half of the
round trip passes in each direction, in order, without loss. The handshake of TCP is not delayed.

It waits with select(2), which takes microseconds: epoll(7) rounds up to whole milliseconds.
"""

import argparse
import asyncio
import contextlib
import selectors
import signal
import sys
from collections import deque

QUEUED_BYTES_MAX = 16 << 20
"""In one direction of a connection. Above this its sender is not read from."""


class Direction:
    """What is on its way in one direction of a connection: chunks, and when each is due."""

    def __init__(self, loop, delay_s):
        self._loop, self._delay_s = loop, delay_s
        self._chunks = deque()
        self._bytes = 0
        self._timer = None
        self.source = self.target = None
        """Transports, set when both connections are made."""

    def carry(self, data):
        """Take a chunk, or None at the end of the stream, to be delivered after the delay."""
        self._chunks.append((self._loop.time() + self._delay_s, data))
        self._bytes += len(data or b"")
        if self._bytes > QUEUED_BYTES_MAX and self.source is not None:
            self.source.pause_reading()
        if self.target is not None and self._timer is None:
            self.deliver()

    def deliver(self):
        """Write what is due, and wait for the next."""
        self._timer = None
        while self._chunks:
            due_s, data = self._chunks[0]
            if due_s > self._loop.time():
                self._timer = self._loop.call_at(due_s, self.deliver)
                return
            self._chunks.popleft()
            if data is None:
                with contextlib.suppress(OSError):
                    self.target.close()
                return
            before, self._bytes = self._bytes, self._bytes - len(data)
            self.target.write(data)
            if before > QUEUED_BYTES_MAX >= self._bytes and not self.source.is_closing():
                self.source.resume_reading()


class End(asyncio.Protocol):
    """One of the two connections of a relayed one."""

    def __init__(self, outward, inward):
        self._outward, self._inward = outward, inward
        """What arrives here goes outward; what comes from the other end arrives by inward."""

    def connection_made(self, transport):
        self._outward.source = self._inward.target = transport
        self._inward.deliver()

    def data_received(self, data):
        self._outward.carry(data)

    def connection_lost(self, _error):
        self._outward.carry(None)


class Entrance(End):
    """The connection that a node made to the relay: it makes the one to the other node."""

    def __init__(self, loop, target, delay_s):
        there, back = Direction(loop, delay_s), Direction(loop, delay_s)
        super().__init__(there, back)
        self._loop, self._target = loop, target
        self._connecting = None

    def connection_made(self, transport):
        super().connection_made(transport)
        self._connecting = self._loop.create_task(self._connect(transport))

    async def _connect(self, transport):
        exit_end = End(self._inward, self._outward)
        try:
            await self._loop.create_connection(lambda: exit_end, *self._target)
        except OSError:
            transport.abort()


class Relay:
    """Relayed addresses. ``pairs``: ((host, port) to listen on, (host, port) to connect to)."""

    def __init__(self, pairs, rtt_ms):
        self._pairs, self._delay_s = pairs, rtt_ms / 2000
        self._servers = []

    async def listen(self):
        """Listen on all addresses. Raises OSError."""
        loop = asyncio.get_running_loop()
        for (host, port), target in self._pairs:
            server = await loop.create_server(
                lambda target=target: Entrance(loop, target, self._delay_s), host, port
            )
            self._servers.append(server)

    def close(self):
        """Listen no more."""
        for server in self._servers:
            server.close()


def event_loop():
    """An event loop with timers of microseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def address_of(text):
    """``host:port`` as a pair. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def pair_of(text):
    """``host:port=host:port`` as a pair of addresses. Raises ValueError."""
    listen, _, target = text.partition("=")
    return address_of(listen), address_of(target)


def main():
    """Relay until SIGTERM or SIGINT; says "ready" on standard output once it listens."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rtt-ms", type=float, required=True)
    parser.add_argument("pairs", nargs="+", type=pair_of, metavar="LISTEN=TARGET")
    options = parser.parse_args()
    loop = event_loop()
    loop.run_until_complete(Relay(options.pairs, options.rtt_ms).listen())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, loop.stop)
    print("ready", flush=True)
    loop.run_forever()
    sys.exit(0)


if __name__ == "__main__":
    main()
