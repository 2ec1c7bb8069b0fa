"""The manifest of a bundle, read with care: it comes from somebody else, as all of the bundle.

What a reader of it may rely on is checked here, once: which fields there are, of what type, and how
many. All of it is text to be shown, and no path: a node's name is one only if it has the form of
one. Fields of a later version are left out.
"""

import json
from collections.abc import Callable
from typing import Any

FORMAT = 1
"""Of the manifest and of what lies where. A bundle of another format is not read."""
NODES_MAX = 256
FILES_MAX = 50_000


class ManifestError(ValueError):
    """It is none, or none that this version reads; the text says why."""


def parse_manifest(data: bytes) -> dict[str, Any]:
    """The manifest, each field as ``evidence/collection.py`` writes it; one that is missing is
    None, or empty. Raises ManifestError."""
    try:
        found = json.loads(data)
        version = found["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError("its manifest is none") from error
    if type(version) is not int:
        raise ManifestError("its manifest is none")
    if version != FORMAT:
        raise ManifestError(f"it has the format {version!s:.20}; use the paxosctl of that version")
    return {"format": version} | _fields(found, _MANIFEST, "")


_Check = Callable[[Any, str], Any]
"""The value as it may be used, given where it stands. Raises ManifestError."""


def _fields(value: Any, checks: dict[str, _Check], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where)
    return {name: check(value.get(name), f"{where}{name}") for name, check in checks.items()}


def _text(value: Any, where: str) -> str | None:
    if not isinstance(value, str | None):
        raise _wrong(where)
    return value


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool | None):
        raise _wrong(where)
    return bool(value)


def _count(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise _wrong(where)
    return value


def _texts(value: Any, where: str) -> list[str]:
    if not isinstance(value, list | None) or not all(isinstance(e, str) for e in value or ()):
        raise _wrong(where)
    return list(value or ())


def _made_by(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict | None):
        raise _wrong(where)
    return {name: _text(each, where) or "" for name, each in (value or {}).items()}


def _nodes(value: Any, where: str) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or len(value) > NODES_MAX:
        raise _wrong(where)
    return {name: _fields(each, _NODE, f"{where}.{name:.80}.") for name, each in value.items()}


def _files(value: Any, where: str) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or len(value) > FILES_MAX:
        raise _wrong(where)
    return {name: _fields(each, _FILE, f"{where}.{name:.80}.") for name, each in value.items()}


def _wrong(where: str) -> ManifestError:
    inside = f': "{where}" is not as it must be' if where else ""
    return ManifestError(f"its manifest is none{inside}")


_FILE: dict[str, _Check] = {"bytes": _count, "sha256": _text}
_NODE: dict[str, _Check] = {
    "answered": _flag, "endpoint": _text, "version": _text, "role": _text, "from": _text,
    "missing": _texts,
}  # fmt: skip
_MANIFEST: dict[str, _Check] = {
    "made_at": _text, "made_by": _made_by, "cluster": _text, "wal": _flag, "nodes": _nodes,
    "notes": _texts, "files": _files,
}  # fmt: skip
