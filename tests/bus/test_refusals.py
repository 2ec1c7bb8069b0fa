"""The log of refusals: one line a source, reason and interval, and nothing goes uncounted."""

from paxosd.bus.refusal_log import OTHERS, RefusalLog
from tests.bus.harness import MemoryLog


def lines(log):
    return [(f["source"], f["reason"], f["count"]) for f in log.of("bus.refused")]


class TestRefusalLog:
    def test_the_first_is_told_at_once_and_the_rest_when_the_interval_is_over(self):
        log = MemoryLog()
        refusals = RefusalLog(log, interval_ms=1000)
        for now_ms in range(0, 1000, 10):
            refusals.note("bus.refused", "a", "kind", now_ms)
        assert lines(log) == [("a", "kind", 1)]
        refusals.note("bus.refused", "a", "kind", 1000)
        assert lines(log)[1:] == [("a", "kind", 100)]

    def test_what_was_counted_is_told_also_if_nothing_comes_any_more(self):
        log = MemoryLog()
        refusals = RefusalLog(log, interval_ms=1000)
        for _ in range(3):
            refusals.note("bus.refused", "a", "kind", 0, detail="x")
        for now_ms in range(0, 5000, 50):
            refusals.tick(now_ms)
        assert lines(log) == [("a", "kind", 1), ("a", "kind", 2)]
        assert len(refusals) == 0  # a quiet source is forgotten

    def test_sources_and_reasons_have_lines_of_their_own(self):
        log = MemoryLog()
        refusals = RefusalLog(log)
        for source in "ab":
            for reason in ("kind", "field"):
                refusals.note("bus.refused", source, reason, 0)
        assert len(lines(log)) == 4

    def test_memory_and_lines_are_bounded_however_many_sources(self):
        log = MemoryLog()
        refusals = RefusalLog(log, sources_max=10)
        for index in range(10_000):
            refusals.note("bus.refused", f"source{index}", "kind", index // 100)
        assert len(refusals) == 11
        assert lines(log)[-1] == (OTHERS, "kind", 1)
        refusals.tick(20_000)
        assert sum(count for _, _, count in lines(log)) == 10_000
