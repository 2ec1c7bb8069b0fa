"""Real processes that hold a lock in turn, while holders and leaders are stopped, killed, cut off.

    python -m tests.bench.lock_campaign [--rounds 200] [--locks 4] [--seed N] [--limit SECONDS]

Three daemons, and three workers (``lock_worker.py``) for each of several locks. Each round
something happens to the holder of a lock or to the leader, and somebody has to acquire that lock
after it. The locks have their rounds at the same time, for a round is waiting for the most part;
but only one at a time is about the leader. At the end what the workers said is judged: no check
that began after another had acquired says "held", no fenced write that began after another had
acquired took effect, and tokens grow. One host has one clock: this proves nothing
about drift, which the simulator has. Exit code 1 if a rule was broken.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from paxosd.core.cluster_settings import LEVEL_COORDINATION
from tests.processes.processes import Daemons, clean_environ, wait_for

TTL_S = 1.0
LOCKS = 4
WAIT_S = 40.0
KINDS = (
    "stop-holder", "stop-holder", "kill-holder", "kill-leader", "stop-leader", "cut-leader",
)  # fmt: skip


class Worker:
    """One worker process, which is started again when it was killed."""

    def __init__(self, daemons, name, path):
        self._daemons = daemons
        self._name = name
        self._path = path
        self._read = 0
        self._newest = 0
        self.process = None
        self.start()

    def start(self):
        """A new process; what it says is appended."""
        command = [sys.executable, "-m", "tests.bench.lock_worker", self._name, str(TTL_S)]
        with self._path.open("ab") as said, Path(f"{self._path}.err").open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, *self._daemons.endpoints],
                stdout=said, stderr=errors, env=clean_environ(), cwd=os.getcwd(),
            )  # fmt: skip

    def lines(self):
        """All that it said, but for a line that is not complete."""
        text = self._path.read_text() if self._path.exists() else ""
        found = []
        for line in text.splitlines():
            with contextlib.suppress(ValueError):  # it was killed within a line
                found.append(json.loads(line))
        return found

    def newest(self):
        """The token with which it acquired last; 0: never."""
        with self._path.open("rb") as said:
            said.seek(self._read)
            new = said.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            if b'"acquired"' in line:
                with contextlib.suppress(ValueError):
                    self._newest = max(self._newest, json.loads(line)["token"])
        return self._newest

    def end(self):
        """Kill it."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


def judge(lines_of):
    """What is wrong in the lines of all workers, in words, and counts."""
    acquired = sorted(
        (each["at"], each["token"], number)
        for number, lines in enumerate(lines_of)
        for each in lines
        if each["what"] == "acquired"
    )
    wrong = []
    tokens = [token for _, token, _ in sorted(acquired, key=lambda each: each[1])]
    if len(set(tokens)) != len(tokens):
        wrong.append("a token was given twice")
    counts = Counter({"acquired": len(acquired)})
    for number, lines in enumerate(lines_of):
        for each in lines:
            what = each["what"]
            counts[what] += what != "acquired"
            if what not in {"check", "wrote"} or (what == "check" and not each["held"]):
                continue
            later = [
                (at, token)
                for at, token, other in acquired
                if other != number and token > each["token"] and at < each["at"]
            ]
            if later:
                wrong.append(f"worker {number}: {each}, after another acquired: {later[0]}")
    return wrong, counts


class Campaign:
    """One lock, its workers, and what is done to them. ``leader``: held while something is done to
    the leader."""

    def __init__(self, daemons, path, name, rng, leader):
        self._daemons = daemons
        self._rng = rng
        self._leader = leader
        self.name = name
        self.workers = [Worker(daemons, name, path / f"{name}-{number}") for number in range(3)]
        self.done = Counter()

    def holder(self):
        """The worker with the newest token."""
        return max(self.workers, key=Worker.newest)

    def rounds(self, count, kinds, until_s):
        """One thing happens; then somebody acquires; so many times."""
        self._wait_newer(0)
        for _ in range(count):
            if time.monotonic() > until_s:
                return
            what = self._rng.choice(kinds)
            before = max(worker.newest() for worker in self.workers)
            with self._leader if "leader" in what else contextlib.nullcontext():
                getattr(self, "_" + what.replace("-", "_"))(before)
            self.done[what] += 1
            self._wait_newer(before)

    def _wait_newer(self, before):
        wait_for(
            lambda: max(worker.newest() for worker in self.workers) > before,
            WAIT_S,
            f"somebody acquires {self.name} after token {before}",
        )

    def _stop_holder(self, before):
        process = self.holder().process
        process.send_signal(signal.SIGSTOP)
        try:
            if self._rng.random() < 0.7:
                self._wait_newer(before)  # it goes on when another has the lock
            else:
                time.sleep(self._rng.uniform(0.3, 1.3) * TTL_S)
        finally:
            process.send_signal(signal.SIGCONT)

    def _kill_holder(self, before):
        worker = self.holder()
        worker.end()
        self._wait_newer(before)
        worker.start()

    def _kill_leader(self, before):
        leader = self._daemons.wait_leader()
        self._daemons.kill(leader)
        self._wait_newer(before)
        self._daemons.start(leader)

    def _stop_leader(self, before):
        leader = self._daemons.wait_leader()
        self._daemons.signal(leader, signal.SIGSTOP)
        time.sleep(self._rng.uniform(0.2, 2.5))
        self._daemons.signal(leader, signal.SIGCONT)

    def _cut_leader(self, before):
        leader = self._daemons.wait_leader()
        for follower in self._daemons.followers(leader):
            self._daemons.fault(f"cut-{follower}", "partition", leader, follower)
        self._wait_newer(before)
        self._daemons.heal()

    def end(self):
        """End the workers; what they said, a list for each."""
        for worker in self.workers:
            worker.end()
        return [worker.lines() for worker in self.workers]


def run(path, rounds, seed, *, locks=1, limit_s=float("inf"), kinds=KINDS):
    """(what is wrong, counts, what was done); ``rounds`` together."""
    until_s = time.monotonic() + limit_s
    with Daemons(path, 3, faults={"enabled": True}) as daemons:
        daemons.start()
        daemons.wait_leader()
        wait_for(
            lambda: all(
                (daemons.status(name) or {}).get("level", 0) >= LEVEL_COORDINATION
                for name in daemons.names
            ),
            what="the feature level of leases",
        )
        leader = threading.Lock()
        campaigns = [
            Campaign(daemons, path, f"jobs{number}", random.Random(f"{seed}/{number}"), leader)
            for number in range(locks)
        ]
        shares = [rounds // locks + (number < rounds % locks) for number in range(locks)]
        wrong, counts, done = [], Counter(), Counter()
        try:
            with ThreadPoolExecutor(locks) as pool:
                for end in [
                    pool.submit(each.rounds, share, kinds, until_s)
                    for each, share in zip(campaigns, shares, strict=True)
                ]:
                    end.result()
        finally:
            for each in campaigns:
                found, seen = judge(each.end())
                wrong += [f"{each.name}: {words}" for words in found]
                counts += seen
                done += each.done
    return wrong, counts, done


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--locks", type=int, default=LOCKS)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as path:
        wrong, counts, done = run(
            Path(path), options.rounds, options.seed, locks=options.locks, limit_s=options.limit
        )
    print("done", dict(done), sum(done.values()), "rounds")
    print("seen", dict(counts))
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
