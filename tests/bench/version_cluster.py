"""A cluster whose nodes run two versions, and clients of both.

cluster.run_as("n1", OLD)   which program the node runs from its next start on
cluster.hold("n1")          its file holds the feature level at that of the version before
OldClients                  clients and a watcher of the version before, in a process
"""

import json
import subprocess
import sys
from pathlib import Path

from paxosd.check.history import History
from tests.processes.growing import Growing
from tests.processes.processes import clean_environ, wait_for

OLD, NEW = "old", "new"
OFTEN = {"slots_max": 60, "margin_slots": 0}
"""Snapshots are taken so often that whoever was away for a moment needs one."""
SCRIPT = Path(__file__).with_name("version_clients.py")
START_S = 60.0


class MixedVersions(Growing):
    """``before``: the build of the version before, which all nodes run at first."""

    def __init__(self, path, before, size=3, **settings):
        self.before = before
        self.programs = {f"n{number + 1}": OLD for number in range(size)}
        self.held = set()
        self._sections = {}
        super().__init__(path, size=size, more=0, **{"snapshots": OFTEN} | settings)

    def write_config(self, name):
        """With the hold, if the node has it; the version before does not know the setting."""
        protocol = self.settings["protocol"]
        if name in self.held and self.programs[name] == NEW:
            level = {"feature_level_max": self.before.level}
            self.settings["protocol"] = protocol | level
        super().write_config(name)
        self.settings["protocol"] = protocol

    def run_as(self, name, program):
        """OLD or NEW, from its next start on."""
        self.programs[name] = program
        self.write_config(name)

    def hold(self, name):
        """The level is not raised above that of the version before, while it is a member."""
        self.held.add(name)
        self.write_config(name)

    def release(self, name):
        """It is, from the node's next start on."""
        self.held.discard(name)
        self.write_config(name)

    def spawn(self, name, **how):
        """The program that :meth:`run_as` has set."""
        if self.programs[name] == NEW:
            return super().spawn(name, **how)
        with self.stderr_path(name).open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "paxosd", *self.arguments(name)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                env=self.before.environ(clean_environ()),
            )  # fmt: skip

    def levels(self):
        """The feature levels that the running nodes go by; 0 of one that does not answer."""
        return {(self.status(name) or {"level": 0})["level"] for name in list(self.processes)}

    def first_slot(self, name, key="first_slot"):
        """The first slot of a node's log, or with ``key`` "last_slot" its last; 0: no answer."""
        return (self.status(name) or {"disk": {}})["disk"].get(key, 0)


class OldClients:
    """A load of the version before, in a process; see ``version_clients.py``."""

    def __init__(self, cluster, given):
        """``given``: as a Load takes it."""
        self._history = cluster.path / "old-clients.jsonl"
        told = given | {"history": str(self._history)}
        self._errors = cluster.path / "old-clients.stderr"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(SCRIPT), json.dumps(told)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=cluster.before.environ(clean_environ()),
            )  # fmt: skip
        where = self._line().removeprefix("ready ")
        assert Path(where).is_relative_to(cluster.before.path), where

    def _line(self):
        line = self._process.stdout.readline().strip()
        assert line, f"the old clients have ended: {self._errors.read_text()}"
        return line

    def _say(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def stop(self):
        """End the clients; what became of their open writes is known then."""
        self._say("stop")
        assert self._line() == "stopped"

    def finish(self, revision):
        """(their history, what they saw), once the watcher has seen this revision."""
        self._say(revision)
        seen = json.loads(self._line())
        assert self._process.wait(START_S) == 0
        return History.load(self._history), seen

    def close(self):
        """Whatever happened."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def wait_role(cluster, name):
    """As the runbook says: until a node that was started leads or follows."""
    wait_for(
        lambda: (cluster.status(name) or {"role": ""})["role"] in ("leader", "follower"),
        START_S, f"{name} as a follower or the leader",
    )  # fmt: skip
