"""Nodes that know each other by names, which come late and change, on hosts of their own."""

import pytest

from tests.bench.three_hosts import BOUND_S, run_round


@pytest.mark.timeout(180)
def test_a_name_that_comes_late_and_one_that_changes(namespaces, tmp_path):
    """ZOOKEEPER-4728, etcd#7798: in bounded time, without a restart, and the log names the host."""
    late_s, moved_s = run_round(tmp_path)
    assert late_s <= BOUND_S
    assert moved_s <= BOUND_S
