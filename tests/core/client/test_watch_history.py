"""A watch is of one history: it ends, with a word, where revisions mean something else."""

import pytest

from paxosd.core.client.cluster_info import ClusterInfo
from paxosd.core.client.watch import WatchState
from paxosd.core.client.watch_effects import (
    FAILED_CLUSTER,
    FAILED_HISTORY,
    Connect,
    Fail,
    Pull,
    WatchOptions,
)
from paxosd.core.commands import Change
from paxosd.core.events import ProgressEvent
from paxosd.core.requests import HistoryAnswer
from paxosd.wire.status import decode_status

GRACE_MS = 2000


class Bench:
    """A watch that a test feeds; ``failed``: how it ended."""

    def __init__(self, grace_ms=GRACE_MS, **how):
        self.state = WatchState(b"k", options=WatchOptions(history_grace_ms=grace_ms), **how)
        self.now_ms = 0
        self.effects = self.state.start(0)

    def progress(self, revision, age_ms=0, node="n1", last=0, after_ms=200):
        self.now_ms += after_ms
        event = ProgressEvent(node, 1, b"k", revision, 1, last, age_ms)
        self.effects = self.state.on_event(self.state.attempt, "c1", event, self.now_ms)
        return self.effects

    def identity(self, cluster="c1", node="n1", history="", attempt=None, restored_from=None):
        status = {"cluster": cluster, "node": node, "genesis": history}
        if history is None:
            del status["genesis"]
        info = ClusterInfo.of_status(decode_status(status | {"restored_from": restored_from or {}}))
        attempt = self.state.attempt if attempt is None else attempt
        return self.state.on_identity(attempt, info, self.now_ms)

    @property
    def failed(self):
        return self.state.failed


class TestIdentity:
    def test_the_first_node_says_which_history_it_is(self):
        bench = Bench()
        assert bench.identity(history="aa") == []
        assert (bench.state.cluster, bench.state.history) == ("c1", "aa")
        assert bench.identity(node="n2", history="aa") == []

    def test_a_node_of_another_history_ends_the_watch(self):
        bench = Bench()
        bench.identity(history="aa")
        (fail,) = bench.identity(node="n2", history="bb")
        assert fail == bench.failed
        assert fail.code == FAILED_HISTORY
        assert "n2" in fail.message
        assert "bb" in fail.message
        assert "restored from an earlier snapshot, or founded anew" in fail.message

    def test_a_node_of_another_cluster_ends_the_watch(self):
        bench = Bench()
        bench.identity(history="aa")
        (fail,) = bench.identity(cluster="c2", history="aa")
        assert fail.code == FAILED_CLUSTER
        assert fail.message.endswith("check the endpoints")

    def test_the_snapshot_that_a_cluster_began_with_is_named(self):
        whence = {"cluster": "c1", "slot": 9, "revision": 400}
        words = "it was restored from a snapshot of cluster 'c1' as of revision 400. Read"
        bench = Bench()
        bench.identity(history="aa")
        (fail,) = bench.identity(cluster="c2", history="bb", restored_from=whence)
        assert (fail.code, words in fail.message) == (FAILED_CLUSTER, True)
        bench = Bench(history="aa")
        (fail,) = bench.identity(history="bb", restored_from=whence)
        assert (fail.code, words in fail.message) == (FAILED_HISTORY, True)
        bench = Bench(from_revision=1000)
        bench.identity(history="bb", restored_from=whence)
        while bench.failed is None:
            bench.progress(500)
        assert words in bench.failed.message

    def test_as_long_as_nobody_knows_the_history_there_is_none_to_differ(self):
        bench = Bench()
        assert bench.identity(history="") == []
        assert bench.identity(node="n2", history="aa") == []
        assert bench.identity(node="n3", history="bb") == [bench.failed]

    def test_a_node_that_does_not_know_yet_is_left(self):
        """One that was emptied has founded nothing yet: soon it may be of another history."""
        bench = Bench()
        bench.identity(history="aa")
        bench.now_ms = 10_000
        (connect,) = bench.identity(node="n2", history="")
        assert isinstance(connect, Connect)
        assert "n2 has not heard yet which history it is of" in connect.reason
        assert bench.failed is None

    def test_a_node_of_an_older_program_says_none_and_is_believed(self):
        bench = Bench()
        bench.identity(history="aa")
        assert bench.identity(node="n2", history=None) == []
        assert bench.state.history == "aa"

    def test_a_watch_that_goes_on_brings_its_history(self):
        bench = Bench(from_revision=5, history="aa")
        assert bench.identity(history="bb") == [bench.failed]

    def test_what_a_closed_connection_said_means_nothing(self):
        bench = Bench()
        bench.identity(history="aa")
        assert bench.identity(node="n2", history="bb", attempt=0) == []
        assert bench.failed is None


class TestAhead:
    @pytest.mark.parametrize("age_ms", [0, 500])
    def test_a_revision_that_no_fresh_state_has_ends_the_watch(self, age_ms):
        bench = Bench(from_revision=1000)
        while bench.failed is None:
            bench.progress(500, age_ms)
            assert bench.now_ms <= GRACE_MS + age_ms + 400
        assert bench.effects == [bench.failed]
        assert bench.failed.code == FAILED_HISTORY
        assert bench.failed.detail == 501
        assert "newest revision of cluster 'c1' is 500" in bench.failed.message
        assert "goes on from revision 1000" in bench.failed.message
        assert "from revision 501 on" in bench.failed.message
        assert bench.now_ms >= GRACE_MS + age_ms

    def test_the_revision_that_comes_next_is_waited_for(self):
        bench = Bench(from_revision=501)
        for _ in range(100):
            bench.progress(500)
        assert bench.failed is None

    @pytest.mark.parametrize("age_ms", [-1, 9000])
    def test_a_state_that_may_be_old_proves_nothing(self, age_ms):
        bench = Bench(from_revision=1000)
        for _ in range(40):
            bench.progress(500, age_ms)
            if isinstance(bench.effects and bench.effects[0], Connect):
                break
        assert bench.failed is None

    def test_a_follower_that_is_ahead_of_the_leader_for_a_moment_proves_nothing(self):
        bench = Bench(from_revision=1000)
        for _ in range(5):
            for _ in range(8):
                bench.progress(998, node="n1")
            bench.progress(1000, node="n2")
        assert bench.failed is None

    def test_it_holds_over_several_nodes_and_connections(self):
        bench = Bench(from_revision=1000)
        for _ in range(20):
            bench.progress(500)
            effects = bench.state.on_disconnect(bench.state.attempt, "lost", bench.now_ms)
            bench.now_ms += 5000
            effects += bench.state.on_tick(bench.now_ms)
            if bench.failed is not None:
                break
        assert bench.failed.code == FAILED_HISTORY

    def test_a_running_watch_ends_when_its_cluster_is_put_back(self):
        bench = Bench()
        bench.progress(1000)
        for _ in range(20):
            bench.progress(400, node="n2")
        assert bench.failed.code == FAILED_HISTORY
        assert "goes on from revision 1001" in bench.failed.message

    def test_each_revision_that_it_gets_begins_the_time_anew(self):
        bench = Bench(from_revision=1)
        for revision in range(10, 200, 10):
            (pull,) = bench.progress(revision, last=revision)
            assert isinstance(pull, Pull)
            changes = [Change(revision, 1, b"k", b"v")]
            answer = HistoryAnswer(pull.request.request_id, changes, revision + 1, revision)
            bench.state.on_answer(bench.state.attempt, answer, bench.now_ms)
            bench.progress(revision - 1, last=revision - 1)
        assert bench.failed is None

    def test_a_shell_that_does_not_ask_for_it_waits_for_ever(self):
        bench = Bench(grace_ms=None, from_revision=1000)
        for _ in range(1000):
            bench.progress(500)
        assert bench.failed is None
        assert not any(isinstance(effect, Fail) for effect in bench.effects)
