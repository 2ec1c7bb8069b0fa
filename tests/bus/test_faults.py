"""The fault plan: what a rule covers, how it ends, what is refused and with which words."""

import pytest

from paxosd.faults import DELIVER, DROP, KINDS, RULES_MAX, FaultError, FaultPlan, parse_rule
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
        ],
        ids=str,
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
        told = plan.list(100)[0]
        assert {key: told[key] for key in args} == args
        del told["left_ms"], told["hits"]
        assert parse_rule(told).from_ == ("n1", "n2")


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
            ({"kind": "crash"}, "use `paxosctl fault crash NODE`"),
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
            ({"kind": "clock-skew", "ms": 5}, "clock-skew is not enacted by this version"),
        ],
        ids=str,
    )
    def test_say_what_is_wrong(self, plan, args, words):
        with pytest.raises(FaultError, match=words):
            plan.add_args({"name": "x", "kind": "drop", **args}, 0)
        assert not plan.active

    def test_every_kind_has_a_form_and_those_without_deed_are_refused_not_ignored(self, plan):
        for kind, spec in KINDS.items():
            args = {"name": kind, "kind": kind, "from": "n1"}
            if spec.ms:
                args["ms"] = 10
            rule = parse_rule(args)
            if spec.enacted:
                plan.add(rule, 0)
            else:
                with pytest.raises(FaultError, match="not enacted by this version"):
                    plan.add(rule, 0)
        assert {rule["kind"] for rule in plan.list(0)} == {"drop", "delay", "partition"}

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
