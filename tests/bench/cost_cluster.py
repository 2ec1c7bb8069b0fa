"""A cluster whose costs are measured: daemons with their defaults, and one load on them."""

import json
import signal
import subprocess
import sys
import time

from paxosd.config.schema import LimitsConfig, ProtocolConfig
from tests.bench.compare_cluster import LoadFailedError, cpu_s, rss_bytes, tail_of
from tests.processes.processes import SETTINGS, Daemons, clean_environ, wait_for

READY_S = 120.0
SAMPLES_S = 0.3
"""What the two samples take of each node at most, on a machine that is not too busy."""
SLACK_S = 60.0
"""How much longer than its load a load generator may take."""


def defaults():
    """The daemons' own settings, where those of the tests are small."""
    limits, protocol = LimitsConfig(), ProtocolConfig()
    return {
        "limits": {name: getattr(limits, name) for name in SETTINGS["limits"]},
        "protocol": {name: getattr(protocol, name) for name in SETTINGS["protocol"]},
        "wal": {"segment_bytes": 64 << 20},
        "faults": {"enabled": False},
        "log": {"level": "info", "format": "json"},
    }


class CostCluster(Daemons):
    """``size`` daemons under ``path``; ``staged``: with timers around their stages."""

    def __init__(self, path, size, *, staged=False):
        super().__init__(path, size=size, **defaults())
        self.staged = staged

    def command(self, name):
        if not self.staged:
            return super().command(name)
        return [sys.executable, "-m", "tests.bench.staged_daemon", str(self._stages_path(name)),
                "--config", str(self.config_path(name))]  # fmt: skip

    def _stages_path(self, name):
        return self.path / f"{name}.stages"

    def stages(self, name):
        """The totals of a node's timers now, and what they could not time."""
        path = self._stages_path(name)
        path.unlink(missing_ok=True)
        self.signal(name, signal.SIGUSR1)
        wait_for(path.exists, what=f"the stages of {name}")
        return json.loads(path.read_text())

    def sample(self):
        """node → what it has used and done by now."""
        found = {}
        for name in self.names:
            pid = self.processes[name].pid
            status = self.status(name, 10.0)
            assert status is not None, f"{name} does not answer"
            found[name] = {
                "cpu_s": cpu_s(pid), "rss": rss_bytes(pid), "slots": status["applied"],
                "syncs": status["disk"]["syncs"], "turns": status["counters"]["turns"],
                "revision": status["revision"],
                "stages": self.stages(name) if self.staged else None,
            }  # fmt: skip
        return found

    def run(self, load, seconds, warmup_s, *, fill=True, meanwhile=time.sleep):
        """(the generator's figures, sample before, sample after). The samples are taken while the
        load runs; ``meanwhile`` is called with the length of what is between them. Raises
        LoadFailedError."""
        # It goes on until both samples are taken.
        duration_s = seconds + SAMPLES_S * len(self.names)
        times = {"duration_ms": round(duration_s * 1000), "warmup_ms": round(warmup_s * 1000)}
        command = [sys.executable, "-m", "tests.bench.compare_load", ",".join(self.endpoints),
                   json.dumps(load | times)]  # fmt: skip
        errors = self.path / "load.err"
        with errors.open("w") as written:
            process = subprocess.Popen(
                command + ([] if fill else ["as-is"]),
                stdout=subprocess.PIPE, stderr=written, text=True, env=clean_environ(),
            )  # fmt: skip
        try:
            is_ready = lambda: "ready" in errors.read_text() or process.poll() is not None  # noqa: E731 - two looks at one moment
            wait_for(is_ready, READY_S, "the load generator")
            time.sleep(warmup_s)  # the part that is not measured
            before = self.sample()
            meanwhile(seconds)
            after = self.sample()
            output, _ = process.communicate(timeout=seconds + SLACK_S)
        except (AssertionError, subprocess.TimeoutExpired) as late:
            raise LoadFailedError(f"{late}; it wrote: {tail_of(errors)}") from None
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        if process.returncode != 0:
            raise LoadFailedError(f"exit code {process.returncode}: {tail_of(errors)}")
        return json.loads(output), before, after
