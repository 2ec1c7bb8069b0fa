"""Bugs that systems like this really had, against real processes; docs/TESTING.md has the list."""

import random
import signal
import time

import pytest

from tests.processes.processes import Daemons, wait_for


@pytest.fixture
def trio(tmp_path):
    with Daemons(tmp_path) as daemons:
        yield daemons


def test_14_a_request_tried_again_after_the_leader_froze_is_applied_once(trio):
    """The frozen leader has the request in its socket, and takes it when it wakes."""
    trio.start()
    leader = trio.wait_leader()
    with trio.client(leader, *trio.followers(leader), timeout_s=30.0) as client:
        client.put(b"warm", b"up")  # the session is open, the leader known
        trio.signal(leader, signal.SIGSTOP)
        revision = client.put(b"once", b"v")  # ends by its deadline, at the latest
        trio.signal(leader, signal.SIGCONT)
        assert trio.wait_leader() != ""
        trio.wait_equal()
        found = client.get(b"once")
        assert (found.version, found.modify_revision) == (1, revision)
    trio.check_equal()


def test_16_a_member_that_never_came_is_named_before_anything_is_written(trio):
    """As with a misspelt address: three are configured, two are there. A cluster does not begin
    with a failure that nobody knows of."""
    trio.start("n1", "n2")
    wait_for(lambda: (trio.status("n1") or {}).get("unconfirmed_by") == ["n3"], what="n1 to wait")
    view = trio.status("n1")
    assert view["fault_tolerance"] <= 0
    assert not view["peers"]["n3"]["reachable"]
    trio.start("n3")
    leader = trio.wait_leader()
    wait_for(lambda: trio.status(leader)["fault_tolerance"] == 1, what="the third member")
    trio.kill("n3" if leader != "n3" else "n1")
    wait_for(lambda: trio.status(leader)["fault_tolerance"] == 0, what="the loss to be told")


def test_17_killed_in_the_first_second_of_life_again_and_again(trio):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(6):
        trio.start()
        over = time.monotonic() + rng.uniform(0.0, 1.0)
        wait_for(lambda over=over: time.monotonic() >= over, what="a moment of life")
        assert trio.kill() == [-9, -9, -9]
    trio.start()
    with trio.client(timeout_s=60.0) as client:
        assert client.put(b"k", b"v") > 0
        assert client.get(b"k").value == b"v"
    trio.check_equal()
