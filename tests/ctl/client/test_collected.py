"""Clients that are collected and were not closed: their locks do not live on."""

import asyncio
import gc
import threading
import warnings
import weakref

import pytest

from paxosctl.client import AsyncClient, Client
from paxosctl.client.lock_keeper import NAME
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from tests.ctl.client.test_shared import wait_until

WORDS = "that has locks was not closed: it gives them back"


@pytest.fixture
def endpoint(daemon):
    daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)
    return daemon.endpoint


@pytest.fixture
def client(endpoint):
    with Client([endpoint], timeout_s=30, name="anna") as made:
        yield made


def acquire_and_forget(endpoint):
    lock = Client([endpoint], timeout_s=30).lock(b"jobs", ttl_s=3600)
    assert lock.acquire()


def acquire_and_forget_in_a_loop(endpoint):
    async def scene():
        lock = AsyncClient([endpoint], timeout_s=30).lock(b"jobs", ttl_s=3600)
        assert await lock.acquire()

    asyncio.run(scene())


@pytest.mark.parametrize("forget", [acquire_and_forget, acquire_and_forget_in_a_loop])
def test_its_locks_are_given_back_and_its_thread_ends(client, endpoint, forget):
    before = set(threading.enumerate())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        forget(endpoint)
        made = set(threading.enumerate()) - before
        threads = [each for each in made if each.name == NAME]
        # Again and again: the thread itself may have hold of the lock for a moment.
        wait_until(lambda: gc.collect() >= 0 and not any(each.is_alive() for each in threads))
        gc.collect()  # the client's own connections, if it was the thread that let go of it
    assert [each.category for each in seen if WORDS in str(each.message)] == [ResourceWarning]
    assert client.lock(b"jobs", ttl_s=3600).acquire(timeout_s=30)


def test_a_lock_keeps_its_client(client, endpoint):
    made = Client([endpoint], timeout_s=30)
    alive = weakref.ref(made)
    with made.lock(b"jobs") as lock:
        del made
        gc.collect()
        assert lock.check()
        assert not client.lock(b"jobs").acquire(timeout_s=0)
    alive().close()


def test_a_lock_that_nobody_has_any_more_is_kept_by_its_client(client, endpoint):
    with Client([endpoint], timeout_s=30) as made:
        made.lock(b"jobs").acquire()
        gc.collect()
        assert not client.lock(b"jobs").acquire(timeout_s=0)
    assert client.lock(b"jobs").acquire(timeout_s=30)


def test_who_closes_is_not_warned(endpoint):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with Client([endpoint], timeout_s=30) as made, made.lock(b"jobs"):
            pass
        del made
        gc.collect()
    assert [each for each in seen if WORDS in str(each.message)] == []
