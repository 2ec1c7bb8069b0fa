"""What a replica records has the time at which it happened, not that at which its turn began."""

from paxosd.core.messages import Envelope, Heartbeat
from paxosd.core.types import Ballot
from paxosd.recorder.block import Losses, blocks_of, events_of
from paxosd.recorder.recorder import Recorder
from paxosd.replica.recording import Recording


def heartbeat(sender):
    return Envelope(sender, 1, Heartbeat(Ballot(1, "n2"), "n2", 0, 0, 0, 0))


def recorded_us(recorder):
    data = b"".join(recorder.take_blocks(0, 0))
    return [e.mono_us for head, rows in blocks_of(data, Losses()) for e in events_of(head, rows)]


def test_a_message_that_came_within_a_turn_was_not_heard_before_it_was_sent():
    recorder = Recorder("c1", "n1", 1, 7)
    clock = iter([1015.5, 1030.25])
    recording = Recording(recorder, None, None, lambda: next(clock))
    for began_ms in (1000.0, 1020.0):
        recording.begin_turn(began_ms)
        recording.heard(heartbeat("n2"))
        recording.heard(heartbeat("n3"))  # the clock is read once a turn
    assert recorded_us(recorder) == [1_015_500, 1_015_500, 1_030_250, 1_030_250]


def test_in_a_simulated_turn_no_time_passes():
    recorder = Recorder("c1", "n1", 1, 7)
    recording = Recording(recorder, None, None)
    recording.begin_turn(1000.0)
    recording.heard(heartbeat("n2"))
    assert recorded_us(recorder) == [1_000_000]
