"""The model of the live view: rates, events, who is there."""

import pytest

from paxosctl.top.figures import age, milliseconds, per_second, size, sparkline
from paxosctl.top.rates import rates
from paxosd.core.membership import Membership
from paxosd.core.status import SnapshotStatus
from paxosd.host.bucket_counts import between, percentile_us
from tests.ctl.doctor.sound import MEMBERS
from tests.ctl.top.made import RULE, Looks, leads


@pytest.fixture
def looks():
    looks = Looks()
    looks()
    return looks


def words(model):
    return [event.words for event in model.events]


class TestRates:
    def test_of_a_busy_cluster(self, looks):
        model = looks.busy(writes=100)
        assert model.writes_per_s == 100
        found = model.nodes["n2"].rates
        assert (found.writes, found.slots, found.requests, found.syncs) == (100, 100, 100, 50)
        assert found.sync_p99_us == 4096
        assert list(model.nodes["n2"].writes) == [100] * 5
        assert list(model.operations)[-1] == 100

    def test_by_the_time_that_has_passed(self, looks):
        model = looks(passed_s=4.0, every={"revision": 100})
        assert model.writes_per_s == 25

    def test_a_process_that_was_started_again_has_none_at_first(self, looks):
        looks.busy()
        model = looks(n2={"run_id": 9, "revision": 0, "counters": {}})
        assert model.nodes["n2"].rates is None
        assert min(model.nodes["n2"].writes) == 0
        same = looks.statuses["n1"]
        assert rates(same, same, 0.0) is None

    def test_percentiles_of_what_was_counted_meanwhile(self):
        before, after = {"8": 100, "64": 1}, {"8": 150, "64": 51, "1024": 1}
        assert between(before, after) == {"8": 50, "64": 50, "1024": 1}
        assert between(after, before) == before, "the counts began anew"
        assert between({"32": 1}, {"8": 1}) == {"8": 1}, "so did these"
        assert percentile_us(after, 0.5) == 8
        assert percentile_us(after, 0.99) == 64
        assert percentile_us(after, 1.0) == 1024
        assert percentile_us({}, 0.99) == 0
        assert percentile_us({"x": 3, "9" * 5000: 3}, 0.99) == 0, "another machine sent it"


class TestEvents:
    def test_none_while_nothing_happens(self, looks):
        assert words(looks.busy()) == []

    def test_a_node_falls_silent_and_comes_back(self, looks):
        model = looks(n3=None)
        assert words(model) == ["n3 does not answer: the connection was refused"]
        assert not model.nodes["n3"].answers
        looks(n3=None)
        assert len(model.events) == 1, "it is said once"
        looks()
        assert words(model)[0] == "n3 answers again"

    def test_a_node_is_started_again(self, looks):
        looks(n3=None)
        model = looks(n3={"run_id": 9, "boot_count": 2, "role": "returning"})
        assert words(model)[0] == "n3 was started again (boot count 2): returning"

    def test_another_leader(self, looks):
        model = looks(**leads("n2"))
        assert "n2 leads, ballot 6.n2" in words(model)
        assert "n1: leader → follower" in words(model)
        assert "n3 follows n2" in words(model)

    def test_no_leader(self, looks):
        model = looks(every={"leader": "", "role": "candidate", "elections": 1})
        assert "no leader: n1 was the last one" in words(model)
        assert "n2 began an election" in words(model)
        assert model.leader is None
        assert model.survives is None

    def test_what_all_report_alike_is_said_once(self, looks):
        later = Membership(MEMBERS, epoch=4, slot=300)
        model = looks(every={"membership": later, "epoch": 4, "feature_level": 99,
                             "quota": "full", "applied": 301})  # fmt: skip
        assert sorted(words(model)) == [
            "membership of epoch 4: voters n1, n2 and n3", "the feature level is 99",
            "the quota is reached",
        ]  # fmt: skip

    def test_snapshots_and_faults(self, looks):
        model = looks(n2={"snapshot": SnapshotStatus(slot=90), "fault_count": 1})
        assert words(model) == ["n2 has a snapshot of slot 90", "n2: fault rules 0 → 1"]
        looks(n2={"snapshot": SnapshotStatus(slot=95, installed=1)})
        assert words(model)[0] == "n2 took over a peer's snapshot"


class TestWhoIsThere:
    def test_survives(self, looks):
        assert looks().survives == 1
        down = {"peers": {n: p for n, p in looks.statuses["n1"].peers.items() if n != "n3"}}
        assert looks(n1=down, n3=None).survives == 0

    def test_a_node_that_left_goes_once_it_is_silent(self, looks):
        rest = Membership({n: MEMBERS[n] for n in ("n1", "n2")}, epoch=4, slot=300)
        left = {"membership": rest, "epoch": 4, "applied": 301}
        model = looks(n1=left, n2=left)
        assert "n3" in model.nodes
        looks(n3=None)
        assert "n3" not in model.nodes

    def test_rules_go_with_their_count(self, looks):
        model = looks(n2={"fault_count": 1})
        model.take_rules("n2", (RULE,))
        assert model.nodes["n2"].rules
        looks(n2={"fault_count": 0})
        assert not model.nodes["n2"].rules

    def test_troubles_are_those_of_the_other_verbs(self, looks):
        assert looks().troubles() == []
        model = looks(n3={"memory": "lost", "role": "memory-lost", "votes": False})
        assert "paxosctl member rejoin n3" in model.troubles()[0]


def test_figures():
    assert [per_second(each) for each in (None, 0, 3.21, 1234, 123_456)] == [
        "-", "0", "3.2", "1,234", "123k"]  # fmt: skip
    assert [milliseconds(each) for each in (None, 250, 12_345, 2e6)] == [
        "-", "0.2 ms", "12 ms", "2.0 s"]  # fmt: skip
    assert [size(each) for each in (-1, 5, 88 << 20, 3 << 29)] == ["?", "5B", "88M", "1.5G"]
    assert [age(each) for each in (5, 130, 7200, 864_000)] == ["5s", "2m", "2h", "10d"]


def test_a_picture_shows_the_newest_at_the_right():
    assert sparkline([1, 0, 4, 8], 6) == "  ▂▁▅█"
    assert sparkline([1, 2, 3], 2) == "▆█"
    assert sparkline([0, 0], 2) == "▁▁"
    assert sparkline([], 3) == "   "
    assert sparkline([1], 0) == ""
