"""How long nothing is acknowledged when something goes wrong, in simulated time."""

import pytest

from tests.sim.gaps import SCENES, gap_ms

SEED = 3
LIMITS_MS = {
    "kill": 300,
    "stop": 1000,
    "silent": 1000,
    "loss": 1000,
    "loss_and_stop": 2000,
    "members": 1500,
}
"""Of each scene. Of the first six seeds, a client that waits for the time-out of an attempt made
1010 ms of "stop" (median; 642 ms now); accepts that are sent again after ``retransmit_ms`` alone,
and heartbeats that are not repeated, made up to 1500 ms of "loss" (551 ms now)."""


@pytest.mark.parametrize("what", SCENES)
def test_writes_go_on_in_time(what):
    print(f"seed={SEED}")
    assert gap_ms(SEED, what) <= LIMITS_MS[what]
