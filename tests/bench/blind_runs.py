"""Faults that are drawn by a seed, and whether the verbs find them: what was it, and where?

    python -m tests.bench.blind_runs --rounds 50 [--seed N] [--none 10] [--json] [--keep DIR]
    python -m tests.bench.blind_runs --judge DIR        # rounds that were kept, judged again
    python -m tests.bench.blind_runs --judge DIR --bundles    # on bundles of what the nodes left

In each round three daemons, on hosts of their own as far as the network goes, carry a load; one or
two faults (``blind_faults.py``) begin and end, by turns such as the daemons cannot know and such
as they log. Then all are killed, and ``blind_judge.py``, which sees nothing but the answers of the
verbs on the data directories, says what it was: right, not known, or wrong. ``--none``: so many
rounds more without any fault. A round is repeated by ``--seed`` of its line and ``--rounds 1``.

It needs root, to make a network.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.blind_faults import Injector, SlowHost, compile_slow_host, draw
from tests.bench.blind_judge import answers_of, judge, table
from tests.bench.closed_loop import ClosedLoop
from tests.bench.separate_hosts import SeparateHosts, enter_network, is_in_network
from tests.bench.starvation_meter import StarvationMeter
from tests.processes.processes import wait_for

CALM_S = 3.0
AFTER_S = 2.0
TWO_FAULTS = 0.25
"""So often there are two faults."""


def drawn_of(seed, number):
    """The faults of a round."""
    rng = random.Random(f"blind/{seed}")
    first = draw(rng, silent=number % 2 == 0)
    if rng.random() >= TWO_FAULTS:
        return [first]
    second = draw(rng, silent=number % 2 == 0)
    return [first] if {first.kind, second.kind} & {"member", "wipe"} else [first, second]


def play(path, library, faults):
    """One round on a new cluster, whose data directories are left in ``path``; the truths."""
    path.mkdir(parents=True, exist_ok=True)
    hosts = {f"n{i}": SlowHost(library, path / f"n{i}.host") for i in (1, 2, 3, 4)}
    with SeparateHosts(path, more=1) as daemons:
        injector = Injector(daemons, hosts)
        try:
            return _play(daemons, injector, hosts, faults)
        finally:
            injector.close()


def _play(daemons, injector, hosts, faults):
    for name in daemons.founders:
        daemons.start(name, env=hosts[name].environ)
    daemons.wait_leader()
    load = ClosedLoop([daemons.endpoint(name) for name in daemons.founders], clients=4,
                      pause_s=0.02)  # fmt: skip
    load.start()
    meter = StarvationMeter(daemons)
    meter.start()
    wait_for(lambda: len(load.acked_s) >= 40 or load.error, 60.0, "writes")
    _pass(CALM_S)
    truths = []
    for drawn in faults:
        _pass(drawn.after_s)
        begun_us = _now_us()
        truth, where = injector.begin(drawn, daemons.wait_leader())
        _pass(drawn.for_s)
        injector.end(drawn, where)
        truths.append({"name": truth.name, "silent": truth.silent, "where": where,
                       "claims": sorted(truth.claims), "begun_us": begun_us,
                       "ended_us": _now_us()})  # fmt: skip
        _pass(AFTER_S)
    load.stop()
    _pass(0.5)
    meter.stop()
    daemons.kill()
    return {"faults": truths, "starved": meter.starved()}


def _pass(seconds):
    """Time is what is wanted here: a fault lasts so long."""
    time.sleep(seconds)


def _now_us():
    return time.time_ns() // 1000


def bundle_of(directory, scratch):
    """What the nodes that are gone left behind in ``directory``, as a bundle."""
    bundle = Path(scratch) / f"{directory.name}.tar.gz"
    nobody = "tcp://127.0.0.1:1"
    subprocess.run(
        [sys.executable, "-m", "paxosctl", "debug", "bundle", "--data-dir", str(directory),
         "-o", str(bundle), "--endpoints", nobody, "--timeout", "200ms"],
        check=True, capture_output=True,
    )  # fmt: skip
    return bundle


def judged(directory, *, in_bundle=False):
    """Judge one kept round; its truths and the verdict."""
    truths = json.loads((directory / "truth.json").read_text())
    for truth in truths["faults"]:
        truth["claims"] = {tuple(claim) for claim in truth["claims"]}
    with tempfile.TemporaryDirectory() as scratch:
        source = bundle_of(directory, scratch) if in_bundle else directory
        answers = answers_of(source)
    return truths, judge(answers, truths["faults"], truths.get("starved", []))


def report(seed, truths, verdict):
    """The line of a round."""
    faults = ", ".join(f"{truth['name']} {truth['where']}: {verdict.found[truth['name']]}"
                       for truth in truths["faults"]) or "no fault"  # fmt: skip
    more = f"; FALSE {', '.join(verdict.false)}" if verdict.false else ""
    busy = "; the machine was busy" if verdict.busy else ""
    return f"seed {seed}: {faults}{more}{busy}"


def run_rounds(seeds, keep):
    """Play and judge; yields (truths, verdict)."""
    with tempfile.TemporaryDirectory() as scratch:
        library = compile_slow_host(scratch)
        assert library is not None, "a C compiler is needed"
        for number, seed, is_none in seeds:
            path = Path(keep or scratch) / f"{number:03d}-{seed}"
            faults = [] if is_none else drawn_of(seed, seed)
            truths = play(path, library, faults)
            text = json.dumps({"seed": seed, "load": os.getloadavg()[0], **truths})
            (path / "truth.json").write_text(text)
            yield path
            if not keep:
                shutil.rmtree(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--none", type=int, default=0, help="rounds without a fault, besides")
    parser.add_argument("--seed", type=int, default=None, help="of the first round")
    parser.add_argument("--keep", help="keep the data directories here")
    parser.add_argument("--judge", help="judge the rounds that were kept here")
    parser.add_argument("--bundles", action="store_true", help="judge bundles of them")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.judge:
        paths = sorted(each.parent for each in Path(options.judge).glob("*/truth.json"))
    else:
        if not is_in_network():
            enter_network("tests.bench.blind_runs", sys.argv[1:])
        seed = random.randrange(1 << 20) if options.seed is None else options.seed
        seeds = [(number, seed + number, False) for number in range(options.rounds)]
        seeds += [(900 + number, seed + 900 + number, True) for number in range(options.none)]
        paths = run_rounds(seeds, options.keep)
    rows, false, calm, out = [], [], 0, []
    for path in paths:
        truths, verdict = judged(path, in_bundle=options.bundles)
        line = report(truths["seed"], truths, verdict)
        out.append({"seed": truths["seed"], "faults": verdict.found, "false": verdict.false,
                    "busy": verdict.busy})  # fmt: skip
        print(line, file=sys.stderr if options.json else sys.stdout, flush=True)
        for truth in truths["faults"]:
            rows.append((truth["name"], truth["silent"], verdict.found[truth["name"]],
                         truth["name"] in verdict.inferred))  # fmt: skip
        calm += not truths["faults"]
        if verdict.false:
            false.append(line)
    if options.json:
        print(json.dumps({"rounds": out, "rows": rows}))
        return
    print("\n".join(["", *table(rows), "",
                     f"{calm} rounds without a fault; {len(false)} rounds with a false claim",
                     *false]))  # fmt: skip


if __name__ == "__main__":
    main()
