"""Ours beside etcd, ZooKeeper and PySyncObj: the same loads, three nodes each, one machine.

    python -m tests.bench.compare [--rows put-1,get-1|all] [--peers etcd,zookeeper] [--pairs 5]
        [--seconds 5] [--rtt-ms 1] [--etcd PROGRAM] [--syscalls] [--markdown FILE] [--svg FILE]
        [-o json]

Systems take turns; while one is measured, the processes of the others are stopped
(SIGSTOP). What is compared is the median of the runs. A system that is not installed is skipped
with a word. docs/BENCHMARKS.md says how to read it, and what cannot be compared.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.compare_cluster import ImpossibleError, LoadFailedError, MissingError
from tests.bench.compare_etcd import Etcd, EtcdTransactions
from tests.bench.compare_failover import run_failover
from tests.bench.compare_ours import Ours
from tests.bench.compare_plot import svg_of
from tests.bench.compare_pysyncobj import PySyncObj
from tests.bench.compare_report import markdown_table, report_of, text_table
from tests.bench.compare_results import Results, describe_machine
from tests.bench.compare_rows import FIRST, ROWS, rows_of
from tests.bench.compare_syscalls import count_syscalls
from tests.bench.compare_zookeeper import Zookeeper

PEERS = (Etcd, EtcdTransactions, Zookeeper, PySyncObj)
WARMUP_S = 1.0


def parse(arguments):
    """The options. Ends with exit code 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.compare", description=__doc__.split("\n", maxsplit=1)[0]
    )
    names = [peer.name for peer in PEERS]
    parser.add_argument("--rows", default=",".join(FIRST), help=f"of {[r.name for r in ROWS]}")
    parser.add_argument("--peers", default=",".join(names), help=f"of {names}; “” for none")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each system in each row")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run, warm-up excluded")
    parser.add_argument("--rtt-ms", type=float, default=0.0, help="between nodes, by a relay")
    parser.add_argument("--etcd", default="", help="the server to run, if not the one in PATH")
    parser.add_argument("--dir", default=".", help="on the disk that is measured")
    parser.add_argument("--syscalls", action="store_true", help="of a follower, by strace")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file, too")
    parser.add_argument("--svg", type=Path, help="draw them into this file")
    parser.add_argument("-o", dest="output", choices=["table", "json"], default="table")
    options = parser.parse_args(arguments)
    try:
        options.rows = rows_of(options.rows.split(","))
        options.peers = peers_of([name for name in options.peers.split(",") if name])
    except ValueError as error:
        parser.error(str(error))
    if options.pairs < 1 or options.seconds <= 0 or options.rtt_ms < 0:
        parser.error("--pairs and --seconds are above 0, --rtt-ms is no less than 0")
    return options


def peers_of(names):
    """The classes of these systems, in the order of the table. Raises ValueError."""
    known = {peer.name: peer for peer in PEERS}
    wrong = [name for name in names if name not in known]
    if wrong:
        raise ValueError(f"no such peer: {', '.join(wrong)}; there are {', '.join(known)}")
    return [peer for peer in PEERS if peer.name in names]


def note(words):
    """Progress, on standard error."""
    print(words, file=sys.stderr, flush=True)


def start_all(kinds, folder, results, stack, programs):
    """Start every system that is there and stop its processes; the clusters. ``programs``: system
    name → the server to run instead of the one in PATH."""
    clusters = []
    for kind in kinds:
        try:
            cluster = kind(folder, results.rtt_ms, programs.get(kind.name, ""))
        except MissingError as missing:
            results.skipped[kind.name] = str(missing)
            note(f"skipped: {missing}")
            continue
        stack.callback(cluster.close)
        cluster.start()
        cluster.wait_ready()
        cluster.freeze()
        clusters.append(cluster)
        results.systems[kind.name] = kind.title
        results.versions[kind.name] = cluster.version()
        results.remarks += kind.remarks
        note(f"ready: {cluster.version()}")
    return clusters


def run_once(cluster, row, results):
    """One run of one row on one system that runs already. What fails is noted, and is no reason
    to end the comparison."""
    try:
        if row.is_failover:
            figures = run_failover(cluster, row, WARMUP_S)
        else:
            figures = cluster.run(row, results.seconds, WARMUP_S)
    except (LoadFailedError, AssertionError) as failed:
        results.failures.append(f"{row.name}: {cluster.title}: {failed}")
        note(f"failed: {results.failures[-1]}")
        return
    results.add(row, cluster.name, figures)
    note(
        f"{row.name:10s} {cluster.name:10s} {figures.per_s:10,.0f}/s   p50 {figures.p50_ms:8.2f} ms"
        f"   p99 {figures.p99_ms:8.2f} ms   gap {figures.gap_ms:7.0f} ms   errors {figures.errors}"
    )


def take_turn(cluster, rows, results):
    """All rows on one system, which runs only for this; those are left out that it cannot do."""
    possible = []
    for row in rows:
        try:
            cluster.check(row)
            possible.append(row)
        except ImpossibleError as impossible:
            results.impossible[row.name, cluster.name] = str(impossible)
    if not possible:
        return
    try:
        cluster.thaw()
        for row in possible:
            run_once(cluster, row, results)
    except AssertionError as failed:
        results.failures.append(f"{cluster.title}: {failed}")
        note(f"failed: {results.failures[-1]}")
    finally:
        cluster.freeze()


def compare(options, folder, results):
    """Run everything; fills ``results``. Ctrl-C ends it early."""
    with ExitStack() as stack:
        programs = dict.fromkeys((Etcd.name, EtcdTransactions.name), options.etcd)
        clusters = start_all([Ours, *options.peers], folder, results, stack, programs)
        try:
            for pair in range(options.pairs):
                # The order is turned round each time, so that neither always comes first.
                for cluster in clusters if pair % 2 == 0 else reversed(clusters):
                    take_turn(cluster, options.rows, results)
            if options.syscalls:
                trace_all(clusters, results)
        except KeyboardInterrupt:
            results.failures.append("interrupted: some runs were not made")


def trace_all(clusters, results):
    """System calls of a follower of each system for one put of one client."""
    (row,) = rows_of(["put-1"])
    for cluster in clusters:
        try:
            cluster.check(row)
            cluster.thaw()
            results.syscalls[cluster.name] = count_syscalls(cluster, row, results.seconds, WARMUP_S)
        except (ImpossibleError, LoadFailedError, MissingError) as words:
            note(f"no system calls of {cluster.title}: {words}")
        finally:
            cluster.freeze()


def main():
    """Measure and print."""
    options = parse(sys.argv[1:])
    # So that the processes of all clusters are ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="compare-", dir=options.dir) as folder:
        results = Results(
            rows=options.rows, machine=describe_machine(folder), rtt_ms=options.rtt_ms,
            pairs=options.pairs, seconds=options.seconds,
        )  # fmt: skip
        compare(options, Path(folder).absolute(), results)
        results.machine["load_after"] = round(os.getloadavg()[0], 2)
    if options.output == "json":
        print(json.dumps(results.as_json(), indent=1))
    else:
        print(report_of(results, text_table), end="")
    if options.markdown:
        options.markdown.write_text(report_of(results, markdown_table))
    if options.svg:
        options.svg.write_text(svg_of(results))


if __name__ == "__main__":
    main()
