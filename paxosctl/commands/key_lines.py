"""Keys and values as JSON lines, which ``export`` writes and ``import`` reads.

    {"format": "paxosd-keys", "version": 1, "cluster": "c", "prefix": "", "revision": 7}
    {"key": "a", "value": "text", "create_revision": 3, "modify_revision": 5, "version": 2}
    {"key": {"b64": "AP8="}, "value": {"b64": ""}, …}
    {"end": true, "keys": 2, "revision": 7}

Text stands as it is where it is UTF-8 without control characters, all other bytes in base64. Only
``key`` and ``value`` are needed: lines made by other programs can be imported. Where there is a
first line, there must be a last one: without it the file was cut off.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from paxosctl.cli.render import json_bytes
from paxosd.core.commands import KeyValue

FORMAT = "paxosd-keys"
VERSION = 1
LINE_BYTES_MAX = 512 << 20
"""More than any key and value take, all of their characters escaped."""


class KeyLineError(ValueError):
    """A line that cannot be imported; the text says which, and why."""


class KeyLine(NamedTuple):
    """A key to be written, and the line where it stands, counted from 1."""

    line: int
    key: bytes
    value: bytes


def head_line(cluster: str, prefix: bytes, revision: int) -> bytes:
    """The first line."""
    head = {"format": FORMAT, "version": VERSION, "cluster": cluster, "prefix": prefix}
    return json_bytes(head | {"revision": revision}) + b"\n"


def row_line(row: KeyValue) -> bytes:
    """The line of one key."""
    return json_bytes(row._asdict()) + b"\n"


def end_line(keys: int, revision: int) -> bytes:
    """The last line."""
    return json_bytes({"end": True, "keys": keys, "revision": revision}) + b"\n"


def read_lines(lines: Iterable[bytes]) -> Iterator[KeyLine]:
    """The keys in these lines, one by one, as they come. Raises KeyLineError at the first line that
    is none, and at the end if the last line is missing, or counts other keys than there were."""
    has_head = ended = False
    keys = number = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _object(line, number)
        if ended:
            raise KeyLineError(f"line {number}: something follows the line with end")
        if "format" in found:
            if keys or has_head or found["format"] != FORMAT or found.get("version") != VERSION:
                raise KeyLineError(
                    f"line {number}: this is not the beginning of {FORMAT}, version {VERSION}"
                )
            has_head = True
        elif found.get("end") is True:
            if found.get("keys") != keys:
                raise KeyLineError(
                    f"line {number}: the file was to have {found.get('keys')} keys, and has {keys}"
                )
            ended = True
        else:
            keys += 1
            row = KeyLine(number, _bytes(found, "key", number), _bytes(found, "value", number))
            if not row.key:
                raise KeyLineError(f"line {number}: the key is empty: it needs at least one byte")
            yield row
    if has_head and not ended:
        raise KeyLineError(f"the file is cut off behind line {number}")


class _SameNameError(ValueError):
    pass


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a JSON object. Raises _SameNameError: otherwise the last one would win in silence."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _SameNameError(f"it has {name!r:.80} twice")
        found[name] = value
    return found


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line, object_pairs_hook=_members)
    except _SameNameError as error:
        raise KeyLineError(f"line {number}: {error}") from None
    except UnicodeDecodeError:
        raise KeyLineError(f"line {number} is no text in UTF-8") from None
    except json.JSONDecodeError as error:
        words = f"line {number} is no JSON: {error.msg} at character {error.colno}"
        raise KeyLineError(words) from None
    except (ValueError, RecursionError) as error:
        raise KeyLineError(f"line {number} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise KeyLineError(f"line {number} is no JSON object")
    return found


def _bytes(found: dict[str, Any], name: str, number: int) -> bytes:
    value = found.get(name)
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise KeyLineError(
                f"line {number}: {name} has half a surrogate pair, which is no character"
            ) from None
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise KeyLineError(f"line {number}: {name} is not base64") from None
    raise KeyLineError(f'line {number}: {name} must be text or {{"b64": "…"}}')
