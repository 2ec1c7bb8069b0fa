"""The load generator of ``paxosctl bench`` for the comparison: says when the load begins.

    python -m tests.bench.compare_load ENDPOINT,ENDPOINT JSON_OF_THE_LOAD [as-is]

Writes "ready" to standard error when all sessions are open and the warm-up begins, and one JSON
object to standard output, with the fields of tests.bench.compare_figures.Figures. Every key is
written once before; ``as-is``: not.
"""

import json
import sys

from paxosctl.client.client import Client
from paxosctl.load.load import Load
from paxosctl.load.processes import default_processes, find_target, run_load

TIMEOUT_S = 60.0
FILL_OUTSTANDING = 100


def main():
    """Fill the keys, run the load, print what it found."""
    endpoints, load = sys.argv[1].split(","), Load(**json.loads(sys.argv[2]))
    with Client(endpoints, timeout_s=TIMEOUT_S) as client:
        target = find_target(client, stale=load.stale)
    if sys.argv[3:] != ["as-is"]:
        _fill(target, load)
    report = run_load(
        target, load, processes=default_processes(load),
        on_begin=lambda: print("ready", file=sys.stderr, flush=True),
    )  # fmt: skip
    elapsed_s = report.elapsed_ns / 1e9
    p50_ms, p99_ms, max_ms = report.total.quantiles_ms((0.5, 0.99, 1.0))
    found = {
        "ops": report.operations, "errors": report.failed_count,
        "elapsed_s": elapsed_s, "p50_ms": p50_ms, "p99_ms": p99_ms, "max_ms": max_ms,
        "generator_cpu_s": sum(report.cpu_shares) * elapsed_s,
    }  # fmt: skip
    print(json.dumps(found))


def _fill(target, load):
    filling = Load(
        outstanding=FILL_OUTSTANDING, connections=1, size=load.size, keys=load.keys,
        distribution="sequential", count=load.keys,
    )  # fmt: skip
    run_load(target, filling)


if __name__ == "__main__":
    main()
