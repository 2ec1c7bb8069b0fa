"""Of what kind the file system of a path is, and what is free on it."""

import os
from collections.abc import Iterable
from pathlib import Path

from paxosctl.doctor.machine import UNKNOWN, FileSystem

MOUNTS = Path("/proc/self/mountinfo")


def look_at(path: Path) -> FileSystem:
    """The file system of what is there of ``path``: of its nearest parent that exists."""
    place = existing(path)
    kind, mount = _mount_of(place)
    try:
        found = os.statvfs(place)
    except OSError:
        return FileSystem(kind=kind, mount=mount)
    return FileSystem(
        kind=kind,
        mount=mount,
        free_bytes=found.f_bavail * found.f_frsize,
        free_files=found.f_favail if found.f_files else UNKNOWN,
    )


def existing(path: Path) -> Path:
    """The path, or the nearest parent of it that is there."""
    for each in (path, *path.parents):
        if each.exists():
            return each
    return Path("/")


def _mount_of(path: Path) -> tuple[str, str]:
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return "", ""
    return mount_of(os.path.realpath(path), lines)


def mount_of(path: str, lines: Iterable[str]) -> tuple[str, str]:
    """``(kind, mount point)`` by the lines of ``/proc/self/mountinfo``; the last of the deepest
    mounts counts, for it hides the others. ("", ""): none is above the path."""
    best = ("", "")
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        mount = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
        above = mount if mount.endswith("/") else f"{mount}/"
        if (f"{path}/".startswith(above)) and len(mount) >= len(best[1]):
            best = after.split(" ")[0], mount
    return best
