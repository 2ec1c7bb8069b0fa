"""Frames, connections and floods of people who mean harm, on all ports of a real cluster with keys.

    python -m tests.bench.fuzz_ports [--frames 1000000] [--seconds 120] [--each 8] [--seed N]

Attackers are processes, each with a way of its own (``fuzz_attackers.py``):

    client          the key of a client that may write fuzz/ alone: mutated requests
    subscriber      an admin's key on the events port: mutated subscriptions
    liar            the key of a node: mutated messages, most of them in other nodes' names, to the
                    peer port of another node, and vouched requests to its client port
    … at once       the same, mutated beforehand and sent as fast as they leave
    stranger        raw TCP on every port: what is almost a greeting, and what is none
    handshakes      connections whose handshakes fail, for ever
    idle            1,000 connections that send nothing, again and again
    deaf            connections that ask for much and never read
    watching        subscribers to everything that never read
    opener          opens sessions for ever
    big             frames of up to 3 MiB

What they mutate are the examples of every message, and frames that a real cluster exchanged
(``fuzz_recording.py``).

Meanwhile an honest client puts one key after another, in a process of its own. Three measurements:

    apart      nodes and honest client on one core, attackers on another: each kind alone, then all
               of them. Compared with the same arrangement in which as many processes are busy on
               the other core and send nothing. What is left is what the nodes themselves pay.
    together   everybody on all cores, attackers at the lowest priority, compared with no attackers:
               there the processor time that attackers take from three nodes counts as well.

Printed: p50 and p99 of the honest client's puts and how they compare, frames sent, what was refused
and why, each node's memory before, at most, and after, whether all nodes run and all writes are
there. The exit code is 1 if a node ended, grew by more than MEMORY_MIB, or lost a write.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import statistics
import struct
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from paxosctl.auth import tables
from paxosctl.client import Client
from paxosd.core.cluster_settings import LEVEL_KEYS
from paxosd.core.rights import NO_RIGHTS, Principal
from paxosd.net.key_files import make_key
from tests.bench.fuzz_attackers import (
    CLUSTER,
    VALUE_BYTES,
    VALUES,
    Target,
    attackers,
    spinning,
    work,
)
from tests.bench.fuzz_recording import real_frames
from tests.processes.keyed import KeyedDaemons
from tests.processes.processes import wait_for

MEMORY_MIB = 400
QUIET_S = 10.0
SETTLE_S = 1.0
NODES_CORE, ATTACKERS_CORE = 0, 1
_PUT = struct.Struct("=dd")
_SPAWN = multiprocessing.get_context("spawn")


def honest(endpoints, key, path, over):
    """One put after another; when each began and how long it took, in seconds, into a file."""
    with Client(endpoints, timeout_s=60.0, key=key) as client, open(path, "wb", 0) as took:
        number = 0
        while not over.is_set():
            began_s = time.monotonic()
            client.put(b"honest/%d" % number, b"%d" % number)
            took.write(_PUT.pack(began_s, time.monotonic() - began_s))
            number += 1


@dataclass
class Phase:
    """What was measured between two moments. ``before``, ``most``: MiB of each node."""

    name: str
    before: dict[str, int]
    began_s: float = 0.0
    ended_s: float = 0.0
    sent: int = 0
    most: dict[str, int] = field(default_factory=dict)

    def grown(self):
        """By how many MiB the node grew that grew most."""
        return max(self.most[name] - self.before[name] for name in self.before)


class Trial:
    """A cluster under attack, and its honest client."""

    def __init__(self, daemons, seed, frames):
        self.daemons = daemons
        self.seed = seed
        app = make_key("app", "client", CLUSTER, daemons.servers())
        give_rights(daemons, app)
        self.target = Target(daemons, app, frames)
        self.kinds = attackers(self.target)
        with Client(daemons.endpoints, timeout_s=60.0, key=app) as client:
            for number in range(VALUES):
                client.put(b"fuzz/%d" % number, bytes(VALUE_BYTES))
        self._path = Path(daemons.path) / "honest.took"
        self._end = _SPAWN.Event()
        self._client = _SPAWN.Process(
            target=honest, args=(daemons.endpoints, daemons.alice, self._path, self._end)
        )

    def __enter__(self):
        self._client.start()
        wait_for(lambda: self._path.exists() and self.puts(0, 1e99), what="an honest put")
        return self

    def __exit__(self, *_):
        self._end.set()
        self._client.join(90)
        self._client.kill()

    def place(self, cores):
        """From now on nodes and honest client run on these cores."""
        pids = [each.pid for each in (*self.daemons.processes.values(), self._client)]
        for thread in [each for pid in pids for each in os.listdir(f"/proc/{pid}/task")]:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), cores)

    def run(self, name, kinds, seconds, *, core=None, frames=None, busy=0):
        """A phase: attackers of these kinds, or ``busy`` processes that send nothing, on ``core``,
        for so long, or until so many frames were sent."""
        ways = [self.kinds[each] for each in kinds] + [(spinning, {})] * busy
        over, phase = _SPAWN.Event(), Phase(name, rss_mib(self.daemons))
        counts = [_SPAWN.Value("q", 0, lock=False) for _ in ways]
        processes = []
        for way, sent in zip(ways, counts, strict=True):
            self.seed += 1
            parts = way[0], self.target, self.seed, sent, over, core, way[1]
            processes.append(_SPAWN.Process(target=work, args=parts))
            processes[-1].start()
        if processes:
            time.sleep(SETTLE_S)  # until they are at work, as far as that can be known
        phase.began_s, phase.most = time.monotonic(), dict(phase.before)
        while time.monotonic() - phase.began_s < seconds:
            time.sleep(0.25)
            self._note_memory(phase)
            if frames is not None and sum(each.value for each in counts) >= frames:
                break
        phase.ended_s = time.monotonic()
        over.set()
        for each in processes:
            each.join(20)
            each.kill()
        phase.sent = sum(each.value for each in counts)
        time.sleep(SETTLE_S)
        self._note_memory(phase)
        return phase

    def _note_memory(self, phase):
        for name, mib in rss_mib(self.daemons).items():
            phase.most[name] = max(phase.most[name], mib)

    def puts(self, began_s, ended_s):
        """How long each put took that began within that time, in seconds."""
        data = self._path.read_bytes()
        rows = _PUT.iter_unpack(data[: len(data) // _PUT.size * _PUT.size])
        return [took for began, took in rows if began_s <= began < ended_s]

    def quantiles(self, *phases):
        """p50 and p99 of the honest client's puts in these phases, in ms."""
        took = [each for phase in phases for each in self.puts(phase.began_s, phase.ended_s)]
        cuts = statistics.quantiles(took, n=100) if len(took) > 1 else [0] * 99
        return cuts[49] * 1000, cuts[98] * 1000


def rss_mib(daemons):
    """Resident memory of each node; 0: it does not run."""
    found = {}
    for name, process in daemons.processes.items():
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        except OSError:
            pages = 0
        found[name] = pages * 4096 >> 20
    return found


def give_rights(daemons, app):
    """A rights table in which the attackers' client may write fuzz/ alone."""
    daemons.wait_leader()
    wait_for(lambda: (daemons.status("n1") or {}).get("level", 0) >= LEVEL_KEYS, what="the level")
    peers = {name: (key.public_key,) for name, key in daemons.keys.items()}
    table = tables.first_table(NO_RIGHTS, "alice", daemons.alice.public_key, peers)
    daemons.set_rights(table, 0)
    client = Principal("app", "client", (b"fuzz/",), (b"fuzz/",), (app.public_key,))
    daemons.set_rights(tables.new(table, client), 1)


def print_row(trial, phase, base):
    """A row of the table: quantiles, what they are of those of ``base``, and the rest."""
    p50, p99 = trial.quantiles(phase)
    base50, base99 = trial.quantiles(*base)
    ratios = f"{p50 / (base50 or 1):4.1f} {p99 / (base99 or 1):5.1f}"
    span_s = phase.ended_s - phase.began_s
    puts = len(trial.puts(phase.began_s, phase.ended_s))
    print(f"{phase.name:26} {phase.sent / span_s:8.0f} {puts / span_s:6.0f} {p50:6.1f} {p99:6.1f} "
          f"{ratios} {phase.grown():+5d} MiB", flush=True)  # fmt: skip


HEAD = "attackers                  frames/s puts/s    p50    p99  of quiet p50, p99, memory"


def measure_apart(trial, kinds, each_s, all_s, frames):
    """Each kind alone and all at once, with attackers on a core of their own."""
    trial.place({NODES_CORE})
    quiet, phases = [], []
    print(f"apart: nodes and honest client on one core, attackers on another\n{HEAD}")
    for kind in kinds if each_s else ():
        quiet.append(trial.run("quiet", (), each_s / 2, core=ATTACKERS_CORE, busy=1))
        phases.append(trial.run(kind, (kind,), each_s, core=ATTACKERS_CORE))
        print_row(trial, phases[-1], quiet)
    if quiet:
        print_row(trial, max(quiet, key=lambda each: trial.quantiles(each)[1]), quiet)
    busy = trial.run(f"{len(kinds)} busy", (), QUIET_S, core=ATTACKERS_CORE, busy=len(kinds))
    print_row(trial, busy, [busy])
    phases.append(trial.run("all", kinds, all_s, core=ATTACKERS_CORE, frames=frames))
    print_row(trial, phases[-1], [busy])
    return [*phases, *quiet, busy]


def measure_together(trial, kinds, seconds, frames):
    """All kinds at once, on the cores of the nodes."""
    trial.place(set(range(os.cpu_count() or 1)))
    print(f"together: everybody on all cores, attackers at the lowest priority\n{HEAD}")
    quiet = trial.run("quiet", (), min(QUIET_S, seconds))
    print_row(trial, quiet, [quiet])
    phase = trial.run("all", kinds, seconds, frames=frames)
    print_row(trial, phase, [quiet])
    return [quiet, phase]


def report(trial, first, phases):
    """Print what became of the nodes; whether all is well."""
    daemons = trial.daemons
    alive = {name: process.poll() is None for name, process in daemons.processes.items()}
    print(f"{sum(each.sent for each in phases)} frames sent; nodes that run: {alive}")
    after = rss_mib(daemons)
    most = {name: max(each.most[name] for each in phases) for name in daemons.names}
    for name in daemons.names:
        print(f"  {name}: {first[name]} MiB before, {most[name]} at most, {after[name]} after")
    if not all(alive.values()):
        return False
    for name in daemons.names:
        counters = wait_for(lambda name=name: daemons.status(name), 60, "a status")["counters"]
        refused = {k: n for k, n in sorted(counters.items()) if k.startswith("refused")}
        print(f"  {name}: {refused}")
    written = len(trial.puts(0, 1e99))
    with daemons.client(timeout_s=60.0) as client:
        there = sum(1 for _ in client.scan(b"honest/"))
    print(f"  {there} of the honest client's {written} or more puts are there")
    return max(most[name] - first[name] for name in daemons.names) <= MEMORY_MIB and (
        there >= written
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000, help="of all kinds at once")
    parser.add_argument("--seconds", type=float, default=120.0, help="at most, for those")
    parser.add_argument("--each", type=float, default=8.0, help="seconds of each kind; 0: none")
    parser.add_argument("--only", action="append", help="this kind, and no others")
    parser.add_argument("--no-together", action="store_true")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory() as place:
        frames = real_frames(Path(place) / "recorded")
        with KeyedDaemons(Path(place)) as daemons:
            daemons.start()
            daemons.wait_leader()
            first = rss_mib(daemons)
            with Trial(daemons, asked.seed, frames) as trial:
                kinds = tuple(asked.only or trial.kinds)
                phases = measure_apart(trial, kinds, asked.each, asked.seconds, asked.frames)
                if not asked.no_together:
                    phases += measure_together(trial, kinds, asked.seconds / 3, asked.frames)
            sys.exit(0 if report(trial, first, phases) else 1)


if __name__ == "__main__":
    main()
