"""``python -m paxosd.sim SEED [SEED …]``: run seeds and print a report of each, for debugging.

``--trace`` prints every event; ``--faults a,b`` chooses the kinds ("none" for none).
"""

import argparse
import sys

from paxosd.sim.nemesis import KINDS
from paxosd.sim.run import RunOptions, RunReport, run_seed
from paxosd.sim.trace import Trace


def main() -> int:
    """Returns 1 if a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m paxosd.sim", description=__doc__)
    parser.add_argument("seeds", nargs="+", type=int)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--duration-ms", type=int, default=60_000)
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--faults", default="all", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--members", action="store_true")
    parser.add_argument("--unequal-limits", action="store_true", default=None)
    parser.add_argument("--trace", action="store_true")
    given = parser.parse_args()
    kinds = None if given.faults == "all" else frozenset(given.faults.split(",")) & frozenset(KINDS)
    options = RunOptions(
        nodes=given.nodes,
        duration_ms=given.duration_ms,
        operations=given.operations,
        faults=kinds,
        members=given.members,
        unequal_limits=given.unequal_limits,
    )
    broken = 0
    for seed in given.seeds:
        trace = Trace("all") if given.trace else None
        report = run_seed(seed, options, trace=trace)
        if trace is not None:
            print("\n".join(trace.lines()))
        _print(report)
        broken += not report.ok
    return 1 if broken else 0


def _print(report: RunReport) -> None:
    if not report.ok:
        print("\n".join(report.tail[-60:]))
        print("\n".join(map(str, report.schedule)))
    print(
        f"seed {report.seed}: {report.violation or 'ok'}; checked: {report.checked}; "
        f"{report.operations} operations, {report.acknowledged} acknowledged, "
        f"{report.unknown} unknown; {report.leader_changes} leader changes; "
        f"{report.simulated_ms / 1000:.1f} s in {report.wall_s:.2f} s; {report.digest[:16]}"
    )
    print(f"  faults: {report.faults}")


if __name__ == "__main__":
    sys.exit(main())
