"""Quorums: who counts, how many it takes, and which sizes are refused."""

import itertools

import pytest

from paxosd.core.quorum import Quorums

NAMES = [f"n{i}" for i in range(1, 9)]


class TestQuorums:
    @pytest.mark.parametrize("size", range(1, 8))
    def test_any_two_majorities_meet(self, size):
        quorums = Quorums(NAMES[:size])
        masks = [m for m in range(1 << size) if quorums.phase1_met(m)]
        assert masks
        for one, other in itertools.product(masks, masks):
            assert one & other

    @pytest.mark.parametrize("size", range(1, 8))
    def test_every_valid_pair_of_sizes_meets_and_every_other_is_refused(self, size):
        for phase1, phase2 in itertools.product(range(1, size + 2), repeat=2):
            if phase1 + phase2 > size and max(phase1, phase2) <= size:
                quorums = Quorums(NAMES[:size], phase1, phase2)
                ones = [m for m in range(1 << size) if quorums.phase1_met(m)]
                twos = [m for m in range(1 << size) if quorums.phase2_met(m)]
                assert all(one & two for one, two in itertools.product(ones, twos))
            else:
                with pytest.raises(ValueError, match="need not meet"):
                    Quorums(NAMES[:size], phase1, phase2)

    def test_a_read_confirmation_meets_every_phase_1_quorum(self):
        quorums = Quorums(NAMES[:5], phase1=4, phase2=2)
        contacts = [m for m in range(1 << 5) if quorums.contact_met(m)]
        takeovers = [m for m in range(1 << 5) if quorums.phase1_met(m)]
        assert all(a & b for a, b in itertools.product(contacts, takeovers))

    @pytest.mark.parametrize("phase2", [2, 3, 4])
    def test_who_lacks_nobody_is_in_contact(self, phase2):
        quorums = Quorums(NAMES[:5], phase1=6 - phase2, phase2=phase2)
        for mask in range(1 << 5):
            lacks = quorums.contact_lacks(mask)
            assert (lacks == 0) == quorums.contact_met(mask)
            more = [1 << bit for bit in range(5) if not mask >> bit & 1][:lacks]
            assert quorums.contact_met(mask | sum(more))

    @pytest.mark.parametrize(
        ("names", "words"),
        [([], "1 to 7"), (NAMES, "1 to 7"), (["a", "b", "a"], "named twice: a, a, b")],
    )
    def test_bad_voters_are_refused_in_words(self, names, words):
        with pytest.raises(ValueError, match=words):
            Quorums(names)

    def test_bits_follow_the_names_not_the_order_given(self):
        assert Quorums(["c", "a", "b"]).bit == Quorums(["a", "b", "c"]).bit
        assert Quorums(["a", "b"]).bit == {"a": 1, "b": 2}

    def test_who_is_a_voter(self):
        quorums = Quorums(["a", "b"])
        assert quorums.is_voter("a")
        assert not quorums.is_voter("x")

    def test_tolerance_is_what_is_really_there(self):
        quorums = Quorums(NAMES[:5])
        assert [quorums.tolerance(n) for n in range(6)] == [-1, -1, -1, 0, 1, 2]
        assert Quorums(NAMES[:5], phase1=4, phase2=2).tolerance(4) == 0
