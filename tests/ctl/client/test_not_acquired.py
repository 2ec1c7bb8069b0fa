"""Why a lock was not had, in both dresses: others hold it, a key that nothing ends is in its way,
or the cluster does not answer."""

from contextlib import ExitStack

import pytest

from paxosctl.client import Client, LockLostError, NotAcquiredError
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from tests.ctl.client.dresses import Awaited
from tests.ctl.fake_daemon import closed_port

CLIENTS = {"Client": Client, "AsyncClient": Awaited}


@pytest.fixture(params=CLIENTS)
def make(request):
    with ExitStack() as made:
        yield lambda endpoint: made.enter_context(CLIENTS[request.param]([endpoint], timeout_s=30))


@pytest.fixture
def client(make, daemon):
    daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)
    return make(daemon.endpoint)


def enter(lock):
    """What a block would have raised."""
    with pytest.raises(NotAcquiredError) as found:
        lock.__enter__()
    return found.value


class TestHeld:
    def test_by_another(self, client):
        with client.lock(b"jobs"):
            error = enter(client.lock(b"jobs", timeout_s=0.3))
        assert str(error) == (
            'the lock "jobs" was not acquired: it is held by another; waited 0.3 s'
        )
        assert error.is_held

    def test_a_semaphore_by_others(self, client):
        with client.semaphore(b"jobs", 2), client.semaphore(b"jobs", 2):
            error = enter(client.semaphore(b"jobs", 2, timeout_s=0.3))
        assert "its 2 places are held by others" in str(error)
        assert error.is_held

    def test_an_acquire_that_returned_false(self, client):
        with client.lock(b"jobs"):
            lock = client.lock(b"jobs")
            assert not lock.acquire(timeout_s=0)
            assert "it is held by another" in str(lock.why_not_acquired())


class TestStrays:
    def test_a_key_beside_that_has_no_lease(self, client):
        client.put(b"jobs/by hand", b"")
        error = enter(client.lock(b"jobs", timeout_s=0.3))
        assert error.is_held
        assert 'the key "jobs/by hand" has no lease' in str(error)
        assert str(error).endswith("paxosctl delete 'jobs/by hand'")
        client.delete(b"jobs/by hand")
        with client.lock(b"jobs"):
            pass

    def test_a_key_that_was_put_over_that_of_a_holder(self, client):
        lock = client.lock(b"jobs")
        assert lock.acquire()
        assert client.lock_strays(b"jobs") == []
        client.put(lock.key, b"")
        with pytest.raises(LockLostError):
            lock.release()
        assert client.lock_strays(b"jobs") == [lock.key]
        assert lock.key.decode() in str(enter(client.lock(b"jobs", timeout_s=0.3)))
        client.delete(lock.key)
        with client.lock(b"jobs"):
            pass

    def test_the_oldest_first_over_several_pages(self, client):
        for number in reversed(range(1100)):
            client.put(b"jobs/%04d" % number, b"", lease=client.grant(60) if number > 1095 else 0)
        found = client.lock_strays(b"jobs")
        assert found[:2] == [b"jobs/1095", b"jobs/1094"]
        assert len(found) == 60
        assert client.lock_strays(b"job") == []
        assert client.lock_strays(b"none") == []

    def test_two_of_them(self, client):
        client.put(b"jobs/b", b"")
        client.put(b"jobs/a", b"")
        assert 'the key "jobs/b" (and 1 more)' in str(enter(client.lock(b"jobs", timeout_s=0.3)))


class TestUnanswered:
    def test_nobody_was_ever_reached(self, make):
        error = enter(make(closed_port()).lock(b"jobs", timeout_s=0.2))
        assert "whether others hold it is not known" in str(error)
        assert not error.is_held

    def test_one_look(self, make):
        with pytest.raises(NotAcquiredError, match="has not answered") as found:
            make(closed_port()).lock(b"jobs", ttl_s=1).acquire(timeout_s=0)
        assert not found.value.is_held

    @pytest.mark.parametrize("noticed", [False, True])
    def test_nobody_answers_any_more(self, client, make, daemon, noticed):
        """``noticed``: the waiter has asked since, and has no answer; else only the question what
        is in the way shows it."""
        holder, lock = make(daemon.endpoint).lock(b"jobs", ttl_s=60), client.lock(b"jobs", ttl_s=60)
        assert holder.acquire()
        assert not lock.acquire(timeout_s=0)
        daemon.silent = True
        if noticed:
            lock._was_unanswered = True
        error = lock.why_not_acquired(2)
        assert "it was held by another" in str(error)
        assert "the cluster does not answer any more; waited 2 s" in str(error)
        assert not error.is_held
        daemon.silent = False
        holder.release()
