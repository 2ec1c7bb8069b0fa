"""What a service hands its node besides the configuration: files of keys (LoadCredential= of
systemd) and settings in the environment. A shell has neither.

    it runs          /proc/PID/environ; where that may not be read, /run/credentials/UNIT, with the
                     unit from /proc/PID/cgroup
    it does not run  the files that its unit names: `systemctl cat paxosd@NAME`
"""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from paxosctl.doctor.facts import directories
from paxosd.config.schema import Config

DIRECTORY = "CREDENTIALS_DIRECTORY"
_PREFIX = "PAXOSD_"
_PROC = Path("/proc")
_HANDED = Path("/run/credentials")
_SYSTEMD = Path("/run/systemd/system")
"""Is there where systemd runs, and nowhere else."""
_SETTINGS = {"paxosd.key": "security.key_file", "paxosd.trust": "security.trust_file"}
_CAT_S = 5.0


class Handed(NamedTuple):
    """``environ``: variables that the node has; ``settings``: as ``section.key=value``; ``unseen``:
    why it cannot be seen what the node is handed, "": this is all."""

    environ: Mapping[str, str] = {}
    settings: tuple[str, ...] = ()
    unseen: str = ""


def look_at(config: Config) -> Handed:
    """``config``: of the node, as far as the file has it."""
    directory = directories.look_at(config.node.data_dir)
    if directory.hidden:
        return Handed(unseen=f"this user may not look into {directory.path}")
    if directory.locked_by is None:
        return _of_unit(f"paxosd@{config.node.name}")
    return _of_process(directory.locked_by)


def _of_process(pid: int) -> Handed:
    """``pid``: 0: some process."""
    place = _PROC / str(pid)
    try:
        pairs = (each.partition("=") for each in (place / "environ").read_text().split("\0"))
        return Handed({k: v for k, _, v in pairs if k == DIRECTORY or k.startswith(_PREFIX)})
    except (OSError, ValueError):
        unseen = Handed(unseen=f"this user may not read the environment of process {pid}")
    try:
        unit = Path((place / "cgroup").read_text().rpartition("\n0::")[2].strip()).name
    except OSError:
        return unseen
    if not unit.endswith(".service"):
        return unseen
    credentials = _HANDED / unit
    if not credentials.is_dir():
        return Handed()
    return Handed({DIRECTORY: str(credentials)}) if os.access(credentials, os.X_OK) else unseen


def _of_unit(unit: str) -> Handed:
    if not _SYSTEMD.is_dir():
        return Handed()  # then nothing but a process that runs has any
    unseen = Handed(unseen=f"the node does not run, and there is no unit {unit} to look at")
    try:
        done = subprocess.run(
            ["systemctl", "cat", "--", unit], capture_output=True, text=True, check=False,
            timeout=_CAT_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return unseen
    return Handed(settings=credentials_of(done.stdout, unit)) if done.returncode == 0 else unseen


def credentials_of(text: str, unit: str) -> tuple[str, ...]:
    """The settings for the files of keys that the text of a unit (with its drop-ins) loads."""
    found: dict[str, str] = {}
    for value in re.findall(r"^LoadCredential[ \t]*=(.*)$", text, re.M):
        if not value.strip():
            found.clear()  # an empty one takes those before it back
        name, _, path = value.strip().partition(":")
        if name in _SETTINGS and path:
            path = path.replace("%i", unit.partition("@")[2]).replace("%%", "%")
            found[_SETTINGS[name]] = path
    return tuple(f"{name}={path}" for name, path in found.items())
