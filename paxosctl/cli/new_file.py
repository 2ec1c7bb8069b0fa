"""A file that appears as a whole or not at all, and that only its owner may read."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from paxosctl.cli.streams import StreamError


class NotReplacedError(Exception):
    """There is something of that name already; the text says what to do."""


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[tuple[IO[bytes], Path]]:
    """A file to write to, and where it is meanwhile. At the end it is synced and gets its name; if
    that fails, or the block raises, nothing is left of it. ``force``: replace a regular file.
    Raises NotReplacedError, PermissionError, StreamError."""
    target = _target(path, force=force)
    # Named before it is there: an interruption between the two leaves nothing.
    name = target.with_name(f"{target.name}.{secrets.token_hex(8)}.part")
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask
            yield file, name
            file.flush()
            os.fsync(file.fileno())
        _target(path, force=force)  # it may have come meanwhile
        os.rename(name, target)
        sync_directory(target.parent)
    except OSError as error:
        raise unwritten(path, error) from error
    finally:
        with suppress(OSError):
            os.unlink(name)


def _target(path: Path, *, force: bool) -> Path:
    """The regular file to be made or replaced, behind any symbolic links."""
    try:
        if not os.path.lexists(path):
            return path
        target = path.resolve(strict=True)
        if not target.is_file():
            raise NotReplacedError(
                f"{path} is no regular file, and is not replaced: name another file"
            )
    except PermissionError as error:
        raise PermissionError(f"{path}: this user may not look at it") from error
    except (OSError, RuntimeError) as error:  # a link that leads nowhere, or to itself
        words = f"{path} is a link that leads nowhere: remove it, or name another file"
        raise NotReplacedError(words) from error
    if not force:
        raise NotReplacedError(f"{path} exists: name another file, or use --force")
    return target


def unwritten(path: Path, error: OSError) -> Exception:
    """What to raise where ``path``, or something in it, could not be written: PermissionError or
    StreamError, in words for people."""
    if isinstance(error, PermissionError):
        return PermissionError(f"{path}: this user may not write there")
    return StreamError(f"{path} cannot be written: {error.strerror or error}")


def sync_directory(path: Path) -> None:
    """Have the names in it on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
