"""The relay: bytes in order, both ways, none lost, none early, and ends passed on."""

import asyncio
import random
from collections import deque

import pytest

from tests.bench import relay
from tests.bench.relay import Direction, Relay, event_loop, pair_of
from tests.processes.ports import free_ports


class FakeLoop:
    """A clock that the test sets, and the calls that wait for it."""

    def __init__(self):
        self.now_s = 0.0
        self.calls = deque()

    def time(self):
        return self.now_s

    def call_at(self, when_s, call):
        self.calls.append((when_s, call))
        return call

    def go_to(self, now_s):
        self.now_s = now_s
        while self.calls and self.calls[0][0] <= now_s:
            self.calls.popleft()[1]()


class FakeTransport:
    def __init__(self):
        self.written, self.is_closed, self.is_paused = b"", False, False

    def write(self, data):
        self.written += data

    def close(self):
        self.is_closed = True

    def is_closing(self):
        return self.is_closed

    def pause_reading(self):
        self.is_paused = True

    def resume_reading(self):
        self.is_paused = False


@pytest.fixture
def direction():
    found = Direction(FakeLoop(), 0.005)
    found.source, found.target = FakeTransport(), FakeTransport()
    found.loop = found._loop
    return found


class TestDirection:
    def test_nothing_arrives_before_it_is_due(self, direction):
        direction.carry(b"a")
        direction.loop.go_to(0.0049)
        assert direction.target.written == b""
        direction.loop.go_to(0.005)
        assert direction.target.written == b"a"

    def test_each_chunk_has_its_own_delay(self, direction):
        direction.carry(b"a")
        direction.loop.go_to(0.004)
        direction.carry(b"b")
        direction.loop.go_to(0.006)
        assert direction.target.written == b"a"
        direction.loop.go_to(0.0091)
        assert direction.target.written == b"ab"

    def test_the_end_comes_after_what_was_sent_before_it(self, direction):
        direction.carry(b"a")
        direction.carry(None)
        assert not direction.target.is_closed
        direction.loop.go_to(0.005)
        assert direction.target.written == b"a"
        assert direction.target.is_closed

    def test_a_full_queue_stops_the_sender_until_there_is_room(self, direction, monkeypatch):
        monkeypatch.setattr(relay, "QUEUED_BYTES_MAX", 3)
        direction.carry(b"abc")
        assert not direction.source.is_paused
        direction.carry(b"d")
        assert direction.source.is_paused
        direction.loop.go_to(0.005)
        assert not direction.source.is_paused
        assert direction.target.written == b"abcd"

    def test_what_came_before_the_other_connection_stood_is_kept(self, direction):
        target, direction.target = direction.target, None
        direction.carry(b"a")
        direction.loop.go_to(1.0)
        direction.target = target
        direction.deliver()
        assert target.written == b"a"


def run(coroutine):
    loop = event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


class TestRelay:
    def test_carries_both_ways_and_ends(self):
        listen, target = free_ports(2)
        seed = random.randrange(1 << 32)
        print("seed", seed)
        data = random.Random(seed).randbytes(300_000)
        seen, over = bytearray(), asyncio.Event()

        async def echo(reader, writer):
            while chunk := await reader.read(65536):
                seen.extend(chunk)
                writer.write(chunk)
            writer.close()
            over.set()

        async def both():
            server = await asyncio.start_server(echo, "127.0.0.1", target)
            relayed = Relay([(("127.0.0.1", listen), ("127.0.0.1", target))], rtt_ms=1.0)
            await relayed.listen()
            reader, writer = await asyncio.open_connection("127.0.0.1", listen)
            writer.write(data)
            back = await reader.readexactly(len(data))
            writer.close()
            await over.wait()  # the end of the stream arrives behind the relay, too
            relayed.close()
            server.close()
            return back

        assert run(both()) == data
        assert bytes(seen) == data

    def test_a_round_trip_takes_no_less_than_it_should(self):
        listen, target = free_ports(2)
        rtt_ms = 20.0

        async def echo(reader, writer):
            writer.write(await reader.read(1))
            await reader.read()
            writer.close()
            over.set()

        over = asyncio.Event()

        async def once():
            server = await asyncio.start_server(echo, "127.0.0.1", target)
            relayed = Relay([(("127.0.0.1", listen), ("127.0.0.1", target))], rtt_ms)
            await relayed.listen()
            reader, writer = await asyncio.open_connection("127.0.0.1", listen)
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            writer.write(b"a")
            await reader.readexactly(1)
            took_ms = (loop.time() - began_s) * 1000
            writer.close()
            await over.wait()
            relayed.close()
            server.close()
            return took_ms

        assert run(once()) >= rtt_ms  # never sooner, however slow the machine

    def test_nobody_behind_it_is_a_connection_that_breaks(self):
        listen, target = free_ports(2)

        async def once():
            relayed = Relay([(("127.0.0.1", listen), ("127.0.0.1", target))], rtt_ms=1.0)
            await relayed.listen()
            reader, writer = await asyncio.open_connection("127.0.0.1", listen)
            try:
                found = await reader.read()
            except ConnectionResetError:
                found = b""
            writer.close()
            relayed.close()
            return found

        assert run(once()) == b""


def test_addresses():
    assert pair_of("127.0.0.1:1=127.0.0.2:2") == (("127.0.0.1", 1), ("127.0.0.2", 2))
    for wrong in ("x", "127.0.0.1:1", "127.0.0.1:1=:2"):
        with pytest.raises(ValueError, match=r"HOST:PORT|invalid literal|is not"):
            pair_of(wrong)
