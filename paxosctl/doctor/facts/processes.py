"""The limits that a node runs with, by /proc; before it runs, those that it would get from here."""

import os
import resource
from pathlib import Path

from paxosctl.doctor.machine import UNKNOWN, UNLIMITED, Process

_PROC = Path("/proc")
_LIMITS = {"Max open files": "descriptors", "Max core file size": "core_bytes"}
_ENORMOUS_BYTES = 1 << 60
"""What a control group of version 1 has for "no limit" is nearly 2^63."""


def look_at(pid: int) -> Process:
    """``pid``: of the running node; 0: it does not run, or that is not known."""
    limits = _limits_of(pid) if pid else {}
    if not limits:
        pid = 0
        limits = {
            "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            "core_bytes": resource.getrlimit(resource.RLIMIT_CORE)[0],
        }
    status = _fields(_text(_PROC / str(pid or os.getpid()) / "status"))
    return Process(
        pid=pid,
        core_pattern=_text(_PROC / "sys/kernel/core_pattern").strip(),
        swapped_bytes=_kib(status.get("VmSwap", "")) if pid else 0,
        resident_bytes=_kib(status.get("VmRSS", "")) if pid else 0,
        memory_limit_bytes=memory_limit(_text(_PROC / str(pid or os.getpid()) / "cgroup")),
        **limits,
    )


def available_bytes() -> int:
    """Memory that can be had without swapping; UNKNOWN if the kernel does not say."""
    words = _fields(_text(_PROC / "meminfo")).get("MemAvailable", "")
    return _kib(words) if words else UNKNOWN


def _limits_of(pid: int) -> dict[str, int]:
    """Hard limit of descriptors (a node raises its own), soft limit of core dumps; {}: unknown."""
    found = {}
    for line in _text(_PROC / str(pid) / "limits").splitlines():
        for name, field in _LIMITS.items():
            if line.startswith(name):
                soft, hard = line.removeprefix(name).split()[:2]
                words = hard if field == "descriptors" else soft
                found[field] = UNLIMITED if words == "unlimited" else int(words)
    return found


def memory_limit(groups: str, root: Path = Path("/sys/fs/cgroup")) -> int:
    """The least limit of the control groups that ``/proc/PID/cgroup`` names, and of those above
    them, of either version; UNLIMITED: there is none."""
    found = []
    for line in groups.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0":
            base, file = root, "memory.max"
        elif "memory" in names.split(","):
            base, file = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        place = base / path.strip("/")
        for each in (place, *place.parents):
            words = _text(each / file).strip()
            if words.isdigit() and int(words) < _ENORMOUS_BYTES:
                found.append(int(words))
            if each == base:
                break
    return min(found, default=UNLIMITED)


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _kib(words: str) -> int:
    """``12 kB`` in bytes."""
    number = words.partition(" ")[0]
    return int(number) * 1024 if number.isdigit() else 0


def _text(path: Path) -> str:
    """What is in it; "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
