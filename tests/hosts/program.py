"""paxosd on a host made of namespaces, as if a wheel of this checkout had been installed there."""

import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
PREFIX = "/opt/paxosd"
_LAUNCH = """#!/bin/sh
# This machine's interpreter and packages, from where a service may look: not below a home.
export LD_LIBRARY_PATH={prefix}/python/lib PYTHONHOME={prefix}/python PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH={prefix}/source:{prefix}/packages
exec {prefix}/python/bin/{python} -c \
'import sys; sys.argv[0] = "{name}"; from {name}.__main__ import main; main()' "$@"
"""


def install(host):
    """Make ``/opt/paxosd/bin/paxosd`` and ``paxosctl``, and put them into everybody's PATH."""
    mounts = {
        "python": sys.base_prefix,
        "packages": sysconfig.get_paths()["purelib"],
        **{f"source/{name}": str(ROOT / name) for name in ("paxosd", "paxosctl")},
    }
    for name, source in mounts.items():
        place = f"{PREFIX}/{name}"
        host.run("mkdir", "-p", place)
        host.run("mount", "--bind", "-o", "ro", source, place)
    python = Path(sys.executable).resolve().name
    host.run("mkdir", "-p", f"{PREFIX}/bin")
    for name in ("paxosd", "paxosctl"):
        text = _LAUNCH.format(prefix=PREFIX, name=name, python=python)
        host.write(f"{PREFIX}/bin/{name}", text, mode=0o755)
