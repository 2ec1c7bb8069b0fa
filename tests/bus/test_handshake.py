"""Which key is tried next, when, and what is said: without sockets."""

import errno

import pytest

from paxosd.bus.curve import PLAIN, NodeKeys
from paxosd.bus.handshake import (
    AUTH,
    ENDED_TIMES,
    MISMATCH_VALUE,
    NO_DETAIL,
    PAUSE_MS,
    PAUSE_MS_MAX,
    PROTOCOL,
    Handshake,
)
from paxosd.bus.key_ring import StaticKeyRing
from paxosd.bus.monitors import STANDS
from tests.bus.keyed import Ring, new_key

NEW, OLD = b"n" * 32, b"o" * 32
OWN = new_key()


def handshake(*keys, rollout="done"):
    ring = Ring({"n2": keys})
    made = Handshake(NodeKeys(*OWN, ring, rollout), "n2", "tcp://h:1")
    assert made.expected == (keys[0] if keys else None), "what its sockets are connected with"
    return made, ring


def refuse(shake, now_ms, event=AUTH, value=400):
    shake.take(event, value, now_ms)
    return shake.expected


class TestChoices:
    def test_the_newest_key_first_and_each_in_turn_at_once(self):
        shake, _ = handshake(NEW, OLD)
        assert shake.expected == NEW
        assert refuse(shake, 0) == OLD
        assert shake.take_due(0)
        assert not shake.take_due(1000), "once"
        assert not shake.problem, "a choice is left"
        assert refuse(shake, 1) == NEW
        assert not shake.take_due(1)
        assert shake.take_due(1 + PAUSE_MS)
        assert "does not know this node's key" in shake.problem

    def test_the_pause_doubles_up_to_a_bound_and_a_connection_that_stands_ends_it(self):
        shake, _ = handshake(NEW)
        now_ms, pauses = 0, []
        for _ in range(6):
            refuse(shake, now_ms)
            pauses.append(next(ms for ms in range(10_000) if shake.take_due(now_ms + ms)))
        assert pauses == [250, 500, 1000, 2000, 2000, PAUSE_MS_MAX]
        shake.take(STANDS, 0, now_ms)
        assert not shake.problem
        refuse(shake, now_ms)
        assert shake.take_due(now_ms + PAUSE_MS)

    def test_while_a_cluster_is_switched_over_it_dials_without_a_key_as_well(self):
        shake, _ = handshake(NEW, rollout="listening")
        assert refuse(shake, 0, PROTOCOL, MISMATCH_VALUE) == PLAIN
        assert refuse(shake, 0, PROTOCOL, MISMATCH_VALUE) == NEW
        done, _ = handshake(NEW)
        assert refuse(done, 0, PROTOCOL, MISMATCH_VALUE) == NEW, "and never afterwards"
        assert "takes no keys" in done.problem

    def test_a_node_of_which_no_key_is_known_is_not_dialled_until_one_is(self):
        shake, ring = handshake()
        assert shake.expected is None
        assert "no key of it is known: it was revoked, or never added" in shake.problem
        ring.change(peers={"n2": (NEW,)})
        assert shake.expected == NEW
        assert not shake.problem

    def test_a_node_without_keys_dials_without(self):
        shake = Handshake(None, "n2", "tcp://h:1")
        assert shake.expected == PLAIN
        refuse(shake, 0, PROTOCOL, MISMATCH_VALUE)
        assert "wants a key, and this node has none" in shake.problem

    def test_an_end_within_a_handshake_may_be_chance(self):
        shake, _ = handshake(NEW, OLD)
        for _ in range(ENDED_TIMES - 1):
            assert refuse(shake, 0, NO_DETAIL, 32) == NEW
        shake.take(STANDS, 0, 0)
        for _ in range(ENDED_TIMES - 1):
            assert refuse(shake, 0, NO_DETAIL, 32) == NEW
        assert refuse(shake, 0, NO_DETAIL, 32) == OLD

    def test_one_that_is_silent_has_shown_no_other_key(self):
        """A process that was stopped: the kernel takes its connections."""
        shake, _ = handshake(NEW, OLD)
        for _ in range(3 * ENDED_TIMES):
            assert refuse(shake, 0, NO_DETAIL, errno.EAGAIN) == NEW
        assert not shake.problem

    @pytest.mark.parametrize("sure", [True, False])
    def test_what_a_mismatch_has_shown_is_not_forgotten_over_guesses(self, sure):
        shake, _ = handshake(NEW)
        if sure:
            refuse(shake, 0, PROTOCOL, MISMATCH_VALUE)
        for _ in range(ENDED_TIMES):
            refuse(shake, 0, NO_DETAIL, 32)
        assert ("takes no keys (it" in shake.problem) == sure
        assert ("proved itself by another key" in shake.problem) != sure


def test_the_words_have_no_secret():
    shake = Handshake(NodeKeys(*OWN, StaticKeyRing({"n2": NEW})), "n2", "tcp://h:1")
    refuse(shake, 0)
    assert repr(OWN[1]) not in shake.problem
