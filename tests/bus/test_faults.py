"""The fault plan: what a rule covers, how it ends, what is refused and with which words."""

import errno
import math
import sys
import threading

import pytest

from paxosd.faults.plan import (
    DELIVER,
    DISK_FINE,
    DROP,
    KINDS,
    RULES_MAX,
    FaultError,
    FaultPlan,
    Verdict,
    parse_rule,
)
from paxosd.faults.rules import MUST
from paxosd.wire import PEER_KIND_NAMES

NODES = ("n1", "n2", "n3")


class Report:
    def __init__(self):
        self.events = []

    def __call__(self, event, fields):
        self.events.append((event, fields))

    def names(self):
        return [(event, fields["fault"]) for event, fields in self.events]


@pytest.fixture
def report():
    return Report()


@pytest.fixture
def plan(report):
    return FaultPlan(report, nodes=NODES, message_kinds=PEER_KIND_NAMES.values())


def good_form(kind):
    """The least that a rule of this kind needs."""
    spec = KINDS[kind]
    args = {"name": kind, "kind": kind} | ({"on": "n1"} if spec.nodes else {"from": "n1"})
    return args | ({"ms": 10} if spec.ms == MUST else {})


def cut(plan, kind="accept", now_ms=0):
    """The paths on which messages of this kind vanish."""
    return {
        sender + receiver
        for sender in NODES
        for receiver in NODES
        if sender != receiver and plan.on_message(sender, receiver, kind, now_ms) == DROP
    }


class TestScope:
    @pytest.mark.parametrize(
        ("args", "paths"),
        [
            ({"kind": "partition", "from": "n1"}, {"n1n2", "n1n3", "n2n1", "n3n1"}),
            ({"kind": "partition", "from": "n1", "to": "n2"}, {"n1n2", "n2n1"}),
            ({"kind": "partition", "from": "n1", "to": "n2", "oneway": True}, {"n1n2"}),
            ({"kind": "partition", "from": "n1", "oneway": True}, {"n1n2", "n1n3"}),
            ({"kind": "partition", "to": "n1", "oneway": True}, {"n2n1", "n3n1"}),
            ({"kind": "partition", "from": "n1, n2", "to": "n3"}, {"n1n3", "n3n1", "n2n3", "n3n2"}),
            ({"kind": "drop", "from": "n1", "to": ["n2"]}, {"n1n2"}),
            ({"kind": "drop", "from": "*", "to": "n2"}, {"n1n2", "n3n2"}),
            ({"kind": "drop", "message_kinds": ["heartbeat"]}, set()),
            ({"kind": "drop", "from": "n1", "message_kinds": "accept,nack"}, {"n1n2", "n1n3"}),
            ({"kind": "isolate", "on": "n1"}, {"n1n2", "n1n3", "n2n1", "n3n1"}),
            ({"kind": "isolate", "on": "*"}, {"n1n2", "n1n3", "n2n1", "n3n1", "n2n3", "n3n2"}),
            ({"kind": "bridge", "on": "n2"}, {"n1n3", "n3n1"}),
            ({"kind": "flap", "from": "n1", "to": "n2", "ms": 10}, {"n1n2", "n2n1"}),
            ({"kind": "flap", "from": "n1", "ms": 10, "oneway": True}, {"n1n2", "n1n3"}),
            ({"kind": "disk-full", "on": "n1"}, set()),
        ],
        ids=lambda each: " ".join(sorted(each)) if isinstance(each, set) else str(each),
    )
    def test_is_what_the_rule_says(self, plan, args, paths):
        plan.add_args({"name": "x", **args}, 0)
        assert cut(plan) == paths

    def test_delays_add_up_and_drop_wins(self, plan):
        plan.add_args({"name": "a", "kind": "delay", "ms": 30, "to": "n2"}, 0)
        plan.add_args({"name": "b", "kind": "delay", "ms": 5}, 0)
        assert plan.on_message("n1", "n2", "accept", 0).delay_ms == 35
        assert plan.on_message("n1", "n3", "accept", 0).delay_ms == 5
        plan.add_args({"name": "c", "kind": "drop", "to": "n2"}, 0)
        assert plan.on_message("n1", "n2", "accept", 0) == DROP


class TestLife:
    def test_active_follows_the_rules(self, plan):
        assert not plan.active
        plan.add_args({"name": "x", "kind": "drop"}, 0)
        assert plan.active
        plan.remove("x", 1)
        assert not plan.active
        assert plan.on_message("n1", "n2", "accept", 2) == DELIVER

    def test_added_first_hit_and_healed_are_told_once(self, plan, report):
        plan.add_args({"name": "x", "kind": "drop", "to": "n2"}, 10)
        for _ in range(3):
            plan.on_message("n1", "n2", "accept", 11)
        plan.on_message("n1", "n3", "accept", 11)
        plan.remove("x", 12)
        assert report.names() == [("fault.added", "x"), ("fault.hit", "x"), ("fault.healed", "x")]
        assert report.events[-1][1]["hits"] == 3
        assert report.events[-1][1]["reason"] == "removed"

    def test_a_rule_ends_at_its_time_to_the_millisecond(self, plan, report):
        plan.add_args({"name": "x", "kind": "drop", "for_ms": 100}, 1000)
        assert plan.list(1040)[0]["left_ms"] == 60
        assert plan.on_message("n1", "n2", "accept", 1099) == DROP
        assert plan.on_message("n1", "n2", "accept", 1100) == DELIVER
        assert not plan.active
        assert report.events[-1][1]["reason"] == "expired"
        plan.add_args({"name": "x", "kind": "drop"}, 1200)  # the name is free again
        assert plan.list(1 << 40)[0]["left_ms"] == -1

    def test_expiry_needs_no_message(self, plan):
        plan.add_args({"name": "x", "kind": "drop", "for_ms": 100}, 1000)
        plan.expire(1100)
        assert not plan.active

    def test_clear_removes_all(self, plan, report):
        for name in "abc":
            plan.add_args({"name": name, "kind": "drop"}, 0)
        assert plan.clear(5) == 3
        assert plan.list(5) == []
        assert not plan.active
        assert report.names()[-3:] == [("fault.healed", name) for name in "abc"]

    def test_list_tells_every_argument_back(self, plan):
        args = {
            "name": "slow",
            "kind": "delay",
            "from": "n1,n2",
            "to": "*",
            "message_kinds": ["accepted"],
            "probability": 0.5,
            "ms": 20,
            "for_ms": 900,
            "seed": 7,
            "oneway": False,
        }
        plan.add_args(args, 100)
        shown = plan.list(100)[0]
        assert {key: shown[key] for key in args} == args
        del shown["left_ms"], shown["hits"]
        assert "on" not in shown
        assert parse_rule(shown).from_ == ("n1", "n2")


class TestChance:
    def draws(self, seed, name="x", others=0):
        plan = FaultPlan()
        for index in range(others):
            plan.add_args({"name": f"other{index}", "kind": "drop", "probability": 0.5}, 0)
        plan.add_args({"name": name, "kind": "delay", "ms": 1, "probability": 0.3, "seed": seed}, 0)
        for _ in range(1000):
            plan.on_message("n1", "n2", "accept", 0)
        return plan.list(0)[-1]["hits"]

    def test_the_same_seed_gives_the_same_draws_whatever_other_rules_do(self):
        assert self.draws(1) == self.draws(1, others=3)
        assert 230 < self.draws(1) < 370

    def test_seed_and_name_both_matter(self):
        counts = {self.draws(seed, name) for seed in range(6) for name in ("x", "y")}
        assert len(counts) > 6


class TestRefusals:
    @pytest.mark.parametrize(
        ("args", "words"),
        [
            ({"kind": "dorp"}, 'did you mean "drop"'),
            ({"kind": None}, "unknown kind"),
            ({"name": ""}, "a name of 1 to 64"),
            ({"name": "a b"}, "a name of 1 to 64"),
            ({"name": "x" * 65}, "a name of 1 to 64"),
            ({"probabilty": 1}, 'unknown argument "probabilty"; did you mean "probability"'),
            ({"from": "n4"}, 'from: unknown node "n4"'),
            ({"to": "n1,,n2"}, "empty or too long"),
            ({"to": 5}, "to is a name"),
            ({"to": [5]}, "to is a name"),
            ({"message_kinds": ["acept"]}, 'did you mean "accept"'),
            ({"probability": 0}, "probability is above 0"),
            ({"probability": 1.5}, "probability is above 0"),
            ({"probability": float("nan")}, "probability is above 0"),
            ({"probability": True}, "probability is above 0"),
            ({"probability": "0.5"}, "probability is above 0"),
            ({"ms": 5}, "drop takes no ms"),
            ({"kind": "delay"}, "delay needs ms"),
            ({"kind": "delay", "ms": 600_001}, "ms is a whole number from 0 to 600000"),
            ({"kind": "delay", "ms": True}, "ms is a whole number"),
            ({"for_ms": -1}, "for_ms is a whole number"),
            ({"seed": 1.0}, "seed is a whole number"),
            ({"oneway": 1}, "oneway is true or false"),
            ({"oneway": True}, "drop takes no oneway"),
            ({"kind": "partition"}, "partition needs from or to"),
            ({"kind": "partition", "to": "n1", "probability": 0.5}, "takes no probability"),
            ({"kind": "partition", "to": "n1", "message_kinds": ["nack"]}, "no message kinds"),
            ({"kind": "clock-skew", "ms": 5}, "clock-skew needs on"),
            ({"kind": "clock-skew", "ms": 5, "from": "n1"}, "clock-skew takes no from or to"),
            ({"kind": "clock-skew", "on": "n1"}, "clock-skew needs ms"),
            ({"kind": "clock-skew", "on": "n1", "ms": 86_400_001}, "from -86400000 to 86400000"),
            ({"kind": "delay", "ms": -5}, "ms is a whole number from 0"),
            ({"on": "n1"}, "drop takes no on: say which paths with from and to"),
            ({"kind": "pause", "on": "n9", "ms": 5}, 'on: unknown node "n9"'),
            ({"kind": "pause", "on": "n1"}, "pause needs ms"),
            ({"kind": "pause", "on": "n1", "ms": 5, "probability": 0.5}, "needs every"),
            ({"kind": "crash", "on": "n1", "probability": 0.5}, "crash with a probability needs"),
            ({"kind": "crash", "on": "n1", "ms": 5}, "crash takes no ms"),
            ({"kind": "disk-full", "on": "n1", "every_ms": 5}, "disk-full takes no every; crash,"),
            ({"kind": "disk-full", "on": "n1", "message_kinds": ["nack"]}, "no message kinds"),
            ({"kind": "disk-slow", "on": "n1"}, "disk-slow needs ms"),
            ({"kind": "fsync-error"}, "fsync-error needs on: one node, several with commas, or *"),
            ({"kind": "torn-write", "on": "n1", "ms": 3}, "torn-write takes no ms"),
            ({"kind": "bit-rot", "on": "n1", "oneway": True}, "bit-rot takes no oneway"),
            ({"kind": "duplicate", "on": "n1"}, "duplicate takes no on"),
            ({"kind": "reorder"}, "reorder needs ms"),
            ({"kind": "flap", "ms": 5}, "flap needs from or to"),
            ({"kind": "flap", "from": "n1"}, "flap needs ms"),
            ({"kind": "flap", "from": "n1", "ms": 5, "probability": 0.5}, "takes no probability"),
            ({"kind": "isolate", "on": "n1", "probability": 0.5}, "takes no probability"),
            ({"kind": "isolate", "from": "n1"}, "isolate takes no from or to: say which nodes"),
            ({"kind": "isolate"}, "isolate needs on"),
            ({"kind": "bridge", "on": "n1,n2"}, "at least two nodes besides those in on"),
            ({"kind": "bridge", "on": "*"}, "at least two nodes besides those in on"),
            ({"persist": "yes"}, "persist is true or false"),
        ],
        ids=str,
    )
    def test_say_what_is_wrong(self, plan, args, words):
        with pytest.raises(FaultError, match=words):
            plan.add_args({"name": "x", "kind": "drop", **args}, 0)
        assert not plan.active

    def test_every_kind_has_a_good_form(self, plan):
        for kind in KINDS:
            args = good_form(kind)
            rule = parse_rule(args, nodes=NODES)
            plan.add(rule, 0)
            assert {key: rule.args()[key] for key in args} == args
            assert parse_rule(rule.args(), nodes=NODES) == parse_rule(args, nodes=NODES)
        assert {rule["kind"] for rule in plan.list(0)} == set(KINDS)

    def test_duplicates_and_too_many(self, plan):
        plan.add_args({"name": "r0", "kind": "drop"}, 0)
        with pytest.raises(FaultError, match='a rule "r0" already'):
            plan.add_args({"name": "r0", "kind": "drop"}, 0)
        for index in range(1, RULES_MAX):
            plan.add_args({"name": f"r{index}", "kind": "drop"}, 0)
        with pytest.raises(FaultError, match="64 rules already"):
            plan.add_args({"name": "more", "kind": "drop"}, 0)

    def test_removing_what_is_not_there(self, plan):
        plan.add_args({"name": "slow-n1", "kind": "drop"}, 0)
        with pytest.raises(FaultError, match='did you mean "slow-n1"'):
            plan.remove("slow-n2", 0)


class TestMessages:
    """What each kind does with a message beyond dropping or delaying it."""

    def verdicts(self, plan, count=200, **args):
        plan.add_args({"name": "x", **args}, 0)
        return [plan.on_message("n1", "n2", "accept", 0) for _ in range(count)]

    def test_a_duplicate_comes_at_once_or_up_to_ms_later(self, plan):
        assert set(self.verdicts(plan, kind="duplicate")) == {Verdict(False, 0, 1, 0)}
        plan.clear(0)
        later = self.verdicts(plan, kind="duplicate", ms=20)
        assert {(v.drop, v.delay_ms, v.copies) for v in later} == {(False, 0, 1)}
        assert {v.copies_delay_ms for v in later} == set(range(21))

    def test_reorder_delays_by_lot_up_to_ms(self, plan):
        delays = [v.delay_ms for v in self.verdicts(plan, kind="reorder", ms=9)]
        assert set(delays) == set(range(1, 10))
        assert delays != sorted(delays)

    def test_two_duplicates_and_a_delay_add_up(self, plan):
        plan.add_args({"name": "a", "kind": "duplicate"}, 0)
        plan.add_args({"name": "b", "kind": "duplicate"}, 0)
        plan.add_args({"name": "c", "kind": "delay", "ms": 4}, 0)
        assert plan.on_message("n1", "n2", "accept", 0) == Verdict(False, 4, 2, 0)

    def test_a_flapping_link_is_cut_and_whole_in_turn(self, plan):
        plan.add_args({"name": "x", "kind": "flap", "from": "n1", "to": "n2", "ms": 100}, 1000)
        cuts = [plan.on_message("n2", "n1", "nack", t).drop for t in range(1000, 1500, 50)]
        assert cuts == [True, True, False, False] * 2 + [True, True]
        assert plan.list(2000)[0]["hits"] == sum(cuts)

    def test_a_bridge_hears_all_and_the_halves_hear_it_alone(self):
        nodes = ("n1", "n2", "n3", "n4", "n5")
        plan = FaultPlan(nodes=nodes)
        plan.add_args({"name": "x", "kind": "bridge", "on": "n3"}, 0)
        heard = {
            receiver: [s for s in nodes if not plan.on_message(s, receiver, "accept", 0).drop]
            for receiver in nodes
        }
        assert heard == {
            "n1": ["n1", "n2", "n3"], "n2": ["n1", "n2", "n3"], "n3": list(nodes),
            "n4": ["n3", "n4", "n5"], "n5": ["n3", "n4", "n5"],
        }  # fmt: skip

    def test_only_rules_on_messages_make_the_bus_ask(self, plan):
        plan.add_args({"name": "x", "kind": "disk-full", "on": "n1"}, 0)
        assert plan.active
        assert not plan.messages_active
        plan.add_args({"name": "y", "kind": "isolate", "on": "n1"}, 0)
        assert plan.messages_active


def node_plan(report=None, node="n1"):
    return FaultPlan(report, node=node, nodes=NODES)


class TestDisk:
    @pytest.mark.parametrize(
        ("kind", "operations", "verdict"),
        [
            ("disk-slow", {"sync"}, (10, 0)),
            ("disk-full", {"write", "allocate"}, (0, errno.ENOSPC)),
            ("fsync-error", {"sync"}, (0, errno.EIO)),
        ],
    )
    def test_a_kind_strikes_its_operations_alone(self, kind, operations, verdict):
        plan = node_plan()
        plan.add_args(good_form(kind), 0)
        for operation in ("read", "write", "sync", "allocate", "idle"):
            found = plan.on_disk(operation, 0)
            assert (found.tear, found.rot) == (-1.0, -1.0)
            assert found[:2] == (verdict if operation in operations else (0, 0)), operation
        assert plan.list(0)[0]["hits"] == len(operations)

    def test_a_write_is_torn_somewhere(self):
        plan = node_plan()
        plan.add_args(good_form("torn-write"), 0)
        tears = [plan.on_disk("write", 0).tear for _ in range(50)]
        assert all(0 <= tear < 1 for tear in tears)
        assert len(set(tears)) == 50
        assert plan.on_disk("sync", 0) == DISK_FINE

    def test_a_bit_rots_once_or_each_every(self):
        plan = node_plan()
        plan.add_args(good_form("bit-rot"), 0)
        assert [plan.on_disk("idle", t).rot >= 0 for t in (0, 1, 2)] == [True, False, False]
        plan.clear(0)
        plan.add_args(good_form("bit-rot") | {"every_ms": 100}, 0)
        times = [t for t in range(0, 1000, 10) if plan.on_disk("write", t).rot >= 0]
        assert times == list(range(100, 1000, 100))

    def test_another_node_and_another_time_are_left_alone(self):
        elsewhere = node_plan(node="n2")
        elsewhere.add_args(good_form("fsync-error"), 0)
        assert not elsewhere.disk_active
        assert elsewhere.on_disk("sync", 0) == DISK_FINE
        here = node_plan()
        here.add_args(good_form("fsync-error") | {"for_ms": 50}, 0)
        assert here.on_disk("sync", 49).errno == errno.EIO
        assert here.on_disk("sync", 50) == DISK_FINE  # though nothing has called expire

    def test_hits_of_other_threads_are_told_by_the_loop(self, report):
        plan = node_plan(report)
        plan.add_args(good_form("disk-slow"), 0)
        thread = threading.Thread(target=lambda: [plan.on_disk("sync", 0) for _ in range(3)])
        thread.start()
        thread.join()
        assert report.names() == [("fault.added", "disk-slow")]
        plan.expire(1)
        assert report.names()[1:] == [("fault.hit", "disk-slow")]

    def test_many_threads_lose_no_hit(self):
        before_s = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # a thread may lose its turn at almost every step
        try:
            self.hit_from_many_threads()
        finally:
            sys.setswitchinterval(before_s)

    def hit_from_many_threads(self):
        plan = node_plan()
        plan.add_args(good_form("disk-slow") | {"probability": 0.5}, 0)

        def sync():
            for _ in range(2000):
                hits.append(plan.on_disk("sync", 0).delay_ms)

        hits = []
        threads = [threading.Thread(target=sync) for _ in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(200):  # the loop's thread adds and heals meanwhile
            plan.add_args({"name": f"other{turn}", "kind": "disk-full", "on": "n1"}, 0)
            plan.remove(f"other{turn}", 0)
        for thread in threads:
            thread.join()
        assert plan.list(0)[0]["hits"] == hits.count(10)


class TestTimed:
    def test_a_pause_is_due_once_or_each_every(self):
        plan = node_plan()
        plan.add_args(good_form("pause"), 100)
        assert [plan.pause_due_ms(t) for t in (100, 101, 9999)] == [10, 0, 0]
        plan.add_args({"name": "y", "kind": "pause", "on": "*", "ms": 3, "every_ms": 50}, 100)
        assert plan.next_due_ms() == 150
        assert [plan.pause_due_ms(t) for t in (149, 150, 151, 200)] == [0, 3, 0, 3]
        assert [plan.pause_due_ms(t) for t in (1000, 1001, 1050)] == [3, 0, 3]  # missed: gone

    def test_a_crash_is_due_by_lot(self):
        def crashes(node, seed):
            plan = node_plan(node=node)
            args = {"every_ms": 10, "probability": 0.3, "seed": seed, "on": "*"}
            plan.add_args(good_form("crash") | args, 0)
            return [t for t in range(0, 10_000, 5) if plan.crash_due(t)]

        assert 230 < len(crashes("n1", 1)) < 370
        assert crashes("n1", 1) == crashes("n1", 1)
        assert crashes("n1", 1) != crashes("n1", 2)
        assert crashes("n1", 1) != crashes("n2", 1), "all nodes would crash at once"

    def test_skews_add_up_and_may_go_on_and_off(self, report):
        plan = node_plan(report)
        plan.add_args(good_form("clock-skew") | {"ms": -500}, 0)
        assert plan.clock_skew_ms(0) == -500
        plan.add_args(good_form("clock-skew") | {"name": "b", "every_ms": 100}, 1000)
        skews = [plan.clock_skew_ms(t) for t in range(1000, 1400, 50)]
        assert skews == [-490, -490, -500, -500] * 2
        plan.remove("clock-skew", 1400)
        assert plan.list(1400)[0]["hits"] == 2  # it jumped twice, however often it was read
        plan.clear(1400)
        assert plan.clock_skew_ms(1500) == 0

    def test_each_rare_hit_is_told_and_of_the_others_the_first(self, report):
        plan = node_plan(report)
        plan.add_args({"name": "p", "kind": "pause", "on": "n1", "ms": 3, "every_ms": 50}, 0)
        for t in range(0, 200, 10):
            plan.pause_due_ms(t)
        assert [name for name, _ in report.names()] == ["fault.added"] + ["fault.hit"] * 3
        assert report.events[-1][1]["hits"] == 3

    def test_nothing_is_due_elsewhere_or_when_it_is_over(self):
        elsewhere = node_plan(node="n2")
        for kind in ("pause", "crash", "clock-skew"):
            elsewhere.add_args(good_form(kind), 0)
        assert (elsewhere.pause_due_ms(0), elsewhere.clock_skew_ms(0)) == (0, 0)
        assert not elsewhere.crash_due(0)
        assert not elsewhere.timed_active
        assert elsewhere.next_due_ms() == math.inf
        here = node_plan()
        here.add_args(good_form("pause") | {"for_ms": 10}, 0)
        assert here.pause_due_ms(10) == 0


class TestPersistence:
    def test_what_survives_is_told_with_the_time_that_is_left(self, plan):
        plan.add_args(good_form("drop"), 0)
        assert not plan.unsaved
        plan.add_args(good_form("delay") | {"persist": True, "for_ms": 500}, 0)
        plan.add_args(good_form("isolate") | {"persist": True}, 0)
        assert plan.unsaved
        delay, isolate = plan.persistent(200)
        assert (delay["name"], delay["for_ms"]) == ("delay", 300)
        assert (isolate["name"], isolate["for_ms"]) == ("isolate", 0)

    def test_each_end_of_one_that_survives_must_be_saved(self, plan):
        plan.add_args(good_form("drop"), 0)
        plan.add_args(good_form("delay") | {"persist": True, "for_ms": 500}, 0)
        plan.unsaved = False
        plan.remove("drop", 1)
        assert not plan.unsaved
        plan.expire(500)
        assert plan.unsaved

    def test_a_restored_rule_says_so(self, plan, report):
        plan.add_args(good_form("drop"), 0, restored=True)
        assert report.events[-1][1]["restored"] is True
