"""Simulated clients: the work they do and what they write down about it."""

from itertools import pairwise

import pytest

from paxosd.check.exactly_once import check_exactly_once
from paxosd.check.linearizability import check_linearizable
from paxosd.check.workload import BALANCED
from tests.sim.simple import make_client, make_cluster, run_for


def finish(cluster, client, history, count, limit_ms=60_000):
    assert cluster.run_until(lambda: len(history) >= count and client.idle, limit_ms)


class TestWork:
    @pytest.mark.parametrize("open_loop", [False, True])
    def test_all_kinds_at_its_pace(self, open_loop):
        cluster = make_cluster()
        cluster.elect()
        client, history = make_client(cluster, operations=400, duration_ms=20_000,
                                      open_loop=open_loop)  # fmt: skip
        began_ms = cluster.world.now_ms
        client.start()
        finish(cluster, client, history, 400)
        assert history.counts()["ok"] == 400
        assert {each.kind for each in history} == {"put", "get", "delete", "cas", "range",
                                                   "delete_range"}  # fmt: skip
        assert any(each.expect_revision >= 0 for each in history)
        assert 10_000 < cluster.world.now_ms - began_ms < 30_000
        assert check_linearizable(history, alone=True).ok
        assert check_exactly_once(history, {}).ok

    def test_an_open_client_has_several_operations_under_way(self):
        cluster = make_cluster(sync_ms=(20.0, 30.0))
        cluster.elect()
        for open_loop in (False, True):
            client, history = make_client(cluster, f"c{open_loop}", open_loop=open_loop,
                                          burst_mean=10.0)  # fmt: skip
            client.start()
            finish(cluster, client, history, 100)
            ends = sorted((each.invoked, each.returned) for each in history)
            overlap = any(nxt[0] < now[1] for now, nxt in pairwise(ends))
            assert overlap is open_loop

    def test_no_value_is_written_twice(self):
        cluster = make_cluster()
        cluster.elect()
        client, history = make_client(cluster, dies=0.2, ends_session=0.3)
        client.start()
        finish(cluster, client, history, 100)
        values = [each.value for each in history if each.value is not None]
        assert len(values) == len(set(values))

    def test_new_sessions_and_new_lives(self):
        cluster = make_cluster()
        cluster.elect()
        client, history = make_client(cluster, dies=0.1, ends_session=0.3, burst_mean=2.0)
        client.start()
        finish(cluster, client, history, 100)
        assert len(cluster.processes["n1"].machine.sessions.table) >= 1
        assert int(client.id.rpartition(b".")[2]) > 1
        assert check_linearizable(history, alone=True).ok


class TestTrouble:
    def test_without_a_quorum_writes_fail_or_are_unknown_and_end_in_time(self):
        cluster = make_cluster()
        leader = cluster.elect()
        client, history = make_client(cluster, timeout_ms=1500, mix={"put": 1}, asks_outcome=0.0)
        client.start()
        run_for(cluster, 1000)
        for name in cluster.names:
            if name != leader:
                cluster.crash(name)
        run_for(cluster, 4000)
        client.stop()
        assert cluster.run_until(lambda: client.idle, 5000)
        counts = history.counts()
        assert counts["ok"]
        assert counts["unknown"] + counts["failed"] >= 1
        assert all((each.returned - each.invoked) / 1000 < 1700 for each in history)

    def test_an_outcome_query_settles_what_was_unknown(self):
        """Requests and answers are lost: some of the writes were carried out, some never."""
        cluster = make_cluster()
        cluster.elect()
        client, history = make_client(cluster, timeout_ms=400, mix={"put": 1}, asks_outcome=1.0,
                                      burst_mean=1.0, operations=300)  # fmt: skip
        cluster.network.change(client_loss=0.1)
        client.start()
        finish(cluster, client, history, 300, 300_000)
        late = [each for each in history if each.returned - each.invoked > 410_000]
        assert {each.outcome for each in late} == {"ok", "failed"}
        assert history.counts()["unknown"] <= 2, "those whose query found no answer either"
        assert check_linearizable(history, alone=True).ok

    def test_a_client_that_dies_leaves_its_operations_unknown(self):
        cluster = make_cluster()
        cluster.elect()
        client, history = make_client(cluster, mix=BALANCED)
        cluster.network.cut.update(cluster.names)
        operation = client.probe()
        client._die()
        assert (operation.outcome, operation.returned > 0) == ("unknown", True)
        assert client.idle
        cluster.network.cut.clear()
        client.start()
        finish(cluster, client, history, 101)
        assert history.counts() == {"ok": 100, "failed": 0, "unknown": 1}
