"""A new key of somebody, and its file: written before the cluster knows the key, and kept if it is
not known whether the cluster does.

    new key ──► PATH.…part ──► the change of the table ──► PATH
                                  ├─ refused: nothing is left
                                  └─ unknown, or interrupted: the file stays, and is named
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from paxosctl.cli.new_file import NotReplacedError, unwritten
from paxosctl.cli.streams import StreamError, say, write
from paxosctl.cli.survey import NodeView
from paxosctl.client.errors import OutcomeUnknownError
from paxosd.net.key_files import (
    KeyFile,
    ServerKey,
    key_file_text,
    parse_key,
    write_secret,
)

STANDARD_OUTPUT = "-"


def servers_of(views: list[NodeView]) -> dict[str, ServerKey]:
    """Node → where clients reach it and its newest key, as the latest status has them."""
    found: dict[str, ServerKey] = {}
    known = [view.status for view in views if view.status is not None]
    for status in sorted(known, key=lambda each: each.epoch):
        for name, member in status.members.items():
            with suppress(ValueError):
                if member.client and member.keys:
                    found[name] = ServerKey(member.client, parse_key(member.keys[0]))
    return found


@contextmanager
def kept(key: KeyFile, place: str, *, force: bool) -> Iterator[None]:
    """Around the change that makes a key known: its file is at ``place`` ("-": it is printed) if
    the block ends well. Raises NotReplacedError, PermissionError, StreamError."""
    if place == STANDARD_OUTPUT:
        yield
        write(key_file_text(key), newline=False)
        return
    path = Path(place)
    if os.path.lexists(path) and not force:
        raise NotReplacedError(f"{path} exists: name another file (-o FILE), or use --force")
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        write_secret(part, key_file_text(key))
    except OSError as error:
        raise unwritten(path, error) from error
    try:
        yield
    except OutcomeUnknownError as error:
        words = f"{error}. The new key is kept in {part}"
        raise OutcomeUnknownError(error.session, error.seq, words, error.troubles) from error
    except KeyboardInterrupt:  # the change may be under way
        say(f"paxosctl: `paxosctl auth list` shows what was changed. The new key is kept in {part}")
        raise
    except BaseException:
        part.unlink()
        raise
    try:
        if force:
            part.replace(path)
        else:
            path.hardlink_to(part)
            part.unlink()
    except OSError as error:
        raise StreamError(
            f"{path} cannot be written: {error.strerror}; the key, which the cluster knows now, is "
            f"in {part}"
        ) from error
