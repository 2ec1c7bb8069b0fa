"""A cluster under load whose members change: each step timed, each change carried through.

    stage.step("replace n1") ── changes by `paxosctl member` ──► and writes go on ──► Step
                                   ▲
    Disturber (--faults) ──────────┘ kill -9 or SIGSTOP of one member at a time

Without faults a change has to come about at once; with them it is repeated, as a person would,
until the list of members says that it is through.
"""

import contextlib
import json
import random
import shutil
import signal
import threading
import time
from typing import NamedTuple

from paxosd.daemon.exits import CONFIG, OK
from tests.bench.closed_loop import longest_gap
from tests.processes.processes import wait_for

PROGRESS = 40
"""So many writes acknowledged, and the cluster has gone on."""
PROGRESS_LIMIT_S = 60.0
CHANGE_LIMIT_S = 150.0
"""A change that faults hold up is to be through by then."""
END_LIMIT_S = 60.0


class Step(NamedTuple):
    """One thing done to the cluster. ``gap_s``: the longest time in it without an acknowledged
    write. ``repeats``: how often a change had to be asked for again."""

    what: str
    took_s: float
    gap_s: float
    repeats: int

    def __str__(self):
        again = f"  (asked {self.repeats + 1} times)" if self.repeats else ""
        return (
            f"{self.what:50s} {self.took_s:6.2f} s  longest gap {self.gap_s * 1000:6.0f} ms{again}"
        )


class Disturber(threading.Thread):
    """Kills or stops one running node after another, never two at a time, and heals it."""

    def __init__(self, daemons, rng):
        super().__init__(daemon=True)
        self.kills = self.stops = 0
        self.error = None
        self.lock = threading.RLock()
        """Held while a node is down."""
        self._daemons, self._rng = daemons, rng
        self._spared = set()
        self._over = threading.Event()

    def run(self):
        try:
            while not self._over.wait(self._rng.uniform(0.2, 2.0)):
                with self.lock:
                    self._disturb()
        except BaseException as error:  # noqa: BLE001 - raised again by stop
            self.error = error

    def _disturb(self):
        running = [
            name
            for name, process in self._daemons.processes.items()
            if name not in self._spared and process.poll() is None
        ]
        if not running:
            return
        victim = self._rng.choice(running)
        kill = self._rng.random() < 0.6
        if kill:
            self._daemons.kill(victim)
            self.kills += 1
        else:
            self._daemons.signal(victim, signal.SIGSTOP)
            self.stops += 1
        self._over.wait(self._rng.uniform(0.1, 2.0))
        if kill:
            self._daemons.start(victim)
            self._wait_up(victim)
        else:
            self._daemons.signal(victim, signal.SIGCONT)

    def _wait_up(self, name):
        """Until it answers or has ended: on a busy machine the next one would be killed while this
        one still starts, and a majority be down for good."""
        process = self._daemons.processes[name]
        while process.poll() is None and self._daemons.status(name) is None:
            if self._over.wait(0.05):
                return

    def spare(self, name):
        """Leave this node alone from now on; it runs, if it did not end by itself."""
        with self.lock:
            self._spared.add(name)

    def stop(self):
        """End, with everything healed. Raises what broke it."""
        self._over.set()
        if self.ident is not None:
            self.join()
        if self.error is not None:
            raise self.error


class Stage:
    """One cluster, its clients, and what was done to it so far."""

    def __init__(self, daemons, workers, rng, *, disturber=None, report=lambda line: None):
        self.daemons, self.workers, self.rng = daemons, workers, rng
        self.disturber = disturber
        self.steps = []
        self.handover_gaps_s = []
        self._repeats = 0
        self._report = report

    # -- watching

    @contextlib.contextmanager
    def step(self, what):
        """Something is done here; it is over when writes are acknowledged again."""
        began_s, self._repeats = time.monotonic(), 0
        yield
        self.progress()
        ended_s = time.monotonic()
        gap_s = longest_gap(list(self.workers.acked_s), began_s, ended_s)
        self.steps.append(Step(what, ended_s - began_s, gap_s, self._repeats))
        self._report(str(self.steps[-1]))

    def progress(self, count=PROGRESS):
        """Wait until writes are acknowledged again. Raises AssertionError, and what broke a
        client."""
        acked = self.workers.acked_s
        goal = len(acked) + count

        def enough():
            self.workers.raise_error()
            for name, process in list(self.daemons.processes.items()):
                assert process.poll() in (None, -signal.SIGKILL), (
                    f"{name} has ended: {self.daemons.stderr(name)}"
                )
            return len(acked) >= goal

        wait_for(enough, PROGRESS_LIMIT_S, f"{count} acknowledged writes")

    def progress_unless(self, over):
        """Whether so many writes are acknowledged before ``over()``."""
        goal = len(self.workers.acked_s) + PROGRESS
        enough = wait_for(
            lambda: len(self.workers.acked_s) >= goal or (over() and "over"),
            PROGRESS_LIMIT_S, "acknowledged writes, or an end",
        )  # fmt: skip
        return enough != "over"

    def leads(self, name):
        """Whether this node takes itself for the leader."""
        status = self.daemons.status(name)
        return status is None or status["role"] == "leader"

    def members(self):
        """``member list``, asked again while nobody answers."""

        def ask():
            code, out, _ = self.daemons.try_ctl("list", "-o", "json")
            return json.loads(out) if code == 0 else None

        return wait_for(ask, CHANGE_LIMIT_S, "a list of members")

    def leader(self):
        """The present leader."""
        return wait_for(lambda: self.members()["leader"], CHANGE_LIMIT_S, "a leader")

    # -- changing

    def until(self, reached, arguments):
        """``paxosctl member`` with ``arguments(list of members)``, until ``reached`` of that."""
        listed = self.members()
        deadline = time.monotonic() + CHANGE_LIMIT_S
        while True:
            code, out, err = self.daemons.try_ctl(*arguments(listed))
            if code == 0:
                return
            words = f"{arguments(listed)}: exit code {code}: {out}{err}"
            assert self.disturber is not None, words
            assert time.monotonic() < deadline, words
            listed = self.members()
            if reached(listed):
                return
            self._repeats += 1

    def join(self, name):
        """Start a newcomer with what ``member add --dry-run`` says that it needs."""
        options = self.daemons.where(name)

        def needs():
            code, out, err = self.daemons.try_ctl("add", name, *options, "--dry-run", "-o", "json")
            assert code == 0 or self.disturber is not None, (out, err)
            return out if code == 0 else None

        self.daemons.write_joining(name, wait_for(needs, CHANGE_LIMIT_S, f"a place for {name}"))
        with self.quiet():
            self.daemons.start(name)
            self.daemons.wait_up(name)

    def add(self, name):
        """A new voter, with a new, empty directory."""
        self.join(name)

        def arguments(listed):
            is_member = name in (each["node"] for each in listed["nodes"])
            return ["promote", name] if is_member else ["add", name, *self.daemons.where(name)]

        self.until(lambda listed: name in listed["voters"], arguments)

    def replace(self, old, new):
        """A new voter in the place of one that ends by itself."""
        self.join(new)

        def arguments(listed):
            is_member = new in (each["node"] for each in listed["nodes"])
            return ["replace", old, new, *([] if is_member else self.daemons.where(new))]

        self.until(
            lambda listed: old not in listed["voters"] and new in listed["voters"], arguments
        )
        self.wait_gone(old)

    def remove(self, name):
        """A member less, which ends by itself."""
        self.until(
            lambda listed: name not in (each["node"] for each in listed["nodes"]),
            lambda _: ["remove", name],
        )
        self.wait_gone(name)

    def wait_gone(self, name):
        """A removed node ends with exit code 0; or, if it was killed once it knew, it does not
        start again."""
        if self.disturber is None:
            code = self.daemons.wait_end(name, END_LIMIT_S)
            assert code == OK, f"{name} ended with {code}: {self.daemons.stderr(name)}"
            return
        self.disturber.spare(name)
        code = self.daemons.wait_end(name, END_LIMIT_S)
        assert code in (OK, CONFIG), f"{name} ended with {code}: {self.daemons.stderr(name)}"

    def transfer(self, name):
        """``name`` leads."""
        self.until(lambda listed: listed["leader"] == name, lambda _: ["transfer-leader", name])

    def quorum(self, phase1, phase2):
        """Sizes of the quorums; 0, 0 for majorities."""
        sizes = ["--phase1", str(phase1), "--phase2", str(phase2)] if phase1 else ["--majority"]
        half = len(self.members()["voters"]) // 2 + 1
        wanted = (phase1 or half, phase2 or half)
        self.until(
            lambda listed: (listed["phase1"], listed["phase2"]) == wanted,
            lambda _: ["quorum", *sizes],
        )

    def rejoin(self, name):
        """A node whose data directory is lost votes again."""
        with self.quiet():
            self.daemons.kill(name)
            shutil.rmtree(self.daemons.path / name)
            self.daemons.start(name)
        roles = ("voter", "leader")

        def role():
            return next(each["role"] for each in self.members()["nodes"] if each["node"] == name)

        wait_for(lambda: role() == "memory-lost", CHANGE_LIMIT_S, f"that {name} knows of its loss")
        self.until(lambda _: role() in roles, lambda _: ["rejoin", name])
        wait_for(lambda: role() in roles, CHANGE_LIMIT_S, f"the vote of {name}")

    def quiet(self):
        """Nothing is disturbed inside."""
        return self.disturber.lock if self.disturber is not None else contextlib.nullcontext()


def drawn(seed, what):
    """A source of randomness for one purpose."""
    return random.Random(f"{seed}/{what}")
