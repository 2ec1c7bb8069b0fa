"""What the heads of a node's log segments say, without the keys and values that follow them.

A segment begins with its header and a STATE record: the first slot, the commit index and the
promise at its beginning (``paxosd/storage/wal_format.py``). Votes and values come after these.
"""

from typing import Any

from paxosd.storage.wal_format import (
    HEADER_BYTES,
    STATE,
    FormatError,
    check_record,
    decode_header,
    decode_state,
)

HEAD_BYTES = 2048
"""So much of a segment has both: header, record and two names."""


def wal_head(name: str, size: int, head: bytes) -> dict[str, Any]:
    """One segment. ``problem``: why its head cannot be read, or ""."""
    found: dict[str, Any] = {"name": name, "bytes": size, "problem": ""}
    try:
        header = decode_header(head)
        record = check_record(memoryview(head), HEADER_BYTES, header)
        if record is None or record.kind != STATE:
            return found | {"problem": "it does not begin with what was known before it"}
        promised, release = decode_state(memoryview(head), record)
    except (FormatError, ValueError) as error:
        return found | {"problem": str(error)}
    return found | {
        "segment": header.number,
        "first_slot": release.first_slot,
        "commit": release.commit,
        "promised": promised.shown() if promised.round else None,
    }
