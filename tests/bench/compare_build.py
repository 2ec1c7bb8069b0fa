"""Builds the load generators of the peers, each from one source file in tests/bench/peers."""

import os
import subprocess
import tempfile
from pathlib import Path

from tests.bench.compare_cluster import MissingError

PEERS = Path(__file__).parent / "peers"
BUILD_LIMIT_S = 600


def build_folder():
    """Where what was built is kept for the next time, readable by this user alone."""
    folder = Path(tempfile.gettempdir()) / f"paxosd-compare-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def build(source, target, command, env=None):
    """Run a compiler if ``target`` is not newer than ``source``; ``target``. ``env``: variables to
    add. Raises MissingError with the compiler's words."""
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return target
    try:
        built = subprocess.run(
            command, check=False, env=os.environ | (env or {}),
            capture_output=True, text=True, timeout=BUILD_LIMIT_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{source.name} cannot be built: {error}") from None
    if built.returncode != 0:
        raise MissingError(f"{source.name} cannot be built: {built.stderr.strip()[:500]}")
    return target
