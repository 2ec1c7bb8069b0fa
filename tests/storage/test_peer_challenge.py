"""A new life of a peer shows that it gets what is sent to it, and that the one before has ended."""

import pytest

from paxosd.core.messages import (
    CatchUp,
    Envelope,
    Hello,
    Welcome,
)
from tests.storage.memdisk import MemDisk
from tests.storage.peers import BEAT, NEW, OLD, VOTE, peer_runs, pinned, run_id


@pytest.fixture
def disk():
    return MemDisk()


class TestChallenge:
    """Only who gets what is sent to a peer's address can show what was written there."""

    @pytest.mark.parametrize("pin", [0, -1, OLD])
    def test_a_new_life_has_to_repeat_it(self, disk, pin):
        memory = peer_runs(disk, pin, challenge=7)
        for challenge in (0, 8):
            hello = Hello(OLD, challenge=challenge)
            assert memory.admit("n2", run_id(3), hello) == -1
            assert memory.answer("n2", run_id(3), hello) == Welcome(0, 0, challenge=7)
        assert memory.known("n2") == 0
        assert memory.admit("n2", run_id(3), Hello(OLD, challenge=7)) == run_id(3)
        assert memory.admit("n2", run_id(4), Hello(OLD)) == -1
        assert memory.answer("n2", run_id(4), Hello(OLD)) == Welcome(run_id(3), OLD, challenge=7)
        assert memory.admit("n2", run_id(3), VOTE) == run_id(3)
        assert memory.admit("n2", run_id(4), Hello(OLD, challenge=7)) == run_id(4)

    def test_the_known_life_need_not(self, disk):
        memory = peer_runs(disk, challenge=7)
        memory.admit("n2", run_id(3), Hello(OLD, challenge=7))
        assert memory.admit("n2", run_id(3), Hello(OLD)) == run_id(3)
        memory = peer_runs(disk.crash(), challenge=9)
        for challenge in (0, 7, 9):
            assert memory.admit("n2", run_id(3), Hello(OLD, challenge=challenge)) == run_id(3)
        assert memory.admit("n2", run_id(3), VOTE) == run_id(3)

    def test_what_was_recorded_before_the_start_does_not_hold_it(self, disk):
        peer_runs(disk, challenge=7).admit("n2", run_id(3), Hello(OLD, challenge=7))
        memory = peer_runs(disk.crash(), challenge=9)
        assert memory.admit("n2", run_id(4), Hello(OLD, challenge=7)) == -1
        assert memory.admit("n2", run_id(4), Hello(OLD, challenge=9)) == run_id(4)

    def test_it_takes_more_than_that(self):
        memory = peer_runs(challenge=7)
        memory.admit("n2", run_id(3), Hello(OLD, challenge=7))
        memory.admit("n2", run_id(3), VOTE, 10)
        for starts, directory, mark in ((2, OLD, 10), (4, NEW, 10), (4, OLD, 9)):
            assert memory.admit("n2", run_id(starts), Hello(directory, mark, 7)) == -1

    @pytest.mark.parametrize("pin", [NEW, -1])
    def test_another_directory_that_may_speak_needs_it_too(self, pin):
        memory = peer_runs(challenge=7)
        memory.admit("n2", run_id(3), Hello(OLD, challenge=7))
        pinned(memory, pin)
        assert memory.admit("n2", run_id(1), Hello(NEW)) == -1
        assert memory.admit("n2", run_id(1), Hello(NEW, challenge=7)) == run_id(1)

    @pytest.mark.parametrize("pin", [0, -1, NEW])
    def test_two_that_do_not_hear_each_other_yet_exchange_theirs(self, pin):
        memory = peer_runs(pin=-1, challenge=7)
        memory.admit("n2", run_id(3), Hello(OLD, challenge=7))
        pinned(memory, pin)
        assert memory.admit("n2", run_id(4), Welcome(0, challenge=9)) == 0
        assert memory.known("n2") == run_id(3)

    def test_who_is_asked_to_say_hello_gets_it(self):
        memory = peer_runs(pin=NEW, challenge=7)
        assert memory.admit("n2", run_id(1), BEAT) == 0
        assert memory.answer("n2", run_id(1), BEAT) == Welcome(0, challenge=7)


class TestSilence:
    """Of two that live under one name the one that is heard goes on."""

    SILENCE_MS = 100.0

    @pytest.fixture
    def memory(self):
        memory = peer_runs(silence_ms=self.SILENCE_MS, challenge=70)
        assert memory.admit("n2", run_id(3), Hello(OLD, 0, 70), now_ms=1000.0) == run_id(3)
        return memory

    @staticmethod
    def asks(memory):
        """The challenge that it sends to the address of n2 now."""
        return memory.answer("n2", run_id(9), Hello(OLD)).challenge

    @pytest.mark.parametrize("twin", [run_id(5, 1), run_id(4)])
    def test_a_second_life_is_not_heard_while_the_first_answers(self, memory, twin):
        hello = Envelope("n2", twin, Hello(OLD))
        for start_ms in (1050.0, 1850.0):
            now_ms = start_ms
            assert memory.admit("n2", run_id(3), VOTE, now_ms=now_ms) == run_id(3)
            old = self.asks(memory)
            assert memory.admit("n2", twin, Hello(OLD, 0, old), now_ms=now_ms) == -1
            assert not memory.is_second(hello), "it may have ended a moment ago"
            asked = self.asks(memory)
            assert asked != old
            assert memory.admit("n2", run_id(3), Hello(OLD, 0, asked), now_ms=now_ms) == run_id(3)
            for now_ms in (start_ms + 50, start_ms + 100, start_ms + 700):
                assert memory.admit("n2", twin, Hello(OLD, 0, asked), now_ms=now_ms) == -1
                assert memory.is_second(hello)
        assert memory.known("n2") == run_id(3)

    def test_it_is_once_the_first_does_not(self, memory):
        """Frames of the first that come late, or again, do not keep it alive."""
        assert memory.admit("n2", run_id(4), Hello(OLD, 0, 70), now_ms=1099.0) == -1
        asked = self.asks(memory)
        for now_ms in (1100.0, 1190.0, 1198.0):
            assert memory.admit("n2", run_id(3), VOTE, now_ms=now_ms) == run_id(3)
            assert memory.admit("n2", run_id(3), Hello(OLD, 0, 70), now_ms=now_ms) == run_id(3)
            assert memory.admit("n2", run_id(4), Hello(OLD, 0, asked), now_ms=now_ms) == -1
        assert not memory.is_second(Envelope("n2", run_id(4), Hello(OLD)))
        assert memory.admit("n2", run_id(4), Hello(OLD, 0, asked), now_ms=1199.0) == run_id(4)
        assert memory.admit("n2", run_id(4), VOTE, now_ms=1200.0) == run_id(4)
        assert memory.admit("n2", run_id(3), VOTE, now_ms=1300.0) == -1

    def test_and_at_once_if_the_first_was_silent(self, memory):
        # What is not heard is no sign of life, neither of the one nor of the other.
        memory.admit("n2", run_id(2), VOTE, now_ms=1099.0)
        memory.admit("n2", run_id(2), BEAT, now_ms=1099.0)
        memory.admit("n2", run_id(4), CatchUp(1, 2), now_ms=1099.0)
        memory.admit("n3", run_id(1), VOTE, now_ms=1099.0)
        assert memory.admit("n2", run_id(4), Hello(OLD, 0, 70), now_ms=1100.0) == run_id(4)

    def test_or_once_the_connection_has_closed(self, memory):
        memory.closed("n3")
        assert memory.admit("n2", run_id(4), Hello(OLD, 0, 70), now_ms=1001.0) == -1
        memory.closed("n2")
        assert memory.admit("n2", run_id(4), Hello(OLD, 0, 70), now_ms=1001.0) == run_id(4)
        assert memory.admit("n2", run_id(5), Hello(OLD, 0, 70), now_ms=1002.0) == -1, (
            "that one lives"
        )
        memory.closed("n9")  # no peer any more

    def test_a_directory_that_is_pinned_need_not_wait(self, memory):
        pinned(memory, NEW)
        assert memory.admit("n2", run_id(1), Hello(NEW, 0, 70), now_ms=1001.0) == run_id(1)
        assert memory.admit("n2", run_id(2), Hello(NEW, 0, 70), now_ms=1002.0) == -1

    def test_a_node_that_has_started_has_heard_nobody(self, disk):
        peer_runs(disk).admit("n2", run_id(3), Hello(OLD), now_ms=1000.0)
        memory = peer_runs(disk.crash(), silence_ms=self.SILENCE_MS)
        assert memory.admit("n2", run_id(4), Hello(OLD), now_ms=1001.0) == run_id(4)

    def test_one_that_was_no_peer_for_a_while_is_not_alive(self, memory):
        memory.set_peers({"n3": 0})
        memory.set_peers({"n2": 0, "n3": 0})
        assert memory.admit("n2", run_id(4), Hello(OLD, 0, 70), now_ms=1001.0) == run_id(4)
