"""What fails /livez and /readyz, and what only warns."""

from dataclasses import replace

import pytest

from paxosd.core.status import DiskStatus
from paxosd.metrics.health import ALIVE_MS_MAX, liveness, passes, readiness, report
from tests.metrics.seen import STATUS, observation


def with_status(**changes):
    return observation(status=replace(STATUS, **changes))


def test_a_good_node_is_ready_and_says_why():
    checks = readiness(observation())
    assert passes(checks)
    said = report("ready", checks, verbose=True)
    assert "[+] leader: ok\n" in said
    assert said.endswith("\nready\n")
    assert report("ready", checks, verbose=False) == "ready\n"


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        (with_status(leader=""), "leader"),
        (with_status(lag_slots=1001), "applied"),
        (with_status(disk=DiskStatus(poisoned=True)), "storage"),
        (with_status(state="diverged"), "state"),
        (observation(stopping=True), "running"),
    ],
)
def test_what_makes_a_node_not_ready(seen, name):
    checks = readiness(seen)
    assert not passes(checks)
    assert [check.name for check in checks if not check.ok] == [name]
    said = report("ready", checks, verbose=False).splitlines()
    assert said[0].startswith(f"[-] {name}: ")
    assert said[-1] == "not ready"


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        (with_status(low_space=("n1",)), "space"),
        (with_status(memory="lost"), "memory"),
        (with_status(unconfirmed_by=("n2",)), "memory"),
        (with_status(state="disputed"), "dispute"),
        (with_status(fault_count=2), "faults"),
    ],
)
def test_what_only_warns(seen, name):
    checks = readiness(seen)
    assert passes(checks)
    assert f"[!] {name}: " in report("ready", checks, verbose=True)


def test_the_low_disk_of_another_node_is_its_own_matter():
    assert all(check.ok for check in readiness(with_status(low_space=("n2",))))


def test_alive_as_long_as_the_loop_goes_round():
    assert passes(liveness(1000.0, 1000.0 + ALIVE_MS_MAX))
    assert not passes(liveness(1000.0, 1001.0 + ALIVE_MS_MAX))
