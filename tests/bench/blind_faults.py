"""The faults of ``blind_runs.py``: what is done to a cluster, and what is the truth about it.

Half of them the daemons cannot know: signals, a library that delays their syncs, packets that a
switch loses, processes that take their processor. The others are fault rules, which they log.
"""

import os
import shutil
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("slow_host.c")
BUSY_PROCESSES = 8


@dataclass(frozen=True)
class Drawn:
    """One fault. ``role``: whom it hits, ``leader`` or ``follower``; of a link also the other end.
    ``other``: which of two nodes, where there is a choice. ``after_s``: how long after the calm
    time it begins, ``for_s``: how long it is there."""

    kind: str
    role: str
    other: int
    after_s: float
    for_s: float
    size: int

    @property
    def silent(self):
        """Whether the daemons do not know of it."""
        return self.kind in SILENT


@dataclass(frozen=True)
class Truth:
    """What was done: ``claims``: what may be said of it, ``(what, node, peer)``. ``begun_us``,
    ``ended_us``: when, on the wall clock."""

    name: str
    silent: bool
    claims: frozenset
    begun_us: int = 0
    ended_us: int = 0


SILENT = {
    "kill": 2, "stop": 2, "slow-disk": 2, "slow-link": 1, "one-way": 1, "cut": 1, "loss": 1,
    "busy": 1, "wipe": 1, "clock": 1, "term": 1,
}  # fmt: skip
"""Kind → how often, for one: on the leader and on a follower."""
NOTED = {
    "crash": 2, "pause": 2, "disk-slow": 2, "delay": 1, "partition": 1, "isolate": 1, "drop": 1,
    "disk-full": 1, "fsync-error": 1, "clock-skew": 1, "member": 1,
}  # fmt: skip
LINKS = frozenset(("slow-link", "one-way", "loss", "delay", "partition", "drop"))


def draw(rng, silent):
    """A fault of one of the two sorts."""
    kinds = SILENT if silent else NOTED
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    return Drawn(kind, rng.choice(("leader", "follower")), rng.randrange(2),
                 rng.uniform(0.0, 1.0), rng.uniform(1.6, 3.0), rng.choice((30, 50, 80))
             )  # fmt: skip


def compile_slow_host(directory):
    """The library of ``slow_host.c``; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    target = Path(directory) / "slow_host.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(target), str(SOURCE), "-ldl"],
                   check=True)  # fmt: skip
    return target


class SlowHost:
    """What a node's disk and wall clock are made to do, by a file that is mapped there."""

    def __init__(self, library, path):
        self._path = Path(path)
        self.say()
        self.environ = {"LD_PRELOAD": str(library), "SLOW_HOST": str(path)}

    def say(self, sync_us=0, ahead_us=0):
        """From now on each sync takes so much longer, and the clock is so far ahead."""
        if not self._path.exists():
            self._path.write_bytes(bytes(16))
        with self._path.open("r+b") as file:
            file.write(struct.pack("=qq", sync_us, ahead_us))


class Injector:
    """Does what was drawn to ``daemons`` (``SeparateHosts``), and undoes it."""

    def __init__(self, daemons, hosts):
        self._daemons, self._hosts = daemons, hosts
        self._burners = []

    def begin(self, drawn, leader):
        """Do it; the :class:`Truth`."""
        followers = [name for name in self._daemons.founders if name != leader]
        node = leader if drawn.role == "leader" else followers[drawn.other]
        others = [name for name in self._daemons.founders if name != node]
        peer = others[drawn.other]
        claims = getattr(self, "_" + drawn.kind.replace("-", "_"))(drawn, node, peer)
        where = f"{node} {peer}" if drawn.kind in LINKS else node
        role = drawn.role if drawn.kind in ("kill", "stop", "slow-disk", "crash", "pause",
                                            "disk-slow") else ""  # fmt: skip
        name = f"{drawn.kind} {role}".strip()
        return Truth(f"{name}", drawn.silent, frozenset(claims)), where

    def end(self, drawn, where):
        """Undo it."""
        daemons, node = self._daemons, where.split()[0]
        if drawn.kind == "stop":
            daemons.signal(node, signal.SIGCONT)
        elif drawn.kind in ("slow-disk", "clock"):
            self._hosts[node].say()
        elif drawn.kind in ("slow-link", "one-way", "loss", "cut"):
            daemons.switch.heal()
        elif drawn.kind == "busy":
            self._stop_burning()
        elif drawn.kind in ("kill", "term", "crash", "disk-full", "fsync-error"):
            process = daemons.processes.get(node)
            if process is not None and process.poll() is not None:
                daemons.processes.pop(node)
            if node not in daemons.processes:
                daemons.start(node, env=self._hosts[node].environ)
        elif drawn.kind not in ("wipe", "member", "pause"):
            daemons.heal()

    def close(self):
        """End what still runs."""
        self._stop_burning()

    # -- what the daemons cannot know

    def _kill(self, drawn, node, peer):
        self._daemons.kill(node)
        return {("died", node, "")}

    def _term(self, drawn, node, peer):
        self._daemons.signal(node, signal.SIGTERM)
        return {("ended", node, "")}

    def _stop(self, drawn, node, peer):
        self._daemons.signal(node, signal.SIGSTOP)
        return {("still", node, "")}

    def _slow_disk(self, drawn, node, peer):
        self._hosts[node].say(sync_us=drawn.size * 1000)
        return {("disk", node, "")}

    def _clock(self, drawn, node, peer):
        self._hosts[node].say(ahead_us=drawn.size * 100_000 * (1 if drawn.other else -1))
        return {("clock", node, "")}

    def _slow_link(self, drawn, node, peer):
        self._daemons.switch.impair(node, peer, delay_ms=drawn.size)
        self._daemons.switch.impair(peer, node, delay_ms=drawn.size)
        return _both("slow link", node, peer)

    def _one_way(self, drawn, node, peer):
        self._daemons.switch.impair(node, peer, share=1.0)
        return {("one-way", node, peer)}

    def _loss(self, drawn, node, peer):
        self._daemons.switch.impair(node, peer, share=0.3)
        self._daemons.switch.impair(peer, node, share=0.3)
        return _both("lossy link", node, peer)

    def _cut(self, drawn, node, peer):
        self._daemons.switch.lose(1.0, node)
        return {("cut off", node, "")}

    def _busy(self, drawn, node, peer):
        for name, process in self._daemons.processes.items():
            _pin(process.pid, 1 if name == node else 0)
        self._burners = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"])
            for _ in range(BUSY_PROCESSES)
        ]
        for burner in self._burners:
            os.sched_setaffinity(burner.pid, {1})
        return {("busy", node, "")}

    def _stop_burning(self):
        for each in self._burners:
            each.kill()
            each.wait()
        self._burners = []

    def _wipe(self, drawn, node, peer):
        self._daemons.kill(node)
        shutil.rmtree(self._daemons.path / node)
        self._daemons.start(node, env=self._hosts[node].environ)
        return {("wiped", node, ""), ("died", node, "")}

    # -- fault rules, and the change of members

    def _rule(self, kind, *nodes, **arguments):
        for name in nodes or tuple(self._daemons.processes):
            self._daemons.admin(name, "fault_add", name=kind, kind=kind, **arguments)

    def _crash(self, drawn, node, peer):
        self._rule("crash", node, on=node)
        return {("died", node, "")}

    def _pause(self, drawn, node, peer):
        self._rule("pause", node, on=node, ms=int(drawn.for_s * 1000))
        return {("still", node, "")}

    def _disk_slow(self, drawn, node, peer):
        self._rule("disk-slow", node, on=node, ms=drawn.size)
        return {("disk", node, "")}

    def _delay(self, drawn, node, peer):
        self._rule("delay", ms=drawn.size, **{"from": node, "to": peer})
        return {("slow link", node, peer)}

    def _partition(self, drawn, node, peer):
        self._rule("partition", oneway=True, **{"from": node, "to": peer})
        return {("one-way", node, peer)}

    def _isolate(self, drawn, node, peer):
        self._rule("isolate", on=node)
        return {("cut off", node, "")}

    def _drop(self, drawn, node, peer):
        self._rule("drop", probability=0.3, **{"from": node, "to": peer})
        return {("lossy link", node, peer)}

    def _disk_full(self, drawn, node, peer):
        self._rule("disk-full", node, on=node)
        return {("disk failed", node, "")}

    def _fsync_error(self, drawn, node, peer):
        self._rule("fsync-error", node, on=node)
        return {("disk failed", node, "")}

    def _clock_skew(self, drawn, node, peer):
        self._rule("clock-skew", node, on=node, ms=drawn.size * 100)
        return {("clock", node, "")}

    def _member(self, drawn, node, peer):
        self._daemons.join("n4")
        self._daemons.ctl("add", "n4", *self._daemons.where("n4"))
        return {("members", "", "")}


def _both(what, node, peer):
    return {(what, node, peer), (what, peer, node)}


def _pin(pid, core):
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
