"""What a load cost the nodes."""

from dataclasses import replace

import pytest

from paxosctl.load.nodes import cost_rows, costs, quantile_ms, sample
from paxosd.core.status import DiskStatus, NodeStatus
from tests.ctl.fake_daemon import FakeDaemon, closed_port

BEFORE = NodeStatus(node="n1", run_id=7, uptime_ms=1000, cpu_ms=500, rss_bytes=1,
                    disk=DiskStatus(syncs=2, sync_us_counts={"960": 2}))  # fmt: skip
AFTER = replace(BEFORE, uptime_ms=3000, cpu_ms=1500, rss_bytes=2 << 20,
                disk=DiskStatus(syncs=102, sync_us_counts={"960": 101, "73728": 1}))  # fmt: skip


def test_only_what_happened_between_the_two_counts():
    (cost,) = costs({"n1": BEFORE}, {"n1": AFTER})
    assert (cost.cpu_percent, cost.rss_bytes, cost.syncs) == (50.0, 2 << 20, 100)
    assert (cost.sync_p50_ms, cost.sync_p99_ms, cost.sync_max_ms) == (0.96, 0.96, 73.728)
    assert cost.message == ""
    assert "50 % CPU" in cost_rows([cost])[0]


def test_a_restart_makes_the_counts_worthless():
    (cost,) = costs({"n1": BEFORE}, {"n1": replace(AFTER, run_id=8)})
    assert (cost.cpu_percent, cost.syncs) == (None, None)
    assert "restarted" in cost.message


def test_a_node_of_an_older_version_says_less():
    old = [replace(each, cpu_ms=0, disk=DiskStatus(syncs=each.disk.syncs))
           for each in (BEFORE, AFTER)]  # fmt: skip
    (cost,) = costs({"n1": old[0]}, {"n1": old[1]})
    assert (cost.cpu_percent, cost.syncs, cost.sync_p99_ms) == (None, 100, None)
    assert "version" in cost.message


def test_a_node_that_does_not_answer_is_named():
    with FakeDaemon() as daemon:
        found = sample([("n1", daemon.endpoint), ("n2", closed_port())])
    one, two = costs(found, found)
    assert one.rss_bytes == 1
    assert "did not answer" in two.message
    assert "n2: it did not answer" in cost_rows([two])[0]


@pytest.mark.parametrize(
    ("counts", "share", "wanted"),
    [({}, 0.5, None), ({10: 0}, 0.5, None), ({10: 1, 20: 1}, 0.5, 0.01), ({10: 1, 20: 1}, 1, 0.02)],
)
def test_quantiles_of_counts(counts, share, wanted):
    assert quantile_ms(counts, share) == wanted
