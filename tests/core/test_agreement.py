"""Comparison of states: who has diverged, what is disputed, by all combinations of few words."""

import itertools

import pytest

from paxosd.core.agreement import (
    CHAIN,
    HEARD_MAX,
    OWN_MAX,
    STATE,
    Agreement,
    Difference,
    Verdict,
)
from paxosd.core.messages import Sample

GRACE_MS = 600
THREE = ("n1", "n2", "n3")
AGREED, DIVERGED, DISPUTED = Verdict.AGREED, Verdict.DIVERGED, Verdict.DISPUTED


def chain(slot, total, kind=CHAIN, version=2):
    return Sample(kind, version, slot, total)


class Scene:
    """n1's view; ``say(slot, n1=1, n2=1)`` is what each says of a slot."""

    def __init__(self, voters=THREE):
        self.agreement = Agreement()
        self.voters = voters
        self.now_ms = 0
        self.sound = True

    def say(self, slot, *, kind=CHAIN, sound=True, **sums):
        for name, total in sums.items():
            if name == "n1":
                self.agreement.note(chain(slot, total, kind))
            else:
                self.agreement.hear(name, [chain(slot, total, kind)], sound=sound)
        return self.verdict()

    def verdict(self, after_ms=0):
        self.now_ms += after_ms
        return self.agreement.judge(self.voters, "n1", self.now_ms, GRACE_MS, sound=self.sound)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_every_combination_of_words(size):
    """Each other voter says the same, says otherwise in one of two ways, or says nothing."""
    names = [f"n{i + 1}" for i in range(size)]
    majority = size // 2 + 1
    for words in itertools.product([None, 1, 2, 3], repeat=size - 1):
        scene = Scene(names)
        said = {name: word for name, word in zip(names[1:], words, strict=True) if word}
        at_once = scene.say(64, n1=1, **said)
        later = scene.verdict(GRACE_MS)
        counts = [[1, *words].count(total) for total in (1, 2, 3)]
        if counts[0] >= majority:
            want = AGREED
        elif max(counts[1:]) >= majority:
            want = DIVERGED
        else:
            want = AGREED if not any(counts[1:]) else DISPUTED
        assert later is want, words
        assert at_once is (AGREED if want is DISPUTED else want), words


class TestATakenOverState:
    """Who has a copy of a state agrees with it: so others are heard before."""

    SAMPLE = Sample(STATE, 1, 64, 7)

    def objectors(self, said, unsound=()):
        agreement = Agreement()
        for name, total in said.items():
            sample = self.SAMPLE._replace(sum=total)
            agreement.hear(name, [sample], sound=name not in unsound)
        return agreement.objectors(self.SAMPLE, ["n1", "n2", "n3"])

    def test_one_that_nobody_speaks_of_may_be_taken_over(self):
        assert self.objectors({}) == []

    def test_one_that_another_voter_has_too(self):
        assert self.objectors({"n2": 7}) == []

    def test_one_objection_is_enough(self):
        assert self.objectors({"n2": 7, "n3": 8}) == ["n3"]

    def test_unless_a_majority_agrees(self):
        assert self.objectors({"n1": 7, "n2": 7, "n3": 8}) == []

    def test_of_those_whose_word_counts(self):
        assert self.objectors({"n2": 7, "n3": 8}, unsound=("n3",)) == []
        assert self.objectors({"n4": 8}) == []


class TestDiverged:
    def test_the_first_slot_known_is_said(self):
        scene = Scene()
        scene.say(64, n1=1, n2=1, n3=1)
        scene.say(128, n1=7, n2=2)
        scene.say(192, n1=8, n2=3)
        assert scene.verdict(GRACE_MS) is DISPUTED
        assert scene.say(192, n3=3) is DIVERGED
        assert scene.agreement.difference == Difference(CHAIN, 128, 7, 2, ("n2", "n3"))

    def test_it_is_for_good(self):
        scene = Scene()
        assert scene.say(64, n1=7, n2=1, n3=1) is DIVERGED
        assert scene.say(128, n1=2, n2=2, n3=2) is DIVERGED
        assert scene.agreement.difference.slot == 64

    @pytest.mark.parametrize("ally", ["n2", "n3"])
    def test_others_are_believed_only_where_nobody_says_the_same(self, ally):
        """One of the two may be the one that has diverged."""
        scene = Scene(("n1",))
        scene.say(64, n1=1, **{"n2": 2, "n3": 2, ally: 1})
        scene.agreement.believe_others()
        assert scene.verdict() is AGREED
        scene.say(128, n1=7, n2=2, n3=3)
        scene.agreement.believe_others()
        assert scene.verdict() is DIVERGED
        assert scene.agreement.difference == Difference(CHAIN, 128, 7, 2, ("n2",))

    def test_a_lower_slot_that_is_compared_later_is_the_first_then(self):
        scene = Scene()
        assert scene.say(128, n1=7, n2=2, n3=2) is DIVERGED
        scene.say(64, n1=6, n2=1, n3=1)
        assert scene.agreement.difference == Difference(CHAIN, 64, 6, 1, ("n2", "n3"))
        scene.say(192, n1=8, n2=3, n3=3)
        scene.say(32, n1=9, n2=4, n3=4, kind=STATE)
        assert scene.agreement.difference.slot == 64

    def test_the_word_of_one_that_is_not_sound_makes_no_majority(self):
        scene = Scene()
        scene.say(64, n1=7, n2=1)
        scene.say(64, n3=1, sound=False)
        assert scene.verdict(GRACE_MS) is DISPUTED
        assert scene.say(128, n3=5) is DIVERGED, "it has its vote back"

    def test_nor_that_of_one_without_a_vote(self):
        scene = Scene(("n1", "n2", "n3", "n4"))
        scene.say(64, n1=7, n2=1, n3=1, n9=1)
        assert scene.verdict(GRACE_MS) is DISPUTED
        scene.voters = ("n1", "n2", "n3")
        assert scene.verdict() is DISPUTED, "nothing is judged again before it is asked for"
        scene.agreement.review()
        assert scene.verdict() is DIVERGED

    def test_a_node_whose_own_word_does_not_count_is_judged_all_the_same(self):
        for me in (True, False):
            scene = Scene(("n2", "n3") if me else THREE)
            scene.sound = me
            assert scene.say(64, n1=7, n2=1, n3=1) is DIVERGED

    def test_two_that_agree_with_a_node_that_lost_its_memory_do_not_make_three(self):
        scene = Scene(("n1", "n2", "n3", "n4", "n5"))
        scene.sound = False
        scene.say(64, n1=1, n2=1, n3=1, n4=2)
        assert scene.verdict(GRACE_MS) is DISPUTED

    def test_other_kinds_and_versions_are_not_compared(self):
        scene = Scene()
        scene.say(64, n1=1, n2=1)
        assert scene.say(64, kind=STATE, n2=9, n3=9) is AGREED
        scene.agreement.hear("n2", [chain(64, 9, version=3)], sound=True)
        scene.agreement.hear("n3", [chain(64, 9, version=3)], sound=True)
        assert scene.verdict(GRACE_MS) is AGREED


class TestDisputed:
    def test_a_later_majority_settles_it(self):
        scene = Scene()
        scene.say(64, n1=1, n3=9)
        assert scene.verdict(GRACE_MS) is DISPUTED
        assert scene.say(128, n1=2, n2=2) is AGREED, "so n2 had the same at 64, too"
        assert not scene.agreement.disputes

    def test_of_another_kind_it_does_not(self):
        scene = Scene()
        scene.say(64, kind=STATE, n1=1, n3=9)
        scene.say(128, n1=2, n2=2)
        assert scene.verdict(GRACE_MS) is DISPUTED, "equal logs, and one of the states is damaged"

    def test_a_word_taken_back_ends_it(self):
        scene = Scene()
        scene.say(64, n1=1, n3=9)
        assert scene.verdict(GRACE_MS) is DISPUTED
        assert scene.say(64, n3=1) is AGREED

    def test_a_member_that_begins_anew_ends_it(self):
        scene = Scene()
        scene.say(64, n1=1, n3=9)
        assert scene.verdict(GRACE_MS) is DISPUTED
        scene.agreement.forget("n3")
        assert scene.verdict() is AGREED

    def test_the_time_runs_from_the_first_word(self):
        scene = Scene()
        scene.say(64, n1=1, n3=9)
        for _ in range(3):
            assert scene.verdict(GRACE_MS / 4) is AGREED
            scene.say(64, n3=9)
        assert scene.verdict(GRACE_MS / 4) is DISPUTED


class TestOdd:
    def test_who_differs_from_the_majority_is_known_until_it_is_made_good(self):
        scene = Scene()
        scene.say(64, n1=1, n2=1, n3=9)
        scene.say(128, n1=2, n2=2, n3=9)
        assert scene.agreement.odd == {"n3": Difference(CHAIN, 64, 1, 9, ("n3",))}
        assert scene.say(192, n1=3, n2=3, n3=3) is AGREED
        assert not scene.agreement.odd


class TestBounds:
    def test_samples_are_forgotten(self):
        scene = Scene()
        for slot in range(1, 3 * HEARD_MAX):
            scene.say(slot, n1=slot, n3=0)
            scene.agreement.hear("n2", [chain(HEARD_MAX * 9 + slot, 1)], sound=True)
        agreement = scene.agreement
        assert len(agreement.own()) == OWN_MAX
        assert all(len(heard) <= HEARD_MAX for heard in agreement._heard.values())
        assert len(agreement.disputes) <= OWN_MAX
