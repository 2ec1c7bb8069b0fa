"""All that goes into a bundle, gathered in a directory, and the manifest that says what is missing.

    nodes that answer   status, settings, recording, log, small files, heads of the log's segments
    the others          what their data directories on this machine have of these

No key and no value is in any of that, unless the write-ahead logs are asked for.
"""

import json
import os
import platform
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from paxosctl.evidence.archive import BYTES_MAX, STATUS, WAL_HEADS, digest_of
from paxosctl.evidence.left_behind import (
    copy_left_behind,
    data_directories,
    head_of,
    segments_of,
)
from paxosctl.evidence.located import Wanted
from paxosctl.evidence.manifest import FORMAT
from paxosctl.evidence.running_nodes import Progress, RemoteNode, RunningNodes
from paxosctl.evidence.wal_heads import HEAD_BYTES, wal_head
from paxosd import __version__
from paxosd.config.redaction import redacted
from paxosd.recorder.served_names import CONFIG, FileClass

ALWAYS = frozenset({FileClass.RECORDING, FileClass.SMALL, FileClass.LOG, FileClass.CONFIG})
HEADS_MAX = 64
"""Of the newest segments of each log."""
_ZEROS_KEPT = 4096


@dataclass(slots=True)
class Collection:
    """What is gathered. ``nodes``: as in the manifest; ``names``: of the files, in their order."""

    directory: Path
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cluster: str = ""

    @property
    def incomplete(self) -> list[str]:
        """The nodes of which there is no recording."""
        return [
            name for name in self.nodes
            if not any(n.startswith(f"{name}/recorder/") for n in self.names)
        ]  # fmt: skip


def collect(
    client: Client,
    directory: Path,
    data_dirs: list[Path],
    wanted: Wanted,
    progress: Progress | None,
) -> Collection:
    """Gather it. Raises ClientError if no node answers and no data directory is named; OSError."""
    found = Collection(directory)
    homes = data_directories(data_dirs, found.notes)
    running: RunningNodes | None = None
    newest_ms = 0
    try:
        running = RunningNodes(client, directory)
    except ClientError as error:
        if not homes:
            raise
        found.notes.append(f"no node of {', '.join(client.endpoints)} answered: {error}")
    if running is not None:
        running.ask_status()
        newest_ms = running.newest_ms
    newest_ms = newest_ms or time.time_ns() // 1_000_000
    since_ms = wanted.span(newest_ms)[0] if wanted.span is not None else 0
    if running is not None:
        running.fetch(running.want(wanted.kinds, since_ms), progress)
        for node in running.nodes.values():
            _take_running(found, client, node, running.troubles)
    for name, home in homes.items():
        if name in found.nodes and found.nodes[name]["from"]:
            if home in data_dirs:  # of the directory of several it goes without saying
                found.notes.append(f"{home} is not used: {name} answers, and its files are its own")
            continue
        _take_left_behind(found, name, home, wanted.kinds, since_ms)
    _list_files(found)
    return found


def _take_running(found: Collection, client: Client, node: RemoteNode, troubles: list[str]) -> None:
    begins = f"{node.name}: ", f"{node.name} "
    mine = [each.partition(" ")[2] for each in troubles if each.startswith(begins)]
    missing = [node.problem] if node.problem else []
    found.nodes[node.name] = {
        "answered": bool(node.status),
        "endpoint": node.endpoint,
        "version": node.version or None,
        "role": str(node.status["role"]) if "role" in node.status else None,
        "from": "endpoint" if node.files else None,
        "missing": missing + mine + node.notes,
    }
    found.cluster = found.cluster or client.cluster
    if node.status:
        _write_json(found.directory / node.name / STATUS, redacted(node.status))
    config = found.directory / node.name / CONFIG
    if config.exists():
        _redact_again(config)
    heads = []
    for file in node.of(FileClass.WAL)[-HEADS_MAX:]:
        args = {"name": file.name, "offset": 0, "count": HEAD_BYTES}
        try:
            body = client.admin("file_read", args, endpoint=node.endpoint)
            heads.append(wal_head(file.name, file.bytes, bytes(body["data"]) + _PADDING))
        except (ClientError, KeyError, TypeError):
            continue  # it was given back meanwhile, or the node went away, which is said elsewhere
    if heads:
        _write_json(found.directory / node.name / WAL_HEADS, heads)


_PADDING = bytes(HEAD_BYTES)
"""A node leaves out the zeros at an end."""


def _redact_again(path: Path) -> None:
    """By this version's rules, too: what is secret may not have been known to that node."""
    try:
        settings = json.loads(path.read_bytes())
        _write_json(path, redacted(settings))
    except (ValueError, AttributeError, RecursionError):
        path.unlink()


def _take_left_behind(
    found: Collection, name: str, home: Path, kinds: frozenset[FileClass], since_ms: int
) -> None:
    before = found.nodes.get(name)
    troubles = copy_left_behind(name, home, found.directory, kinds - {FileClass.CONFIG}, since_ms)
    heads = [
        wal_head(segment, *head_of(path, HEAD_BYTES))
        for segment, path in segments_of(home)[-HEADS_MAX:]
    ]
    if heads:
        _write_json(found.directory / name / WAL_HEADS, heads)
    node = before or {
        "answered": False, "endpoint": None, "version": None, "role": None, "missing": [],
    }  # fmt: skip
    lacks = [] if node["answered"] else ["its status and its settings are missing"]
    node["missing"] = [*node["missing"], *lacks, *troubles]
    node["from"] = str(home)
    found.nodes[name] = node


def _list_files(found: Collection) -> None:
    """Those that fit, what is small first, and of the rest the newest."""
    files = [path for path in found.directory.rglob("*") if path.is_file()]
    left = BYTES_MAX
    named = {str(path.relative_to(found.directory)): path for path in files}
    for name in sorted(named, key=_rank):
        path = named[name]
        if "/wal/wal-" in name:
            os.truncate(path, _used_bytes(path))
        left -= path.stat().st_size
        if left < 0:
            found.notes.append(f"{name} and what follows it is above {BYTES_MAX >> 30} GiB")
            break
        found.names.append(name)


def _rank(name: str) -> tuple[int, int, str]:
    """The order in a bundle: the less is lost, the later it is cut off."""
    order = ("/recorder/", ".log", "/wal/wal-")
    kind = max((place for place, part in enumerate(order, 1) if part in name), default=0)
    number = re.search(r"-(\d+)\.", name)
    return kind, -int(number[1]) if number is not None else 0, name


def _used_bytes(path: Path) -> int:
    """Up to where something is written, and some of the zeros behind it: a record may end in
    zeros."""
    size = path.stat().st_size
    end = size
    with open(path, "rb") as file:
        while end:
            begin = max(0, end - (1 << 20))
            file.seek(begin)
            data = file.read(end - begin).rstrip(b"\0")
            if data:
                return min(size, begin + len(data) + _ZEROS_KEPT)
            end = begin
    return 0


def manifest_of(
    found: Collection, asked: list[str], *, since: tuple[str | None, int | None], wal: bool
) -> dict[str, Any]:
    """What is in the bundle, and what is not, and why. ``since``: as --since and --last were
    given."""
    return {
        "format": FORMAT,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "made_by": {
            "paxosctl": __version__,
            "python": platform.python_version(),
            "libzmq": zmq.zmq_version(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
        "cluster": found.cluster or None,
        "asked": asked,
        "since": since[0],
        "last_ms": since[1],
        "wal": wal,
        "nodes": {name: found.nodes[name] for name in sorted(found.nodes)},
        "notes": found.notes,
        "files": {
            name: {
                "bytes": (found.directory / name).stat().st_size,
                "sha256": digest_of(found.directory / name),
            }
            for name in found.names
        },
    }


def _write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1, default=_as_text), encoding="utf-8")


def _as_text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
