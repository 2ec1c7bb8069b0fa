"""What rights cost where commands are applied: one machine in this process, puts of one client.

    python -m tests.bench.apply_speed [--rounds N]                    this tree alone
    python -m tests.bench.apply_speed --before PATH [--rounds N]      beside another tree of paxosd

Each round applies the same slots to a machine without rights, to one that requires them of a client
who may do everything, and of one with prefixes; the rounds take turns with those of the other tree,
and the best time of each counts. Printed: microseconds a command, and the ratio to the first.
"""

import argparse
import json
import subprocess
import sys
import time

SLOTS, PER_SLOT, KEYS = 400, 32, 5000


def _table(commands, keys):
    from paxosd.core.rights import Principal, RightsTable, admin_of  # not in the tree of before

    principals = (
        Principal("app", "client", (b"/app/", b"/b/"), (b"/b/", b"/c/", b"/app/"), (keys[1],)),
        admin_of("root", (keys[0],)),
    )
    return [commands.RIGHTS, 0, RightsTable(1, True, principals).to_command(), b""]


def measure(kind):
    """Seconds for all slots. ``kind``: none, everything or prefixes."""
    from paxosd.core import commands as c
    from paxosd.core.cluster_settings import LEVEL_LATEST, ClusterSettings
    from paxosd.core.state.machine import Machine

    machine, keys = Machine(), [b"\1" * 32, b"\2" * 32]
    machine.settings = ClusterSettings(1, LEVEL_LATEST)
    opening = [c.OPEN] if kind == "none" else [c.OPEN, "", keys[kind == "prefixes"]]
    machine.apply(1, c.Batch(0, [c.Entry(0, 1, 0, [opening])], c.Reign(1, "n1", 1)))
    if kind != "none":
        machine.apply(2, c.Batch(0, [c.Entry(0, 1, 0, [_table(c, keys)])], c.Reign(1, "n1", 2)))
    batches, seq, first = [], 1, machine.applied + 1
    for slot in range(SLOTS):
        commands = [
            [c.PUT, b"/app/%05d" % ((slot * PER_SLOT + place) % KEYS), b"v" * 100]
            for place in range(PER_SLOT)
        ]
        entry = c.Entry(1, seq, seq - 1, commands)
        batches.append(c.Batch(0, [entry], c.Reign(1, "n1", 10 + slot)))
        seq += PER_SLOT
    begun = time.process_time()
    for slot, batch in enumerate(batches, first):
        machine.apply(slot, batch)
    seconds = time.process_time() - begun
    assert machine.revision == SLOTS * PER_SLOT, "a put was refused"
    return seconds


def _round(tree, kind):
    """One measurement in a process of its own, of this tree or of another one."""
    program = (
        "import importlib.util as u, json, sys; "
        f"s = u.spec_from_file_location('m', {__file__!r}); m = u.module_from_spec(s); "
        f"s.loader.exec_module(m); print(json.dumps(min(m.measure({kind!r}) for _ in range(5))))"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {tree!r}); {program}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", help="a tree of paxosd to compare with")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    here = __file__.removesuffix("/tests/bench/apply_speed.py")
    runs = {f"{kind}, this tree": (here, kind) for kind in ("none", "everything", "prefixes")}
    if given.before:
        runs = {"none, the tree before": (given.before, "none")} | runs
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(given.rounds):
        for name, run in runs.items():
            best[name] = min(best[name], _round(*run))
    first = next(iter(best.values()))
    for name, seconds in best.items():
        each_us = 1e6 * seconds / (SLOTS * PER_SLOT)
        print(f"{name:24} {each_us:7.3f} us a command   {seconds / first:5.3f}")


if __name__ == "__main__":
    main()
