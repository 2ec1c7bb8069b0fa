"""What is in a bundle, as a table and as data; and the line on the terminal while one is made."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paxosctl.cli.render import View, human_bytes
from paxosctl.evidence.running_nodes import is_node_name
from paxosctl.inspection.recorded_files import by_node
from paxosd.recorder.files import DIRECTORY
from paxosd.recorder.reader import recorder_files

if TYPE_CHECKING:
    pass


def bundle_view(path: Path, manifest: dict[str, Any], directory: Path, troubles: list[str]) -> View:
    """``directory``: where its files are in the clear. ``troubles``: what is not whole."""
    nodes = {
        name: _node(name, each, manifest["files"], directory)
        for name, each in manifest["nodes"].items()
    }
    data = {
        "file": str(path),
        "bytes": path.stat().st_size if path.exists() else 0,
        "format": manifest["format"],
        "made_at": manifest.get("made_at"),
        "made_by": manifest.get("made_by", {}),
        "cluster": manifest.get("cluster"),
        "wal": bool(manifest.get("wal")),
        "whole": not troubles,
        "troubles": troubles,
        "notes": manifest.get("notes", []),
        "nodes": nodes,
        "files": manifest["files"],
    }
    rows = [_row(name, each) for name, each in nodes.items()]
    return View(
        data=data,
        plain="".join("\t".join(map(str, row)) + "\n" for row in rows).encode(),
        columns=("node", "state", "version", "recording", "recorded from", "until", "log", "wal"),
        rows=rows,
        notes=_notes(data),
        optional=("version", "recorded from"),
    )


def _node(
    name: str, stated: dict[str, Any], files: dict[str, Any], directory: Path
) -> dict[str, Any]:
    recording = directory / name / DIRECTORY
    first_us = last_us = 0
    if is_node_name(name) and recording.is_dir():  # what a bundle says is no path elsewhere
        found = by_node(recorder_files(recording), [])
        firsts = [each.first_us for each in found.values()]
        lasts = [each.last_us() for each in found.values()]
        first_us, last_us = min(firsts, default=0), max(lasts, default=0)

    def total(begins: str) -> int:
        return sum(each["bytes"] for file, each in files.items() if file.startswith(begins))

    return {
        "answered": bool(stated.get("answered")),
        "from": stated.get("from"),
        "version": stated.get("version"),
        "role": stated.get("role"),
        "recording_bytes": total(f"{name}/{DIRECTORY}/"),
        "first_us": first_us or None,
        "last_us": last_us or None,
        "log_bytes": total(f"{name}.log"),
        "wal_bytes": total(f"{name}/wal/wal-"),
        "missing": list(stated["missing"]),
    }


def _row(name: str, node: dict[str, Any]) -> tuple[Any, ...]:
    state = str(node["role"] or "up") if node["answered"] else "no answer"
    return (
        name,
        state,
        node["version"] or "-",
        _size(node["recording_bytes"]),
        _moment(node["first_us"]),
        _moment(node["last_us"]),
        _size(node["log_bytes"]),
        _size(node["wal_bytes"]),
    )


def _size(count: int) -> str:
    return human_bytes(count) if count else "-"


def _moment(time_us: int | None) -> str:
    if time_us is None:
        return "-"
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%m-%d %H:%M:%S")


def _notes(data: dict[str, Any]) -> list[str]:
    made = data["made_by"]
    size = f", {human_bytes(data['bytes'])}" if data["bytes"] else ""
    values = (
        "it HOLDS KEYS AND VALUES: the write-ahead logs are in it"
        if data["wal"]
        else "no keys and no values are in it"
    )
    notes = [
        f"cluster {data['cluster'] or '?'}, made at {data['made_at']} by paxosctl "
        f"{made.get('paxosctl', '?')}: {len(data['files'])} files{size}; {values}"
    ]
    notes += [
        f"{name}: {words}" for name, each in data["nodes"].items() for words in each["missing"]
    ]
    return notes + [str(each) for each in data["notes"]] + [str(each) for each in data["troubles"]]
