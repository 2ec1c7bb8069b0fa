"""A slice of ``tests.bench.fuzz_ports``, with another seed each time."""

import random

import pytest

from tests.bench.fuzz_ports import attack, report, rss_mib
from tests.processes.keyed import KeyedDaemons


@pytest.mark.slow
def test_nodes_survive_strangers_liars_and_floods(tmp_path):
    seed = random.SystemRandom().getrandbits(31)
    print(f"seed {seed}")
    with KeyedDaemons(tmp_path) as daemons:
        daemons.start()
        daemons.wait_leader()
        first = rss_mib(daemons)
        found = attack(daemons, 20_000, 20.0, seed, baseline_s=1.0)
        assert found[0] > 1000, "frames were sent"
        assert report(daemons, first, found)
        daemons.check_equal()
