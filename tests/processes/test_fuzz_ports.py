"""A slice of ``tests.bench.fuzz_ports``, with another seed each time."""

import random

import pytest

from tests.bench.fuzz_ports import Trial, report, rss_mib
from tests.bench.fuzz_recording import kinds_of, real_frames
from tests.processes.keyed import KeyedDaemons


@pytest.mark.slow
def test_nodes_survive_strangers_liars_and_floods(tmp_path):
    seed = random.SystemRandom().getrandbits(31)
    print(f"seed {seed}")
    frames = real_frames(tmp_path / "recorded")
    assert kinds_of(frames["peer"]) >= 10
    assert kinds_of(frames["client"]) >= 4
    with KeyedDaemons(tmp_path) as daemons:
        daemons.start()
        daemons.wait_leader()
        first = rss_mib(daemons)
        with Trial(daemons, seed, frames) as trial:
            phase = trial.run("all", tuple(trial.kinds), 20.0, frames=20_000)
        assert phase.sent > 1000, "frames were sent"
        assert report(trial, first, [phase])
        daemons.check_equal()
