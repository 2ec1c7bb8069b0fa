"""Locks, and what is made of them, in both dresses of a client: one suite."""

import asyncio
import contextlib
import math
import threading

import pytest

from paxosctl.client import (
    AsyncClient,
    Client,
    FencedOffError,
    LockLostError,
    NotAcquiredError,
    lock_keeper,
)
from paxosctl.client.lock_maker import KeeperOfOne
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from tests.ctl.client.dresses import Awaited
from tests.ctl.fake_daemon import closed_port

CLIENTS = {"Client": Client, "AsyncClient": Awaited}


@pytest.fixture
def endpoint(daemon):
    daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)
    return daemon.endpoint


@pytest.fixture(params=CLIENTS)
def client(request, endpoint):
    with CLIENTS[request.param]([endpoint], timeout_s=30, name="anna") as made:
        yield made


class TestLocks:
    def test_one_holds_it_and_its_token_fences(self, client):
        with client.lock(b"jobs") as lock:
            assert lock.check()
            assert not lock.lost.is_set()
            client.put(b"k", b"1", fence=lock.fence)
            assert not client.lock(b"jobs").acquire(timeout_s=0)
            with pytest.raises(NotAcquiredError, match="held by another"):
                client.lock(b"jobs", timeout_s=0.05).__enter__()
            old = lock.fence
        with client.lock(b"jobs") as lock:
            assert lock.token > old[1]
            with pytest.raises(FencedOffError):
                client.put(b"k", b"2", fence=old)
        assert client.count(b"jobs/", b"jobs0") == 0

    def test_a_semaphore(self, client):
        with client.semaphore(b"s", 2), client.semaphore(b"s", 2) as second:
            third = client.semaphore(b"s", 2)
            assert not third.acquire(timeout_s=0)
            assert second.check()
        assert third.acquire()
        third.release()

    @pytest.mark.parametrize("by", ["lease", "key"])
    def test_a_loss_is_known(self, client, by):
        lock = client.lock(b"jobs", ttl_s=1)
        with pytest.raises(LockLostError), lock:  # noqa: PT012 - the end of the block raises
            if by == "key":
                client.delete(lock.key)
            else:
                client.revoke(next(iter(client.leases())).id)
            (lock.lost.wait_for if hasattr(lock.lost, "wait_for") else lock.lost.wait)(30)
            assert lock.lost.is_set()
            assert not lock.check()

    def test_a_key_that_somebody_deleted_is_a_lost_lock(self, client):
        lock = client.lock(b"jobs", ttl_s=3600)
        lock.acquire()
        client.delete(lock.key)
        with pytest.raises(
            LockLostError, match='the lock "jobs" was lost: its key had been removed'
        ):
            lock.release()
        with lock:
            assert lock.check()

    @pytest.mark.parametrize("timeout_s", [math.nan, -1, 1e300])
    def test_what_is_no_time_to_wait(self, client, timeout_s):
        lock = client.lock(b"jobs")
        with pytest.raises(ValueError, match="timeout_s is from 0 to"):
            lock.acquire(timeout_s)
        with pytest.raises(ValueError, match="timeout_s is from 0 to"):
            client.lock(b"jobs", timeout_s=timeout_s)
        assert lock.acquire(math.inf)
        lock.release()

    @pytest.mark.parametrize("ttl_s", [math.nan, math.inf, -math.inf, 0.9, 1e300, 10**400])
    def test_what_is_no_ttl(self, client, ttl_s):
        for make in (client.grant, lambda ttl_s: client.lock(b"jobs", ttl_s=ttl_s)):
            with pytest.raises(ValueError, match="a TTL is 1 to 31536000 seconds"):
                make(ttl_s)
            with pytest.raises(TypeError, match="a number of seconds, not str"):
                make("10")

    @pytest.mark.parametrize(
        ("fence", "error", "words"),
        [
            (b"jobs", TypeError, "a pair"),
            ((b"jobs", 1, 2), TypeError, "a pair"),
            (7, TypeError, "a pair"),
            (("jobs", 1), TypeError, r"not \(str, int\)"),
            ((b"jobs", "1"), TypeError, r"not \(bytes, str\)"),
            ((b"", 1), ValueError, "names no lock"),
            ((b"jobs", -1), ValueError, "outside"),
        ],
    )
    def test_what_is_no_fence(self, client, fence, error, words):
        with pytest.raises(error, match=words):
            client.put(b"k", b"v", fence=fence)

    def test_misuse(self, client):
        lock = client.lock(b"jobs")
        with pytest.raises(RuntimeError, match="does not hold"):
            lock.release()
        with lock, pytest.raises(RuntimeError, match="already"):
            lock.acquire()
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.lock(b"jobs")


class TestRecipes:
    def test_election(self, client):
        election = client.election(b"primary")
        assert election.leader() is None
        seen = election.observe()
        assert next(seen) is None
        with election.campaign(b"host1") as lead:
            assert election.leader() == (b"host1", lead.key, lead.token)
            assert next(seen).value == b"host1"
        assert next(seen) is None

    def test_barrier(self, client):
        assert not client.barrier(b"start", 2).wait(timeout_s=0.05)
        with client.registry(b"start").register(b""):  # as one more that has come
            assert client.barrier(b"start", 2).wait()
        assert client.barrier(b"start", 2).wait()
        for count in (0, -1, 1.5, 1 << 70):
            with pytest.raises(ValueError, match="a barrier waits for"):
                client.barrier(b"start", count)

    def test_who_loses_its_place_at_a_barrier_hears_of_it(self, client, endpoint):
        over = threading.Event()

        def remove():
            with Client([endpoint], timeout_s=30) as other:
                while not over.wait(0.02):  # again: who was not in yet comes once more
                    other.delete_prefix(b"start/")

        thread = threading.Thread(target=remove)
        thread.start()
        try:
            with pytest.raises(LockLostError):
                client.barrier(b"start", 2).wait(math.inf)
        finally:
            over.set()
            thread.join()

    @pytest.mark.parametrize("dress", CLIENTS)
    def test_nobody_waits_at_a_barrier_for_longer_than_it_said(self, dress, monkeypatch):
        monkeypatch.setattr(lock_keeper, "END_MS", 50)
        with CLIENTS[dress]([closed_port()]) as client:
            assert not client.barrier(b"start", 2, ttl_s=1).wait(0.05)
            with pytest.raises(ValueError, match="timeout_s is from 0 to"):
                client.barrier(b"start", 2).wait(-1)

    def test_counter(self, client):
        counter = client.counter(b"visitors")
        assert (counter.add(3), counter.add(-1)) == (3, 2)
        assert client.get(b"visitors").value == b"2"

    def test_registry(self, client):
        registry = client.registry(b"web")
        seen = registry.watch()
        assert next(seen) == []
        with registry.register(b"a"):
            assert next(seen) == [b"a"]
            with registry.register(b"b"):
                assert registry.instances() == [b"a", b"b"]
        assert [next(seen), next(seen), next(seen)] == [[b"a", b"b"], [b"a"], []]

    def test_config(self, client):
        config = client.config(b"workers", lambda text: int(text or b"4"))
        assert config.value == 4
        client.put(b"workers", b"5")
        assert config.reload() == 5
        seen = config.changes()
        assert next(seen) == 5
        client.put(b"workers", b"many")
        client.put(b"workers", b"6")
        assert next(seen) == 6
        assert (config.value, config.refused) == (6, None)

    def test_the_changes_of_a_config_begin_with_what_it_is_now(self, client):
        config = client.config(b"workers", lambda text: int(text or b"4"))
        for text, value in ((b"5", 5), (b"6", 6), (b"many", 6)):
            client.put(b"workers", text)
            assert next(config.changes()) == value
        assert str(config.refused).endswith("b'many'")
        with pytest.raises(ValueError, match="many"):
            config.reload()


class TestTasks:
    """What tasks have of their own."""

    def run(self, endpoint, scene):
        async def main():
            async with AsyncClient([endpoint], timeout_s=30) as client:
                await scene(client)

        asyncio.run(main())

    def test_who_is_cancelled_while_it_waits_leaves_the_queue(self, endpoint):
        async def scene(client):
            async with client.lock(b"jobs"):
                waiter = client.lock(b"jobs")
                task = asyncio.create_task(waiter.acquire())
                while not waiter.protocol.is_behind:
                    await asyncio.sleep(0.005)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                while await client.count(b"jobs/", b"jobs0") > 1:
                    await asyncio.sleep(0.005)
                assert not await waiter.acquire(timeout_s=0)

        self.run(endpoint, scene)

    def test_a_hundred_tasks_have_it_in_turn(self, endpoint):
        holders = []

        async def hold(lock):
            async with lock:
                holders.append(lock.token)
                assert lock.check()

        async def scene(client):
            await asyncio.gather(*[hold(client.lock(b"jobs", ttl_s=60)) for _ in range(100)])

        self.run(endpoint, scene)
        assert holders == sorted(holders)
        assert len(set(holders)) == 100

    def test_a_loss_wakes_a_task_and_the_client_ends(self, endpoint):
        async def scene(client):
            lock = client.lock(b"jobs")
            await lock.acquire()
            task = asyncio.create_task(lock.lost.wait())
            await asyncio.sleep(0)
            await client.close()
            assert await task
            with pytest.raises(LockLostError, match="closed"):
                await lock.release()

        self.run(endpoint, scene)

    def test_who_is_cancelled_while_it_closes_has_closed(self, endpoint, monkeypatch):
        goes_on = threading.Event()
        close = KeeperOfOne.close

        def close_late(keeper, *, wait=True):
            assert not wait or goes_on.wait(30)
            close(keeper, wait=wait)

        monkeypatch.setattr(KeeperOfOne, "close", close_late)

        async def scene(client):
            await client.put(b"k", b"v")
            await client.lock(b"jobs").acquire()
            task = asyncio.create_task(client.close())
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            goes_on.set()
            with pytest.raises(RuntimeError, match="closed"):
                await client.put(b"k", b"v")

        self.run(endpoint, scene)

    def test_a_config_is_read_by_async_with(self, endpoint):
        async def scene(client):
            await client.put(b"workers", b"5")
            async with client.config(b"workers", lambda text: int(text or b"4")) as config:
                assert config.value == 5
            assert await client.counter(b"workers").value() == 5
            async with contextlib.aclosing(config.changes()) as changes:
                assert await anext(changes) == 5

        self.run(endpoint, scene)
