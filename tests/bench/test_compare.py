"""The comparison's arithmetic, its tables, its picture, and what it does without the peers."""

import os
import re
from xml.etree import ElementTree

import pytest

from tests.bench import compare
from tests.bench.compare_build import build
from tests.bench.compare_cluster import (
    Cluster,
    ImpossibleError,
    LoadFailedError,
    MissingError,
    cpu_s,
)
from tests.bench.compare_figures import Figures, advantage, median_of
from tests.bench.compare_plot import svg_of
from tests.bench.compare_report import (
    conditions,
    cost_table,
    main_table,
    markdown_table,
    report_of,
    syscall_table,
    text_table,
)
from tests.bench.compare_results import Results, describe_machine
from tests.bench.compare_rows import ROWS, rows_of
from tests.bench.compare_syscalls import calls_of
from tests.bench.compare_writers import longest_gap_ms

LATENCY_ROW, RATE_ROW = rows_of(["put-1", "put-1000"])
MACHINE = {
    "cores": 2, "processor": "a processor", "memory_gib": 4.0, "kernel": "6.1", "python": "3.11",
    "filesystem": "ext4", "sync_ms": 1.5, "load_before": 0.1, "load_after": 0.2,
}  # fmt: skip


def run_of(ops=1000, p50_ms=1.0, **more):
    return Figures(ops=ops, elapsed_s=2.0, p50_ms=p50_ms, p99_ms=2.0, max_ms=3.0, **more)


def results_of(rows=(LATENCY_ROW, RATE_ROW), **more):
    return Results(rows=list(rows), machine=MACHINE, pairs=3, seconds=2.0, **more)


@pytest.fixture
def filled():
    results = results_of(systems={"paxosd": "paxosd", "etcd": "etcd <x>"})
    for p50_ms in (1.0, 5.0, 2.0):
        results.add(LATENCY_ROW, "paxosd", run_of(p50_ms=p50_ms))
    results.add(LATENCY_ROW, "etcd", run_of(p50_ms=4.0))
    results.add(RATE_ROW, "paxosd", run_of(ops=6000))
    results.impossible["put-1000", "etcd"] = "it cannot"
    results.versions = {"paxosd": "paxosd 1", "etcd": "etcd 2", "other": "etcd 2"}
    return results


class TestFigures:
    def test_a_rate_is_of_the_time_measured(self):
        assert run_of(ops=1000).per_s == 500.0

    def test_fields_that_are_not_known_are_left_out(self):
        found = {"ops": 1, "elapsed_s": 1, "p50_ms": 1, "p99_ms": 1, "max_ms": 1, "new": 1}
        assert Figures.of_json(found).ops == 1

    def test_processor_time_is_of_the_leader_and_the_mean_of_the_followers(self):
        run = run_of(ops=1000).with_nodes({"n1": 0.1, "n2": 0.2, "n3": 0.4}, "n2", {})
        assert run.leader_us == pytest.approx(200.0)
        assert run.follower_us == pytest.approx(250.0)

    def test_nothing_measured_is_no_division_by_zero(self):
        run = run_of(ops=0).with_nodes({}, "n1", {})
        assert (run.per_s, run.leader_us, run.follower_us) == (0.0, 0.0, 0.0)


class TestAdvantage:
    """Above 1, ours is better, for rates and for latencies."""

    def test_of_a_latency(self):
        ours, theirs = [run_of(p50_ms=2.0)], [run_of(p50_ms=3.0)]
        assert advantage(LATENCY_ROW, ours, theirs) == 1.5

    def test_of_a_rate(self):
        assert advantage(RATE_ROW, [run_of(ops=300)], [run_of(ops=200)]) == 1.5

    def test_is_the_ratio_of_the_medians_and_not_of_the_means(self):
        ours = [run_of(p50_ms=each) for each in (1.0, 2.0, 90.0)]
        assert advantage(LATENCY_ROW, ours, [run_of(p50_ms=4.0)]) == 2.0
        assert median_of(ours, "p50_ms") == 2.0

    def test_nothing_to_compare_with(self):
        assert advantage(LATENCY_ROW, [run_of()], []) is None
        assert advantage(RATE_ROW, [run_of(ops=0)], [run_of()]) is None


class TestTables:
    def test_medians_extremes_and_ratios(self, filled):
        head, (latency, rate) = main_table(filled)
        assert head == ["row", "measured", "paxosd", "etcd <x>", "to etcd <x>"]
        assert latency[1:] == ["median", "2 ms (1 ms to 5 ms)", "4 ms", "2.00"]
        assert rate[1:] == ["rate", "3,000/s", "n/a", ""]

    def test_a_row_in_which_every_run_failed_says_so(self, filled):
        del filled.impossible["put-1000", "etcd"]
        filled.failures.append("put-1000: etcd: no leader")
        assert main_table(filled)[1][1][3] == "failed"
        assert "A run failed: put-1000: etcd: no leader" in conditions(filled)

    def test_costs_are_there_for_what_was_measured(self, filled):
        _, rows = cost_table(filled)
        assert [line[:2] for line in rows] == [
            [LATENCY_ROW.title, "paxosd"], [LATENCY_ROW.title, "etcd <x>"],
            [RATE_ROW.title, "paxosd"],
        ]  # fmt: skip

    def test_markdown_has_as_many_cells_in_each_line(self, filled):
        lines = markdown_table(*main_table(filled)).splitlines()
        assert len({line.count("|") for line in lines}) == 1
        assert set(lines[1]) == set("| -")

    def test_both_reports_say_what_is_missing(self, filled):
        filled.skipped["zookeeper"] = "ZooKeeper is not installed"
        for table in (text_table, markdown_table):
            text = report_of(filled, table)
            assert "Skipped: ZooKeeper is not installed." in text
            assert "n/a: etcd <x>: it cannot (put-1000)." in text
            assert text.count("etcd 2") == 1

    def test_memory_is_not_taken_for_a_disk(self, filled):
        filled.machine = MACHINE | {"filesystem": "tmpfs"}
        assert any("NOT A DISK" in line for line in conditions(filled))

    def test_system_calls(self, filled):
        filled.syscalls = {"paxosd": {"poll": 2.0, "read": 3.5, "total": 5.5}}
        assert syscall_table(filled)[1] == [["paxosd", "5.5", "read 3.50, poll 2.00"]]

    def test_json_has_every_run(self, filled):
        rows = filled.as_json()["rows"]
        assert [each["p50_ms"] for each in rows["put-1"]["paxosd"]] == [1.0, 5.0, 2.0]

    def test_the_machine_has_no_name(self, tmp_path):
        found = describe_machine(tmp_path)
        assert found.keys() == MACHINE.keys() - {"load_after"}
        assert found["sync_ms"] > 0
        assert not list(tmp_path.iterdir())


def test_the_picture_needs_nothing_else_and_is_well_formed(filled):
    text = svg_of(filled)
    ElementTree.fromstring(text)
    assert not re.search(r"href|url\(|<script|<image", text)
    assert text.count('fill="#') - text.count('fill="#777"') == 3


class TestRows:
    def test_every_name_once(self):
        assert len({row.name for row in ROWS}) == len(ROWS)

    def test_frames_fill_what_is_under_way(self):
        assert all(row.clients % (row.per_frame * row.connections) == 0 for row in ROWS)

    def test_in_the_order_of_the_table(self):
        assert [row.name for row in rows_of(["get-1", "put-1"])] == ["put-1", "get-1"]
        assert rows_of(["all"]) == list(ROWS)

    def test_a_wrong_name_is_said_with_the_right_ones(self):
        with pytest.raises(ValueError, match=r"no such row: put-7; there are put-1, "):
            rows_of(["put-7"])


class TestOptions:
    def test_ours_alone(self):
        assert compare.parse(["--peers", ""]).peers == []

    @pytest.mark.parametrize(
        "wrong", [["--rows", "x"], ["--peers", "x"], ["--pairs", "0"], ["--seconds", "0"],
                  ["--rtt-ms", "-1"]],
    )  # fmt: skip
    def test_wrong_ones_end_with_code_2(self, wrong, capsys):
        with pytest.raises(SystemExit) as ended:
            compare.parse(wrong)
        assert ended.value.code == 2
        assert "error" in capsys.readouterr().err


class Absent(Cluster):
    name, title = "absent", "Absent"

    def prepare(self):
        raise MissingError("Absent is not installed")


class Present(Cluster):
    """A system that needs no processes: it notes what is done to it."""

    name, title, remarks = "paxosd", "paxosd", ("it is ours",)
    has_relay = False

    def prepare(self):
        self.done = []
        self.error = None

    def start(self):
        self.done.append("start")

    def wait_ready(self):
        return "n1"

    def freeze(self):
        self.done.append("freeze")

    def thaw(self):
        self.done.append("thaw")

    def check(self, row):
        if row.name == "get-1":
            raise ImpossibleError("it has no reads")

    def run(self, row, seconds, warmup_s, meanwhile=None):
        if self.error:
            raise self.error
        return run_of()

    def version(self):
        return "paxosd 1"


class TestRun:
    def test_what_is_not_installed_is_skipped_with_a_word(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(compare, "Ours", Present)
        options = compare.parse(["--rows", "put-1,get-1", "--pairs", "2", "--peers", ""])
        options.peers = [Absent]
        results = results_of(options.rows)
        compare.compare(options, tmp_path, results)
        assert results.skipped == {"absent": "Absent is not installed"}
        assert results.systems == {"paxosd": "paxosd"}
        assert len(results.of(LATENCY_ROW, "paxosd")) == 2
        assert results.impossible == {("get-1", "paxosd"): "it has no reads"}
        assert "Absent is not installed" in capsys.readouterr().err

    def test_a_system_runs_only_while_it_is_measured(self, tmp_path):
        cluster, results = Present(tmp_path), results_of()
        compare.take_turn(cluster, results.rows, results)
        assert cluster.done == ["thaw", "freeze"]
        assert [len(results.of(row, "paxosd")) for row in results.rows] == [1, 1]

    def test_a_system_that_can_do_none_of_the_rows_is_not_woken(self, tmp_path):
        cluster, results = Present(tmp_path), results_of(rows_of(["get-1"]))
        compare.take_turn(cluster, results.rows, results)
        assert not cluster.done

    @pytest.mark.parametrize("error", [LoadFailedError("no answer"), AssertionError("no answer")])
    def test_a_run_that_fails_is_noted_and_the_others_go_on(self, tmp_path, error):
        cluster, results = Present(tmp_path), results_of()
        cluster.error = error
        compare.take_turn(cluster, results.rows, results)
        assert cluster.done == ["thaw", "freeze"]
        assert results.failures == ["put-1: paxosd: no answer", "put-1000: paxosd: no answer"]
        assert not results.of(LATENCY_ROW, "paxosd")

    def test_a_system_that_does_not_wake_is_noted_and_stopped_again(self, tmp_path, monkeypatch):
        cluster, results = Present(tmp_path), results_of()

        def thaw():
            raise AssertionError("no leader")

        monkeypatch.setattr(cluster, "thaw", thaw)
        compare.take_turn(cluster, results.rows, results)
        assert cluster.done == ["freeze"]
        assert results.failures == ["paxosd: no leader"]

    def test_a_system_without_relays_is_skipped_with_a_round_trip(self, tmp_path):
        with pytest.raises(MissingError, match="round trip"):
            Present(tmp_path, rtt_ms=1.0)

    def test_both_kinds_of_etcd_run_the_server_that_was_asked_for(self, tmp_path, monkeypatch):
        monkeypatch.setattr(compare, "Ours", Present)
        options = compare.parse(
            ["--peers", "etcd,etcd-txn", "--pairs", "1", "--etcd", "/no/such/etcd"]
        )
        results = results_of(options.rows)
        compare.compare(options, tmp_path, results)
        words = "--etcd /no/such/etcd: there is no such program"
        assert results.skipped == {"etcd": words, "etcd-txn": words}

    def test_clusters_do_not_share_ports(self):
        first, second = Cluster.ports(6), Cluster.ports(6)
        assert len({*first, *second}) == 12


class TestBuild:
    def test_a_compiler_that_fails_is_a_peer_that_is_missing(self, tmp_path):
        source = tmp_path / "load.go"
        source.write_text("no go")
        for command in (["sh", "-c", "echo wrong >&2; exit 1"], ["no-such-compiler"]):
            with pytest.raises(MissingError, match=r"load\.go cannot be built: .*(wrong|no-such)"):
                build(source, tmp_path / "load", command)

    def test_is_repeated_only_for_a_newer_source(self, tmp_path):
        source, target = tmp_path / "load.go", tmp_path / "load"
        source.write_text("")
        command = ["sh", "-c", f"echo built >> {target}"]
        os.utime(source, (1, 1))
        build(source, target, command)
        build(source, target, command)
        assert target.read_text() == "built\n"
        os.utime(target, (0, 0))
        build(source, target, command)
        assert target.read_text() == "built\nbuilt\n"


def test_system_calls_of_a_table_of_strace():
    table = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000100           1       100           poll
 40.00    0.000050           1        50         7 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.000150           1       150         7 total
"""
    assert calls_of(table) == {"poll": 100, "recvfrom": 50, "total": 150}


def test_the_longest_gap_is_between_neighbours_in_time():
    assert longest_gap_ms([3.0, 1.0, 1.5]) == 1500.0
    assert longest_gap_ms([1.0]) == 0.0


def test_processor_time_of_this_process_grows():
    before = cpu_s(os.getpid())
    while cpu_s(os.getpid()) == before:
        sum(range(1000))
    assert cpu_s(os.getpid()) > before
