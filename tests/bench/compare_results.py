"""What a comparison found: runs by row and system, what is missing, and the machine."""

import os
import platform
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

SYNCS = 50
SYNC_BYTES = 4096


@dataclass(kw_only=True)
class Results:
    """``runs``: row name → system name → Figures of each pair."""

    rows: list
    machine: dict
    rtt_ms: float = 0.0
    pairs: int = 0
    seconds: float = 0.0
    systems: dict = field(default_factory=dict)
    """System name → its title. Ours is the first."""
    versions: dict = field(default_factory=dict)
    remarks: list = field(default_factory=list)
    skipped: dict = field(default_factory=dict)
    """System name → why it is not there."""
    impossible: dict = field(default_factory=dict)
    """(row name, system name) → why."""
    failures: list = field(default_factory=list)
    """Runs that failed, in words; they are in no median."""
    runs: dict = field(default_factory=dict)
    syscalls: dict = field(default_factory=dict)
    """System name → {call: times for one put} of a follower."""

    def add(self, row, system, figures):
        """One more run."""
        self.runs.setdefault(row.name, {}).setdefault(system, []).append(figures)

    def of(self, row, system):
        """The runs of one system in one row, in order."""
        return self.runs.get(row.name, {}).get(system, [])

    def as_json(self):
        """A JSON object of all of it."""
        return {
            "machine": self.machine,
            "rtt_ms": self.rtt_ms,
            "pairs": self.pairs,
            "seconds": self.seconds,
            "versions": self.versions,
            "skipped": self.skipped,
            "remarks": self.remarks,
            "failures": self.failures,
            "not_comparable": {" ".join(key): why for key, why in self.impossible.items()},
            "syscalls_per_put": self.syscalls,
            "rows": {
                row: {system: [each.as_json() for each in runs] for system, runs in of_row.items()}
                for row, of_row in self.runs.items()
            },
        }


def sync_ms(folder):
    """The median time of one write of 4 KiB and fdatasync in this folder, in milliseconds."""
    took_ms = []
    path = Path(folder) / "sync-probe"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.pwrite(descriptor, bytes(SYNC_BYTES * SYNCS), 0)
        os.fsync(descriptor)
        for number in range(SYNCS):
            began_s = time.perf_counter()
            os.pwrite(descriptor, b"x" * SYNC_BYTES, number * SYNC_BYTES)
            os.fdatasync(descriptor)
            took_ms.append((time.perf_counter() - began_s) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(took_ms)


def filesystem_of(folder):
    """The type of the file system that holds a folder, as /proc/mounts has it."""
    device = os.stat(folder).st_dev
    found = ""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mounted, kind, *_ = line.split()
        try:
            if os.stat(mounted).st_dev == device:
                found = kind
        except OSError:
            continue
    return found


def describe_machine(folder):
    """What the figures depend on, without the machine's name."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": models[0] if models else platform.machine(),
        "memory_gib": round(memory_kib / (1 << 20), 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "filesystem": filesystem_of(folder),
        "sync_ms": round(sync_ms(folder), 3),
        "load_before": round(os.getloadavg()[0], 2),
    }
