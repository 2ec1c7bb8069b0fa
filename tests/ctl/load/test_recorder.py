"""Latencies, the windows of a second, and the report that is made of all processes' windows."""

import math
import random
import statistics

import pytest
from hdrh.histogram import HdrHistogram

from paxosctl.load.latencies import Latencies
from paxosctl.load.load import Load
from paxosctl.load.recorder import ProcessReport, Recorder
from paxosctl.load.report import merge

MS = 1_000_000
S = 1_000_000_000
LOAD = Load(outstanding=1, connections=1, size=1, keys=1)


def latencies_of(values_ms, count=1):
    found = Latencies()
    for value in values_ms:
        found.record(int(value * MS), count)
    return found


class TestLatencies:
    def test_quantiles_to_three_digits(self):
        seed = random.randrange(1 << 32)
        print("seed", seed)
        values = sorted(random.Random(seed).lognormvariate(2, 1) for _ in range(2000))
        found = latencies_of(values)
        for share in (0.5, 0.9, 0.99):
            exact = values[math.ceil(len(values) * share) - 1]
            assert found.quantile_ms(share) == pytest.approx(exact, rel=2e-3)
        assert found.quantile_ms(1) == pytest.approx(values[-1], abs=0.001)
        assert found.mean_ms == pytest.approx(statistics.fmean(values), rel=1e-3)
        assert found.deviation_ms == pytest.approx(statistics.pstdev(values), rel=1e-3)

    def test_a_request_with_several_commands_counts_for_each(self):
        found = latencies_of([1], count=9)
        found.record(100 * MS, 1)
        assert found.count == 10
        assert found.quantile_ms(0.9) == 1.0
        assert found.mean_ms == pytest.approx(10.9)

    def test_packed_ones_are_the_same_elsewhere(self):
        first, second, both = latencies_of([1, 2]), latencies_of([30]), latencies_of([1, 2, 30])
        merged = Latencies()
        merged.add(first.pack())
        merged.add(second.pack())
        assert merged.pack() == both.pack()
        assert HdrHistogram.decode(merged.pack().histogram).get_total_count() == 3

    def test_none_at_all(self):
        found = Latencies()
        assert (found.quantile_ms(0.5), found.mean_ms, found.deviation_ms) == (0, 0, 0)

    @pytest.mark.parametrize("latency_ns", [-5, 0, 1 << 60])
    def test_what_is_out_of_range_is_not_lost(self, latency_ns):
        found = Latencies()
        found.record(latency_ns, 1)
        assert found.count == 1
        assert found.quantile_ms(0.5) > 0


class TestWindows:
    def test_each_second_has_its_own(self):
        given = []
        recorder = Recorder(10 * S, given.append)
        recorder.record("put", 10 * S + 1, MS, 2)
        recorder.fail("busy", "it says busy", 3, is_unknown=False)
        recorder.tick(11 * S)
        recorder.record("get", 12 * S + S // 2, MS, 1)
        recorder.finish(12 * S + S // 2)
        assert [(each.second, each.count, each.failed) for each in given] == [
            (0, 2, 3), (1, 0, 0), (2, 1, 0),
        ]  # fmt: skip
        assert recorder.windows == given
        assert recorder.failed == {"busy": 3}
        assert str(recorder.first_error) == "it says busy"

    def test_no_empty_one_at_the_end(self):
        recorder = Recorder(0, lambda _: None)
        recorder.record("put", 5, MS, 1)
        recorder.finish(S)
        assert len(recorder.windows) == 1


def part(place, latency_ms, **how):
    recorder = Recorder(0, lambda _: None)
    for second in range(3):
        recorder.record("put", second * S + 5, latency_ms * MS, 10)
    recorder.finish(3 * S)
    how = {
        "unsent": 0, "cpu_ns": S, "delayed_ns": 0, "failed": {}, "refused": {}, "unknown": False,
    } | how  # fmt: skip
    return ProcessReport(measured_ns=place, ended_ns=3 * S + place, windows=recorder.windows,
                         first_error=None, **how)  # fmt: skip


class TestMerging:
    def test_windows_of_the_same_second_are_one(self):
        report = merge(LOAD, [part(0, 1), part(0, 3)])
        assert report.operations == 60
        assert report.per_s == pytest.approx(20)
        assert [(each.at_s, each.operations) for each in report.windows] == [
            (0, 20), (1, 20), (2, 20),
        ]  # fmt: skip
        assert report.windows[1].latencies.quantile_ms(1) == 3
        assert report.total.mean_ms == pytest.approx(2)

    def test_failures_and_unsent_ones_are_added_up(self):
        report = merge(LOAD, [part(0, 1, failed={"busy": 2}, unsent=4, refused={"busy": 5}),
                              part(0, 1, failed={"busy": 1, "x": 1}, unknown=True,
                                   refused={"busy": 2})])  # fmt: skip
        assert report.failed == {"busy": 3, "x": 1}
        assert (report.unsent, report.unknown, report.failed_count) == (4, True, 4)
        assert (report.refused, report.refused_count) == ({"busy": 7}, 7)

    @pytest.mark.parametrize(
        ("cpu_ns", "delayed_ns", "bound"),
        [(S, 0, False), (2.9 * S, 0, True), (S, 1.9 * S, True), (S, S, False)],
    )
    def test_a_generator_without_time_left_is_the_bottleneck(self, cpu_ns, delayed_ns, bound):
        busy = part(0, 1, cpu_ns=cpu_ns, delayed_ns=delayed_ns)
        assert merge(LOAD, [part(0, 1), busy]).generator_bound is bound
