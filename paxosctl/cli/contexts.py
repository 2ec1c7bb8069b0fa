"""Contexts: clusters by names of one's own, kept in a file that only its owner may read.

    current = "prod"                                    # the one in use; may be missing

    [contexts.prod]
    endpoints = ["tcp://a:7410", "tcp://b:7410"]
    key_file = "/home/anna/.config/paxosctl/prod.key"   # may be missing

The file is PAXOSCTL_CONFIG, else ``paxosctl/contexts.toml`` in $XDG_CONFIG_HOME (~/.config). It is
strict: what this version does not know is an error, for a setting with a wrong name, such as that
of a key, would be passed over in silence. Writers wait for each other, and replace it as a whole.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from paxosctl.cli.streams import StreamError
from paxosd.net.endpoints import checked_endpoints

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_WORDS = "1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first"
KEYS = frozenset({"endpoints", "key_file"})


@dataclass(frozen=True, slots=True)
class Context:
    """A cluster: client endpoints of any nodes of it, at least one, and the file of the key to show
    there (an absolute path)."""

    endpoints: tuple[str, ...]
    key_file: Path | None = None


@dataclass(slots=True)
class Contexts:
    """What the file says. ``current``: the name of the context in use; "": none."""

    path: Path
    named: dict[str, Context] = field(default_factory=dict)
    current: str = ""

    @classmethod
    def load(cls) -> Self:
        """Of this user; empty if there is no file. Raises StreamError for one that cannot be read
        or understood, PermissionError for one that this user may not read."""
        path = contexts_path()
        try:
            if not path.exists():
                return cls(path)
            from paxosd.host.toml import read_toml  # noqa: PLC0415 -- most have no contexts

            return cls(path, *_parsed(read_toml(path)[1], path.parent))
        except PermissionError:
            raise PermissionError(f"{path}: this user may not read it") from None
        except ValueError as error:
            advice = "mend it, or move it away and add the contexts again"
            raise StreamError(f"{path} holds no contexts: {error}; {advice}") from None
        except OSError as error:
            raise StreamError(f"{path} cannot be read: {error.strerror or error}") from None

    def save(self) -> None:
        """Replace the file. Raises StreamError, PermissionError, NotReplacedError."""
        from paxosctl.cli.new_file import new_file  # noqa: PLC0415 -- only here
        from paxosd.host import toml  # noqa: PLC0415 -- the same

        parts = [f"current = {toml.toml_value(self.current)}\n"] if self.current else []
        for name, each in self.named.items():
            values: dict[str, Any] = {"endpoints": list(each.endpoints)}
            if each.key_file is not None:
                values["key_file"] = each.key_file
            parts.append(toml.table("contexts", name, values=values))
        with new_file(self.path, force=True) as (file, _):
            file.write("\n".join(parts).encode())

    def nearest(self, name: str) -> str:
        """The end of a sentence about a context that does not exist."""
        if not self.named:
            return "add it with: paxosctl context add NAME --endpoints …"
        from paxosd.config.settings import nearest  # noqa: PLC0415 -- only for an error

        return nearest(name, self.named)


@contextmanager
def changing() -> Iterator[Contexts]:
    """The contexts, to be changed in the block and saved at its end; others that change them wait.
    Raises what :meth:`Contexts.load` and :meth:`Contexts.save` raise."""
    folder = contexts_path().parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        from paxosctl.cli.new_file import unwritten  # noqa: PLC0415 -- only for an error

        raise unwritten(folder, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        contexts = Contexts.load()
        yield contexts
        contexts.save()
    finally:
        os.close(descriptor)


def contexts_path() -> Path:
    """Where the contexts of this user are kept, whether there is a file or not."""
    if named := os.environ.get("PAXOSCTL_CONFIG"):
        return Path(named).absolute()
    return xdg_home("XDG_CONFIG_HOME", ".config") / "paxosctl" / "contexts.toml"


def xdg_home(variable: str, otherwise: str) -> Path:
    """A folder of this user by the XDG Base Directory Specification: a path that is not absolute
    does not count."""
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path(os.path.expanduser("~")) / otherwise


def _parsed(said: Mapping[str, Any], folder: Path) -> tuple[dict[str, Context], str]:
    """Contexts by name, and the one in use. Raises ValueError with words for people."""
    unknown = said.keys() - {"current", "contexts"}
    if unknown:
        raise ValueError(f'it has "{min(unknown)}", which is neither current nor contexts')
    current, tables = said.get("current", ""), said.get("contexts", {})
    if not isinstance(current, str):
        raise ValueError("current is no text")
    if not isinstance(tables, dict):
        raise ValueError("contexts is no table")
    return {name: _context(name, each, folder) for name, each in tables.items()}, current


def _context(name: str, said: Any, folder: Path) -> Context:
    if not NAME.fullmatch(name):
        raise ValueError(f'"{name}" is no name of a context: {NAME_WORDS}')
    if not isinstance(said, dict):
        raise ValueError(f"context {name} is no table")
    unknown = said.keys() - KEYS
    if unknown:
        raise ValueError(f'context {name} has "{min(unknown)}", which is none of its settings')
    endpoints = said.get("endpoints")
    if not isinstance(endpoints, list) or not all(isinstance(each, str) for each in endpoints):
        raise ValueError(f"endpoints of context {name} is no list of texts")
    key_file = said.get("key_file")
    if not isinstance(key_file, str | None):
        raise ValueError(f"key_file of context {name} is no text")
    if key_file is not None and (not key_file or "\0" in key_file):
        raise ValueError(f"key_file of context {name} names no file")
    try:
        checked_endpoints(endpoints)
    except ValueError as error:
        raise ValueError(f"context {name}: {error}") from None
    return Context(tuple(endpoints), None if key_file is None else folder / key_file)
