"""Simulated runs that leave traces, for tests."""

from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.cluster.traces import RunTraces


def record(directory, seed, **options):
    """Run a seed; the report. Its traces are below ``directory``."""
    return run_seed(seed, RunOptions(**options), traces=RunTraces(directory))


SHORT = {"duration_ms": 4000, "operations": 40}
SEED = 3
