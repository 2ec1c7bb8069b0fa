"""Rules that survive a restart: the file, and what becomes of a bad one."""

import json
from pathlib import Path

import pytest

from paxosd.faults.live import LiveFaults
from paxosd.faults.plan import FaultPlan
from paxosd.faults.store import FILE, FaultStore
from paxosd.storage.disk import RealDisk

NODES = ("n1", "n2", "n3")
DROP = {"name": "d", "kind": "drop", "from": "n1", "probability": 0.5, "seed": 9}
FULL = {"name": "f", "kind": "disk-full", "on": "n2"}


class Node:
    """One life of a node: a plan and the store in the directory."""

    def __init__(self, path, now_ms=0.0, wall_ms=1_000_000):
        self.told = []
        self.plan = FaultPlan(lambda *told: self.told.append(told), node="n1", nodes=NODES)
        self.store = FaultStore(RealDisk(path))
        self.problems = self.store.restore(self.plan, now_ms, wall_ms)

    def names(self, now_ms=0):
        return [rule["name"] for rule in self.plan.list(now_ms)]


class TestStore:
    def test_a_persistent_rule_is_there_again_and_another_is_not(self, tmp_path):
        node = Node(tmp_path)
        node.plan.add_args(DROP | {"persist": True}, 0)
        node.plan.add_args(FULL, 0)
        node.store.save(node.plan, 0, 1_000_000)
        assert not node.plan.unsaved
        again = Node(tmp_path)
        assert again.problems == []
        (rule,) = again.plan.list(0)
        assert {key: rule[key] for key in DROP} == DROP
        assert [(e, f.get("restored")) for e, f in again.told] == [("fault.added", True)]
        assert not again.plan.unsaved

    def test_time_goes_on_while_the_node_is_down(self, tmp_path):
        node = Node(tmp_path, now_ms=70)
        node.plan.add_args(DROP | {"persist": True, "for_ms": 5000}, 70)
        node.store.save(node.plan, 1070, 2_000_000)
        assert Node(tmp_path, wall_ms=2_003_000).plan.list(0)[0]["left_ms"] == 1000
        assert Node(tmp_path, wall_ms=2_004_000).names() == []

    def test_with_the_last_one_the_file_goes(self, tmp_path):
        node = Node(tmp_path)
        node.plan.add_args(DROP | {"persist": True}, 0)
        node.store.save(node.plan, 0, 0)
        assert (tmp_path / FILE).exists()
        node.plan.clear(0)
        node.store.save(node.plan, 0, 0)
        assert list(tmp_path.iterdir()) == []

    def test_a_shorter_list_replaces_a_longer_one(self, tmp_path):
        node = Node(tmp_path)
        for name in "abc":
            node.plan.add_args(DROP | {"persist": True, "name": name}, 0)
        node.store.save(node.plan, 0, 0)
        node.plan.remove("b", 0)
        (tmp_path / f".{FILE}.tmp").write_text("x" * 10_000)  # left by a crash
        node.store.save(node.plan, 0, 0)
        assert Node(tmp_path).names() == ["a", "c"]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "damaged"),
            ("[]", "damaged"),
            ('{"format": 2, "rules": []}', "another version"),
            ('{"format": 1, "rules": 5}', "damaged"),
            ('{"format": 1, "rules": [7]}', "7 is no rule"),
            ('{"format": 1, "rules": [{"name": "x", "ends_wall_ms": "y"}]}', "is no number"),
            ('{"format": 1, "rules": [{"name": "x", "kind": "drpo"}]}', 'did you mean "drop"'),
        ],
    )
    def test_a_bad_file_is_named_and_keeps_nothing_from_starting(self, tmp_path, text, words):
        (tmp_path / FILE).write_text(text)
        node = Node(tmp_path)
        (problem,) = node.problems
        assert words in problem
        assert FILE in problem
        assert node.names() == []

    def test_one_bad_rule_does_not_hide_the_others(self, tmp_path):
        gone = {"name": "x", "kind": "disk-full", "on": "n9"}
        (tmp_path / FILE).write_text(json.dumps({"format": 1, "rules": [gone, FULL]}))
        node = Node(tmp_path)
        assert node.names() == ["f"]
        assert "n9" in node.problems[0]


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, event, **fields):
        self.lines.append((event, fields))


def live(path, log, enabled=True):
    (Path(path) / "wal").mkdir(exist_ok=True)
    faults = LiveFaults(
        "n1",
        NODES,
        enabled=enabled,
        directory=path,
        home=RealDisk(path),
        disk=RealDisk(path / "wal"),
        log=log,
        now_ms=lambda: 0.0,
    )
    faults.begin()
    return faults


class TestLiveFaults:
    def test_rules_kept_are_said_to_be_off_where_faults_are(self, tmp_path):
        (tmp_path / FILE).write_text(json.dumps({"format": 1, "rules": [FULL]}))
        log = Log()
        faults = live(tmp_path, log, enabled=False)
        assert len(faults.plan) == 0
        ((event, fields),) = log.lines
        assert event == "fault.not_restored"
        assert "off on this node" in fields["message"]
        assert isinstance(faults.disk, RealDisk), "it costs nothing where faults are off"
        faults.close()

    def test_a_failure_to_keep_is_logged_once(self, tmp_path):
        log = Log()
        faults = live(tmp_path, log)
        faults.plan.add_args(DROP | {"persist": True}, 0)
        faults.close()  # the directory is gone: every write fails
        faults.tick(100.0, [])
        faults.tick(200.0, [])
        assert [event for event, _ in log.lines] == ["fault.added", "fault.not_saved"]

    def test_an_expired_rule_is_gone_from_the_file(self, tmp_path):
        log = Log()
        faults = live(tmp_path, log)
        faults.plan.add_args(DROP | {"persist": True, "for_ms": 50}, 0)
        faults.save()
        assert (tmp_path / FILE).exists()
        faults.tick(100.0, [])
        assert not (tmp_path / FILE).exists()
        faults.close()

    def test_a_signal_ends_a_pause(self, tmp_path):
        faults = live(tmp_path, Log())
        faults.plan.add_args({"name": "p", "kind": "pause", "on": "n1", "ms": 600_000}, 0)
        faults.tick(100.0, [15])
        faults.close()

    def test_the_wall_clock_is_skewed(self, tmp_path):
        faults = live(tmp_path, Log())
        true_ms = faults.wall_ms(0.0)
        faults.plan.add_args({"name": "c", "kind": "clock-skew", "on": "n1", "ms": -60_000}, 0)
        assert true_ms - 61_000 < faults.wall_ms(0.0) < true_ms - 50_000
        faults.close()
