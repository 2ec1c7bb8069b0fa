"""A peer of a version that does not report its limits, and takes smaller frames than this node."""

from contextlib import contextmanager

import pytest
import zmq

from paxosd.bus.large_frames import LEAST_BYTES, PASSED_MS, TIMES, LargeFrames
from paxosd.bus.peer_sender import OwnFrameLimit
from paxosd.core.messages import Accept
from paxosd.core.types import Ballot
from tests.bus.harness import Clock, World, heartbeat, until

MIB = 1 << 20
BALLOT = Ballot(1, "n1")
LARGE = Accept(BALLOT, 1, bytes(2 * MIB), 0)
FITS = Accept(BALLOT, 2, bytes(LEAST_BYTES - 200), 0)


@contextmanager
def old_peer(frame_bytes_max=LEAST_BYTES):
    """A bus, and in the place of its peer a socket that takes frames of this size at most. The
    bus reports in ``bus.reported`` which peer ended the connection over frames of which size."""
    with World() as world:
        there = world.context.socket(zmq.ROUTER)
        there.setsockopt(zmq.LINGER, 0)
        there.setsockopt(zmq.MAXMSGSIZE, frame_bytes_max)
        there.bind(world.where["n2"]["peer"])
        world.sockets.append(there)
        reported = []
        limits = OwnFrameLimit()
        limits.cut_off = lambda name, size: reported.append((name, size))
        bus = world.start("n1", limits=limits)
        bus.reported = reported
        until(lambda: bus.send("n2", heartbeat()), "a connection")
        yield world, bus, there


def taken(there):
    """The sizes of the frames that have come."""
    sizes = []
    while there.poll(0):
        sizes.append(len(there.recv_multipart()[-1]))
    return sizes


class TestCut:
    def test_a_peer_that_ends_the_connection_over_large_frames_is_named(self):
        with old_peer() as (world, bus, there):
            until(lambda: bus.reported, "its being noticed", lambda: bus.send("n2", LARGE))
            ((name, size),) = bus.reported
            assert name == "n2"
            assert size > 2 * MIB
            (line,) = world.logs["n1"].of("bus.frames_cut")
            assert line["to"] == "n2"
            assert line["frame_bytes"] == size
            assert "limits.message_bytes_max" in line["advice"]
            assert "Upgrade it" in line["advice"]
            assert all(each <= LEAST_BYTES for each in taken(there))
            # What every node takes still gets there.
            got = []
            until(
                lambda: max(got, default=0) > LEAST_BYTES - 300,
                "a frame that fits",
                lambda: (bus.send("n2", FITS), got.extend(taken(there))),
            )

    def test_one_that_takes_them_is_not(self):
        with old_peer(64 * MIB) as (world, bus, there):
            got = []
            until(
                lambda: len([each for each in got if each > 2 * MIB]) > 2 * TIMES,
                "large frames",
                lambda: (bus.send("n2", LARGE), got.extend(taken(there))),
            )
            assert bus.reported == []
            assert world.logs["n1"].of("bus.frames_cut") == []

    def test_the_process_that_comes_after_it_is_counted_anew(self):
        with old_peer() as (_, bus, there):
            frames = bus._sender._large_frames
            for _ in range(TIMES - 1):
                frames.sent("n2", 2 * MIB, 0)
                assert not frames.ended("n2")
            there.close(0)
            until(lambda: (bus.poll(10), bus.disconnected())[1] == ["n2"], "its end")
            frames.sent("n2", 2 * MIB, 0)
            assert not frames.ended("n2")

    def test_frames_that_every_node_takes_are_no_reason(self):
        with old_peer(MIB) as (_, bus, _):  # no node has such a limit
            for _ in range(20):
                bus.send("n2", FITS)
                until(lambda: bus.send("n2", heartbeat()), "the swift connection")
            assert bus.reported == []


class TestCounting:
    @pytest.fixture
    def frames(self):
        return LargeFrames()

    def test_so_many_times_in_a_row(self, frames):
        for number in range(1, TIMES + 1):
            frames.sent("n2", 2 * MIB + number, 0)
            assert frames.ended("n2") == (2 * MIB + TIMES if number == TIMES else 0)

    def test_a_connection_that_ends_without_a_large_frame_says_nothing(self, frames):
        for _ in range(3 * TIMES):
            assert frames.ended("n2") == 0

    def test_one_that_was_taken_begins_the_count_anew(self, frames):
        clock = Clock()
        for number in range(3 * TIMES):
            if number % (TIMES - 1) == 0:
                frames.sent("n2", 2 * MIB, clock.ms)
                clock.ms += PASSED_MS
            frames.sent("n2", 2 * MIB, clock.ms)
            assert frames.ended("n2") == 0

    def test_another_process_begins_anew_and_peers_are_counted_apart(self, frames):
        for _ in range(TIMES - 1):
            frames.sent("n2", 2 * MIB, 0)
            frames.ended("n2")
        frames.sent("n3", 2 * MIB, 0)
        assert frames.ended("n3") == 0
        frames.forget("n2")
        frames.sent("n2", 2 * MIB, 0)
        assert frames.ended("n2") == 0
