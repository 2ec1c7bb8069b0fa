"""Wall clocks that differ are said once, and shown as long as they do."""

import pytest

from paxosd.core.skew import SKEW_MS_MAX, Skew, SkewNews
from tests.core.parts import Lone

NOW = 1_700_000_000_000


class TestSkew:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_it_is_said_once_until_it_is_well_again(self, sign):
        skew = Skew()
        assert skew.hear("n2", NOW + sign * SKEW_MS_MAX, NOW) is None
        assert skew.hear("n2", NOW + sign * 1001, NOW) == SkewNews("n2", sign * 1001, True)
        assert skew.hear("n2", NOW + sign * 5000, NOW) is None
        assert skew.hear("n2", NOW + sign * 501, NOW) is None  # hardly better
        assert skew.hear("n2", NOW + sign * 500, NOW) == SkewNews("n2", sign * 500, False)
        assert skew.hear("n2", NOW + sign * 1001, NOW) == SkewNews("n2", sign * 1001, True)

    def test_half_of_the_way_counts_and_half_is_doubt(self):
        skew = Skew()
        assert skew.hear("n2", NOW - 2500, NOW, 3000) is None
        assert skew.known_ms["n2"] == 0, "it may have been on its way for so long"
        assert skew.hear("n2", NOW - 4001, NOW, 3000) == SkewNews("n2", -2501, True)
        assert skew.known_ms["n2"] == -1001, "so much at least"
        assert skew.hear("n2", NOW - 1500, NOW, 3000) is None  # it may be well, or not
        assert skew.hear("n2", NOW - 200, NOW, 400) == SkewNews("n2", 0, False)

    def test_each_peer_for_itself(self):
        skew = Skew()
        assert skew.hear("n2", NOW + 9000, NOW) is not None
        assert skew.hear("n3", NOW + 9000, NOW) is not None
        assert skew.known_ms == {"n2": 9000, "n3": 9000}


class TestNode:
    def test_an_event_and_the_status(self):
        lone = Lone()
        lone.node.set_time(0.0, NOW)
        lone.node.peer_wall("n2", NOW + 7200_000)
        lone.node.peer_wall("n2", NOW + 7200_000)
        lone.node.peer_wall("n9", NOW + 7200_000)  # nobody knows it
        notices = [n for n in lone.node.ready().notices if n.event.startswith("clock.")]
        assert [(n.event, n.level) for n in notices] == [("clock.skew", "warning")]
        assert notices[0].fields == {"member": "n2", "skew_ms": 7200_000}
        peers = lone.node.status().peers
        assert (peers["n2"].skew_ms, peers["n3"].skew_ms) == (7200_000, None)
        lone.node.peer_wall("n2", NOW)
        (notice,) = [n for n in lone.node.ready().notices if n.event.startswith("clock.")]
        assert (notice.event, notice.level) == ("clock.well", "info")

    def test_words_that_waited_while_this_node_stood_still_say_nothing(self):
        """28 warnings of one peer within a millisecond, all on one machine with one clock."""
        lone = Lone()
        lone.node.set_time(0.0, NOW)
        lone.node.set_time(5000.0, NOW + 5000)
        for late_ms in (5000, 4000, 0, 3000):
            lone.node.peer_wall("n2", NOW + 5000 - late_ms)
        lone.node.set_time(5001.0, NOW + 5001)
        lone.node.peer_wall("n2", NOW)
        assert not [n for n in lone.node.ready().notices if n.event.startswith("clock.")]
        for now_ms in range(5100, 10_200, 100):
            lone.node.set_time(float(now_ms), NOW + now_ms)
        lone.node.peer_wall("n2", NOW)
        notices = [n for n in lone.node.ready().notices if n.event.startswith("clock.")]
        assert [n.event for n in notices] == ["clock.skew"]
