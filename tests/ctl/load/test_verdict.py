"""The verdict of check perf, and the page that --plot draws."""

from xml.etree import ElementTree

import pytest

from paxosctl.load.criteria import SIZES, judge, load_of_size
from paxosctl.load.load import Load
from paxosctl.load.plot import page
from paxosctl.load.recorder import ProcessReport, Recorder
from paxosctl.load.report import merge

MS = 1_000_000
S = 1_000_000_000


def report_of(load, latencies_ms, *, seconds=1, failed=0, refused=0):
    """As if each second had these latencies."""
    recorder = Recorder(0, lambda _: None)
    for second in range(seconds):
        for latency_ms in latencies_ms:
            recorder.record("put", second * S + 1, int(latency_ms * MS), 1)
    if failed:
        recorder.fail("busy", "it says busy", failed, is_unknown=False)
    if refused:
        recorder.refuse("busy", refused)
    recorder.finish(seconds * S)
    return merge(load, [ProcessReport(0, seconds * S, recorder.windows, recorder.failed,
                                      recorder.refused, False, recorder.first_error, 0, 0,
                                      0)])  # fmt: skip


def failing(latencies_ms, **how):
    load = load_of_size("s", 1000)
    return {each.check for each in judge(report_of(load, latencies_ms, **how)) if not each.ok}


class TestCriteria:
    def test_the_sizes_are_those_of_etcd(self):
        assert SIZES == {"s": (50, 150), "m": (200, 1000), "l": (500, 8000), "xl": (1000, 15_000)}

    @pytest.mark.parametrize("size", SIZES)
    def test_each_client_has_a_connection_and_waits_for_its_answer(self, size):
        load = load_of_size(size, 60_000)
        assert load.sessions == load.connections == load.outstanding == SIZES[size].clients
        assert (load.per_frame, load.rate) == (1, SIZES[size].rate)

    def test_good(self):
        assert failing([5] * 150) == set()

    def test_ninety_percent_is_enough(self):
        assert failing([5] * 135) == set()
        assert failing([5] * 134) == {"throughput"}

    def test_one_slow_request(self):
        assert failing([5] * 150 + [499]) == set()
        assert failing([5] * 150 + [501]) == {"slowest"}

    def test_deviation(self):
        assert failing([5] * 80 + [190] * 80) == set()
        assert failing([5] * 80 + [300] * 80) == {"deviation"}

    def test_one_failure(self):
        assert failing([5] * 150, failed=1) == {"errors"}

    def test_what_was_refused_and_came_later_is_no_failure(self):
        assert failing([5] * 150, refused=20) == set()

    def test_nothing_at_all_is_not_good(self):
        assert failing([]) == {"throughput", "slowest", "deviation"}


class TestPage:
    def draw(self, latencies_ms, **how):
        load = Load(outstanding=1, connections=1, size=1, keys=1)
        text = page("bench put", ["5 < 6 & more"], report_of(load, latencies_ms, **how))
        assert "http" not in text
        assert "<script" not in text
        return ElementTree.fromstring(text.replace("<!doctype html>\n", "")
                                      .replace('<meta charset="utf-8">', ""))  # fmt: skip

    def test_three_charts(self):
        root = self.draw([1, 2, 300], seconds=5)
        charts = root.findall(".//svg")
        assert [len(each.findall("polyline")) for each in charts] == [1, 3, 1]
        points = charts[0].find("polyline").get("points").split()
        assert len(points) == 5
        assert root.find(".//p").text == "5 < 6 & more"
        for line in root.findall(".//polyline"):
            for point in line.get("points").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= 880
                assert 0 <= y <= 260

    def test_failures_are_drawn_too(self):
        assert len(self.draw([1, 2], failed=3).find(".//svg").findall("polyline")) == 2

    def test_refusals_are_drawn_too(self):
        assert len(self.draw([1, 2], refused=3).find(".//svg").findall("polyline")) == 2

    @pytest.mark.parametrize(("latencies_ms", "seconds"), [([], 1), ([4], 1), ([0.001] * 3, 2)])
    def test_little_to_draw(self, latencies_ms, seconds):
        self.draw(latencies_ms, seconds=seconds)
