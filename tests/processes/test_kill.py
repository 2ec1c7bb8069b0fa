"""kill -9, of one node after another and of all at once, while clients write."""

import random

import pytest

from tests.processes.load import Load
from tests.processes.processes import Daemons

ROUNDS = 12
SEED = 20251124


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_and_nothing_is_applied_twice(tmp_path):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    with Daemons(tmp_path) as daemons:
        daemons.start()
        daemons.wait_leader()
        with Load(daemons, seed=SEED, pause_s=0.01) as load:
            load.wait_more(50)
            for number in range(ROUNDS):
                victim = rng.choice(daemons.names)
                assert daemons.kill(victim) == [-9]
                load.wait_more(20)  # the other two go on
                daemons.start(victim)
                daemons.wait_up(victim)
                print(f"round {number}: {victim}, {load.acked} acknowledged")
            load.wait_more(20)
        print(f"{load.settled} writes were unknown, {load.readers[0].done} reads")
        assert load.readers[0].done
        load.check()
        daemons.check_equal()


@pytest.mark.timeout(300)
def test_all_killed_at_once(tmp_path):
    with Daemons(tmp_path) as daemons:
        daemons.start()
        daemons.wait_leader()
        with Load(daemons, seed=SEED, pause_s=0.01) as load:
            load.wait_more(200)
            for _ in range(2):
                assert daemons.kill() == [-9, -9, -9]
                daemons.start()
                load.wait_more(50)
        load.check()
        daemons.check_equal()
        daemons.kill()
        daemons.start()
        load.check()
        daemons.check_equal()
