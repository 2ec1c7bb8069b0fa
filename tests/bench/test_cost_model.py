"""The cost model without clusters: its arithmetic, its timers, its page and its pictures."""

import json
import sys
from types import ModuleType
from xml.etree import ElementTree

import pytest

from paxosctl.load.keys import key_of
from paxosd.snapshot.file import load
from paxosd.storage.disk import RealDisk
from tests.bench import cost_model, svg
from tests.bench.cost_figures import OTHER_THREADS, figures_of, median_point, medians, stages_of
from tests.bench.cost_report import picture, write_page
from tests.bench.cost_rows import GROUPS, groups_of
from tests.bench.stages import STAGES, Stages
from tests.bench.state_file import numbers_as_text, write_state

OUTPUT = {
    "ops": 2000, "errors": 0, "elapsed_s": 2.0, "p50_ms": 1.5, "p99_ms": 9.0,
    "generator_cpu_s": 0.2,
}  # fmt: skip
MACHINE = {"cores": 2, "processor": "a processor", "kernel": "6.1", "python": "3.11",
           "filesystem": "ext4", "sync_ms": 1.5, "load_before": 0.1, "load_after": 0.2}  # fmt: skip


def sample(times, stages=None):
    """Of three nodes that have done everything so many times; n1, which leads, spends twice."""
    return {
        name: {
            "cpu_s": times * 1e-3 * (2 if name == "n1" else 1), "slots": times * 10,
            "syncs": times * 5, "turns": times * 20, "revision": times * 100, "rss": 1 << 20,
            "stages": {"totals": stages, "missing": []} if stages else None,
        }
        for name in ("n1", "n2", "n3")
    }  # fmt: skip


class TestFigures:
    def test_what_lies_between_two_samples_is_for_one_put(self):
        found = figures_of(OUTPUT, sample(1), sample(3), "n1")
        assert found["puts"] == 200
        assert found["per_s"] == 1000
        assert found["leader_us"] == pytest.approx(20)
        assert found["follower_us"] == pytest.approx(10)
        assert found["client_us"] == pytest.approx(100)
        assert found["puts_a_slot"] == pytest.approx(10)
        assert found["follower_syncs"] == pytest.approx(0.05)
        assert found["leader_turns"] == pytest.approx(0.2)

    def test_a_node_alone_has_no_followers(self):
        before, after = ({"n1": sample(times)["n1"]} for times in (1, 3))
        assert figures_of(OUTPUT, before, after, "n1")["follower_us"] == 0

    def test_a_load_that_was_over_before_the_samples_is_no_measurement(self):
        with pytest.raises(ValueError, match="over before"):
            figures_of(OUTPUT, sample(3), sample(3), "n1")

    def test_what_no_timer_saw_is_of_the_other_threads(self):
        before = sample(1, {"send": [10, 1000, 2000]})
        after = sample(3, {"send": [210, 1_001_000, 4_002_000]})
        found = stages_of(before, after, "n1")
        assert found["leader_stages"]["send"] == [1, pytest.approx(5), pytest.approx(20)]
        assert found["leader_stages"][OTHER_THREADS][1] == pytest.approx(15)
        assert found["follower_stages"][OTHER_THREADS][1] == pytest.approx(5)

    def test_medians_at_any_depth(self):
        points = [{"a": {"b": [each, 1]}, "words": "x"} for each in (1, 9, 2)]
        assert median_point(points) == {"a": {"b": [2, 1]}, "words": "x"}

    def test_points_are_in_order(self):
        points = [{"group": "keys", "x": x, "y": y} for x, y in ((9, 1), (3, 2), (9, 3))]
        points.append({"group": "nodes", "x": 1, "y": 1})
        found = medians({"points": points}, "keys")
        assert {x: each["y"] for x, each in found.items()} == {3: 2, 9: 2}
        assert list(found) == [3, 9]


class TestStages:
    def test_what_a_timed_function_calls_counts_for_that_one(self, monkeypatch):
        module = ModuleType("staged_example")
        ticks = iter(range(0, 1_000_000, 10))  # each look at a clock takes 10 ns
        monkeypatch.setattr("time.thread_time_ns", lambda: next(ticks))
        monkeypatch.setattr("time.perf_counter_ns", lambda: 0)

        class Example:
            def outer(self):
                return self.inner() + 1

            def inner(self):
                return 1

        module.Example = Example
        monkeypatch.setitem(sys.modules, "staged_example", module)
        gone = ["staged_example:Example.gone", "no_such_module:Nobody.x"]
        stages = Stages({"outer": ["staged_example:Example.outer"],
                         "inner": ["staged_example:Example.inner"], "gone": gone})  # fmt: skip
        assert Example().outer() == 2
        assert stages.totals == {"outer": [1, 20, 0], "inner": [1, 10, 0], "gone": [0, 0, 0]}
        assert stages.missing == gone

    def test_every_stage_is_there(self, tmp_path):
        """In a process of its own: it patches."""
        code = f"from tests.bench.stages import Stages; Stages().write({str(tmp_path / 's')!r})"
        assert cost_model.subprocess.run([sys.executable, "-c", code], check=True)
        found = json.loads((tmp_path / "s").read_text())
        assert found["missing"] == []
        assert found["totals"].keys() == STAGES.keys()


class TestStateFile:
    def test_numbers_in_the_order_of_their_digits(self):
        for count in (1, 2, 10, 11, 123, 1000):
            numbers = list(numbers_as_text(count))
            assert sorted(numbers) == list(range(count))
            assert list(map(str, numbers)) == sorted(map(str, range(count)))

    def test_it_is_a_good_snapshot_with_the_keys_of_the_load_generator(self, tmp_path):
        made = write_state(tmp_path / "n1", "test", "n1", 1234, 10)
        disk = RealDisk(made.parent)
        file = disk.open(made.name)
        machine, _ = load(file, "test")
        file.close()
        disk.close()
        assert len(machine.store) == 1234
        assert len(machine.store.get(key_of(1233)).value) == 10


def run_of(tmp_path, groups=GROUPS):
    return cost_model.Run(tmp_path / "run.json", groups, dict(MACHINE), 2, 1.0)


def fill(run):
    """Two measurements of each point of each group."""
    stages = {stage: [1.0, 2.0, 3.0] for stage in [*STAGES, OTHER_THREADS]}
    syscalls = {role: {"total": 9.0, "poll": 4.0} for role in ("leader", "follower")}
    syscalls |= {f"{role}_puts_a_slot": 2.0 for role in ("leader", "follower")}
    figures = figures_of(OUTPUT, sample(1), sample(3), "n1")
    for group in GROUPS:
        found = {
            "stages": figures | {"leader_stages": stages, "follower_stages": stages},
            "syscalls": syscalls,
            "state": {"again_us": 1.0, "new_us": 2.0, "bytes_a_key": 250.0},
        }.get(group.kind, figures)
        for point in (*group.points, *group.points):
            run.add(group, point, found)


class TestRun:
    def test_each_point_is_saved_at_once_and_other_groups_are_kept(self, tmp_path):
        keys, nodes = groups_of(["keys", "nodes"])
        run_of(tmp_path).add(keys, keys.points[0], {"y": 1})
        second = run_of(tmp_path, [nodes])
        second.fail(nodes, "seven of them", OSError("no room"))
        found = json.loads((tmp_path / "run.json").read_text())
        assert [each["group"] for each in found["points"]] == ["keys"]
        assert found["failures"][0]["message"] == "seven of them: OSError: no room"
        assert json.loads((tmp_path / "run.json").read_text()) == run_of(tmp_path, []).found | {
            "machine": found["machine"]
        }

    @pytest.mark.parametrize("words", [["--rows", "speed"], [], ["--json", "x", "--rounds", "0"]])
    def test_wrong_options(self, words, capsys):
        with pytest.raises(SystemExit) as caught:
            cost_model.parse(words)
        assert caught.value.code == 2
        assert capsys.readouterr().err


class TestPage:
    def test_tables_and_pictures_come_from_a_saved_run(self, tmp_path, capsys):
        run = run_of(tmp_path)
        fill(run)
        page = tmp_path / "page.md"
        marks = "".join(f"<!-- measured: {group.name} -->\nold\n<!-- end -->\n" for group in GROUPS)
        page.write_text(f"before\n{marks}after\n")
        write_page(run.found, page)
        text = page.read_text()
        assert "old" not in text
        assert text.startswith("before\n")
        assert text.endswith("after\n")
        assert text.count("Commit ") == len(GROUPS)
        for group in GROUPS:
            if group.name != "syscalls":
                ElementTree.fromstring((tmp_path / f"cost-{group.name}.svg").read_text())
        write_page(run.found, page)
        assert page.read_text() == text

    def test_what_was_not_measured_is_said(self, tmp_path):
        run = run_of(tmp_path)
        page = tmp_path / "page.md"
        page.write_text("<!-- measured: keys -->\n<!-- end -->\n")
        write_page(run.found, page)
        assert "Not measured yet." in page.read_text()

    def test_the_page_has_a_place_for_each_group(self):
        text = cost_model.PAGE.read_text()
        assert [group.name for group in GROUPS if f"measured: {group.name} -->" not in text] == []

    def test_lines_stay_within_their_picture(self, tmp_path, capsys):
        run = run_of(tmp_path)
        fill(run)
        root = ElementTree.fromstring(picture(run.found, "values"))
        for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
            for point in line.get("points").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= 900
                assert 0 <= y <= 260

    def test_one_point_alone_is_drawn(self):
        parts = svg.line_chart("t", "x", {"a": [(1, 5.0)]}, (0, 0, 400, 200))
        ElementTree.fromstring(svg.document(parts, 400, 200))
