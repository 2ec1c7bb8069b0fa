"""The versions before: commits of this repository, built beside it; their programs run from there.

    build(4)  →  Build(path, level): `git archive` of its commit, unpacked once into a cache

It runs with the packages of the present environment, from ``PYTHONPATH``. After a release, COMMITS
gets that of the release: one line, here.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

COMMITS = {
    3: "173dcdfbf406eea53ec02b896eb136cef2b2b855",
    4: "34fce9ddbb5b3e210bc48d4f678915132385f577",
}
"""Feature level → the last commit that knew no higher one. No earlier version has keys: nodes got
them after feature level 5."""
LEVELS = tuple(COMMITS)
ROOT = Path(__file__).parents[2]


class NoBuildError(Exception):
    """The version before cannot be had here; the text says why."""


class Build(NamedTuple):
    """``path``: where it is unpacked. ``level``: the latest feature level that it knows."""

    path: Path
    level: int

    def environ(self, environ):
        """``environ`` with which Python takes its modules from there."""
        return environ | {"PYTHONPATH": str(self.path), "PYTHONDONTWRITEBYTECODE": ""}


def build(level):
    """That of a feature level of LEVELS. Raises NoBuildError."""
    found = build_commit(COMMITS[level])
    assert found.level == level, found
    return found


def build_commit(commit):
    """Unpack the commit, unless it is there. Raises NoBuildError: no git, or no such commit."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(caches) / "paxosd-tests" / commit
    if not path.exists():
        _unpack(commit, path)
    return Build(path, _level(path))


def _unpack(commit, path):
    """Into a directory beside, which then gets its name: several workers may do it at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        archive, tree = Path(work) / "tree.tar", Path(work) / "tree"
        command = ["git", "-C", str(ROOT), "archive", "-o", str(archive), commit,
                   "paxosd", "paxosctl"]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise NoBuildError(f"git cannot be run: {error}") from error
        if done.returncode:
            raise NoBuildError(f"commit {commit[:12]} is not here: {done.stderr.strip()}")
        tree.mkdir()
        subprocess.run(["tar", "-xf", str(archive), "-C", str(tree)], check=True)
        try:
            tree.rename(path)
        except OSError:
            if not path.exists():  # else another worker was faster
                raise


def _level(path):
    """Asked of the program itself, which also shows that it runs in this environment."""
    done = subprocess.run(
        [sys.executable, "-P", "-c",
         "from paxosd.core import cluster_settings as c; print(c.__file__, c.LEVEL_LATEST)"],
        capture_output=True, text=True, check=False,
        env=Build(path, 0).environ(dict(os.environ)),
    )  # fmt: skip
    if done.returncode:
        raise NoBuildError(f"it does not run in this environment: {done.stderr.strip()}")
    where, level = done.stdout.split()
    assert Path(where).is_relative_to(path), f"{where} is not of {path}"
    return int(level)
