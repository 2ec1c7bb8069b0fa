"""A note in a data directory: which snapshot this cluster began with.

``snapshot restore`` writes it, and the node shows it in its status. A watch of the cluster that the
snapshot came from names it when it ends. It decides nothing: clusters are distinguished by their
ids and by the numbers of their foundings.
"""

import json
from pathlib import Path
from typing import Any

from paxosd.storage.disk import Disk
from paxosd.storage.small_files import write_file

NOTE = "restored-from"


def write(home: Disk, cluster: str, slot: int, revision: int) -> None:
    """Note the snapshot: of ``cluster``, as of ``slot``. Raises OSError."""
    fields = {"cluster": cluster, "slot": slot, "revision": revision}
    write_file(home, NOTE, json.dumps(fields) + "\n")


def read(data_dir: Path) -> dict[str, Any]:
    """``cluster``, ``slot`` and ``revision``; {} if there is no note, or none that can be read."""
    try:
        found = json.loads((data_dir / NOTE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    kinds = {"cluster": str, "slot": int, "revision": int}
    if not isinstance(found, dict):
        return {}
    if any(type(found.get(name)) is not kind for name, kind in kinds.items()):
        return {}
    return {name: found[name] for name in kinds}
