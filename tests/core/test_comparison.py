"""One node's part in the comparison: what it says when, whose word it counts."""

import pytest

from paxosd.core.agreement import CHAIN, STATE
from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.comparison import REPEAT_HEARTBEATS, REPEATED, Comparison, chain_after
from paxosd.core.membership import Member, Membership
from paxosd.core.messages import SAMPLES_MAX, Heartbeat, Hello, Sample
from paxosd.core.state.chain import CHAIN_VERSION, MARK_SLOTS, TRAIL_SLOTS
from paxosd.core.state.machine import Machine
from paxosd.core.types import NULL_BALLOT, Ballot
from tests.core.cluster import Cluster
from tests.core.parts import ListMachine, make_context


class Chained(ListMachine):
    """Its chain after a slot is that slot's number and ``more``."""

    def __init__(self, applied=0, level=1):
        super().__init__()
        self.applied, self.more = applied, 1000
        self.settings = ClusterSettings(version=level, level=level)

    def chain_at(self, slot):
        return slot + self.more if self.applied - TRAIL_SLOTS < slot <= self.applied else None


class Scene:
    def __init__(self, applied=0, level=1, size=3):
        self.context = make_context("n1", size)
        self.machine = self.context.machine = Chained(applied, level)
        self.comparison = Comparison(self.context)

    def beat(self, *, sound=True):
        """A heartbeat; the slots of what is said with it."""
        self.changed = self.comparison.check(sound=sound)
        said, self.context.sums = self.context.sums, ()
        return [sample.slot for sample in said]

    def hear(self, name, *slots, more=1000, counts=True, sound=True):
        sums = tuple(Sample(CHAIN, CHAIN_VERSION, slot, slot + more) for slot in slots)
        beat = Heartbeat(NULL_BALLOT, "", 0, 0, 0, 0, sums=sums, sound=sound)
        self.comparison.hear(name, beat, counts=counts)

    @property
    def state(self):
        return self.comparison.status().state

    def logged(self):
        return [notice.event for notice in self.context.outbox.take().notices]


class TestGoesOnFromHere:
    """What a peer sends is taken over only behind the same chain."""

    def test_behind_the_same_chain(self):
        scene = Scene(applied=40)
        assert scene.comparison.goes_on_from_here("n2", chain_after(scene.machine, 40))

    def test_not_behind_another_and_then_both_are_judged(self):
        scene = Scene(applied=40)
        scene.hear("n2")
        scene.hear("n2", 10)
        other = (Sample(CHAIN, CHAIN_VERSION, 40, 7),)
        assert not scene.comparison.goes_on_from_here("n2", other)
        scene.beat()
        scene.context.now_ms += 2 * scene.context.options.election_timeout_ms
        scene.beat()
        assert scene.state == "disputed"

    @pytest.mark.parametrize(
        "before",
        [
            (),
            (Sample(CHAIN, CHAIN_VERSION, 41, 7),),
            (Sample(CHAIN, CHAIN_VERSION + 1, 40, 7),),
            (Sample(STATE, CHAIN_VERSION, 40, 7),),
        ],
    )
    def test_what_cannot_be_compared_is_no_difference(self, before):
        assert Scene(applied=40).comparison.goes_on_from_here("n2", before)

    def test_below_level_1_nothing_is_known(self):
        machine = Machine()
        machine.apply(1, None)
        assert chain_after(machine, 1) == ()


class TestAContradiction:
    """Two values of one slot at one ballot: nobody can say which it is, so the node waits."""

    def test_disputed_until_what_was_chosen_is_applied(self):
        scene = Scene(applied=40)
        scene.context.learner.commit = 40
        scene.beat()
        scene.context.contradict(41, Ballot(1, "n1"), "n2", b"v", b"w")
        scene.beat()
        assert scene.changed
        assert scene.context.disputed
        assert scene.logged() == ["ballot.contradiction", "state.disputed"]
        difference = scene.comparison.status().state_difference
        assert (difference.sum, difference.slot, difference.members) == ("value", 41, ("n2",))
        scene.machine.applied = scene.context.learner.commit = 41
        scene.beat()
        assert not scene.context.disputed
        assert scene.logged() == ["state.agreed"]


class TestSaid:
    def test_agreed_slots_as_they_are_applied_and_the_last_one_while_nothing_happens(self):
        scene = Scene(applied=MARK_SLOTS - 1)
        assert scene.beat() == []
        scene.machine.applied = 3 * MARK_SLOTS + 5
        assert scene.beat() == [MARK_SLOTS, 2 * MARK_SLOTS, 3 * MARK_SLOTS]
        assert scene.beat()[-1] == 3 * MARK_SLOTS + 5

    def test_nothing_at_level_0(self):
        scene = Scene(applied=5000, level=0)
        scene.hear("n2", MARK_SLOTS)
        assert scene.beat() == scene.beat() == []
        assert scene.state == "agreed"

    def test_the_last_ones_again_with_the_next_and_after_a_while(self):
        scene = Scene(applied=30 * MARK_SLOTS)
        first = scene.beat()
        assert len(first) == 30
        assert scene.beat() == []
        scene.machine.applied += MARK_SLOTS
        assert scene.beat() == [*first[-REPEATED:], 31 * MARK_SLOTS]
        said = [scene.beat() for _ in range(REPEAT_HEARTBEATS)]
        assert [slots for slots in said if slots] == [[*first[-REPEATED + 1 :], 31 * MARK_SLOTS]]

    def test_everything_to_one_that_says_hello(self):
        scene = Scene(applied=30 * MARK_SLOTS)
        scene.beat()
        scene.comparison.greet("n2", 7)
        assert len(scene.beat()) == 30

    def test_what_no_heartbeat_has_taken_along_yet_is_kept_and_bounded(self):
        scene = Scene(applied=MARK_SLOTS)
        scene.comparison.check(sound=True)
        scene.machine.applied = 2 * MARK_SLOTS
        assert scene.beat()[0] == MARK_SLOTS
        for _ in range(40):
            scene.comparison.greet("n2", 7)
            scene.machine.applied += 10 * MARK_SLOTS
            scene.comparison.check(sound=True)
        assert len(scene.context.sums) <= SAMPLES_MAX

    def test_its_own_at_any_slot_that_another_tells_of(self):
        """So is a snapshot compared that was taken over, and a node that has just started."""
        scene = Scene(applied=200)
        scene.beat()
        scene.beat()
        scene.hear("n3", 77, 250)
        assert 77 in scene.beat()
        assert scene.beat() == [], "and once, nothing of a slot that it has not applied"

    def test_of_slots_long_past_nothing(self):
        scene = Scene(applied=3 * TRAIL_SLOTS)
        scene.beat()
        scene.hear("n3", 77)
        assert 77 not in scene.beat()


class TestCounted:
    def test_a_difference_from_two_is_told_once(self):
        scene = Scene(applied=MARK_SLOTS)
        scene.hear("n2", MARK_SLOTS, more=5)
        scene.hear("n3", MARK_SLOTS, more=5)
        scene.beat()
        assert scene.changed
        assert (scene.context.diverged, scene.state) == (True, "diverged")
        scene.beat()
        assert not scene.changed
        assert scene.logged() == ["state.diverged"]

    @pytest.mark.parametrize("how", ["counts", "sound"])
    def test_not_from_one_that_has_lost_its_memory(self, how):
        scene = Scene(applied=MARK_SLOTS)
        scene.hear("n2", MARK_SLOTS, more=5)
        scene.hear("n3", MARK_SLOTS, more=5, **{how: False})
        scene.beat()
        assert not scene.context.diverged

    def test_nor_its_own_word_without_a_memory(self):
        scene = Scene(applied=MARK_SLOTS)
        scene.hear("n2", MARK_SLOTS, more=5)
        scene.beat(sound=False)
        scene.context.now_ms += 10_000
        scene.beat(sound=False)
        assert scene.state == "agreed", "one voter alone has said anything that counts"
        assert not scene.context.sound
        scene.beat(sound=True)
        scene.context.now_ms += 10_000
        scene.beat(sound=True)
        assert scene.state == "disputed"

    def test_by_the_membership_in_force(self):
        scene = Scene(applied=MARK_SLOTS)
        scene.hear("n2", MARK_SLOTS, more=5)
        scene.beat()
        assert scene.state == "agreed"
        entries = {name: Member("tcp://h:1", "tcp://h:2", "tcp://h:3") for name in ("n2",)}
        scene.context.membership = Membership(entries, epoch=1, slot=9)
        scene.beat()
        assert scene.state == "diverged"

    def test_a_directory_that_was_made_anew_has_said_nothing(self):
        scene = Scene(applied=MARK_SLOTS)
        scene.context.peers["n2"].directory_id = 7
        scene.hear("n2", MARK_SLOTS, more=5)
        for directory, state in ((7, "disputed"), (8, "agreed")):
            scene.beat()
            scene.comparison.greet("n2", directory)
            scene.context.now_ms += 10_000
            scene.beat()
            assert scene.state == state


def test_whole_nodes_count_the_word_of_members_with_a_memory_alone():
    """What reaches the comparison, by the sender's life: 0 stands for a lost memory."""
    for run_id in (0, 1):
        cluster = Cluster(3, options={"level_target": 1})
        cluster.elect()
        node = cluster.members["n1"].node
        for peer in ("n2", "n3"):
            cluster.members[peer].paused = True
        sample = (Sample(CHAIN, CHAIN_VERSION, 1, 5),)
        node._context.machine.settings = ClusterSettings(version=1, level=1)
        node._comparison._agreement.note(Sample(CHAIN, CHAIN_VERSION, 1, 6))
        beat = Heartbeat(NULL_BALLOT, "", 0, 0, 0, 0, sums=sample)
        node.step("n2", cluster.members["n2"].run_id, beat)
        node.step("n3", run_id and cluster.members["n3"].run_id, beat)
        cluster.run(300)
        assert (node.role == "diverged") == bool(run_id)


def test_whole_nodes_greet_with_all_they_have():
    cluster = Cluster(3, options={"level_target": 1})
    cluster.elect()
    node = cluster.members["n1"].node
    node._context.machine.settings = ClusterSettings(version=1, level=1)
    for slot in range(1, 40):
        node._comparison._agreement.note(Sample(CHAIN, CHAIN_VERSION, slot, 6))
    sizes = []
    cluster.filter = lambda src, dst, message: (
        sizes.append(len(getattr(message, "sums", ()))) or True
    )
    node.step("n2", cluster.members["n2"].run_id, Hello(7))
    cluster.run(300)
    assert max(sizes) >= 39


def test_a_node_without_its_memory_says_that_its_word_does_not_count():
    cluster = Cluster(3, options={"level_target": 1})
    cluster.elect()
    node = cluster.members["n1"].node
    node._context.machine.settings = ClusterSettings(version=1, level=1)
    said = []
    cluster.filter = lambda src, dst, message: (
        said.append(message.sound) if src == "n1" and isinstance(message, Heartbeat) else None,
        True,
    )[1]
    cluster.run(300)
    assert set(said) == {True}
    node._admission.lost = True
    cluster.run(300)
    said.clear()
    cluster.run(300)
    assert set(said) == {False}
