"""The replicated settings, and the feature level: what all nodes go by, as the log has it.

    CLUSTER command in slot s ──► chosen, applied ──► in force from slot s + 1 on: the next version

Rules:

- Settings that decide what a slot does are equal on all nodes because the log holds them: no file
  of one node can make it apply the log differently. Before the first CLUSTER command they are the
  defaults, at level 0, as programs before this one have them.
- Versions are numbered from 0. A change names the version that it follows and the epoch of the
  membership that it was made for: of two under way at once, the second finds another version and
  does nothing; and a raise of the level that is chosen behind a change of the membership, whose
  members nobody asked, does nothing either.
- The *feature level* says which commands and formats may be used. A leader raises it once every
  member says that it understands the new one (``level_raise.py``); it never falls. A node that
  meets a level which its program does not know stops before it applies that slot: it cannot know
  what the slot means (:class:`UnknownLevelError`).
- ``genesis``, the hash of the record of the cluster's founding, is set once, from "".

A document is complete, all but the version, and JSON, so that a person can read it in the log.
What is wrong with one is found from its bytes alone, alike on every node.

    level 1   CLUSTER commands; admission by the replicated limits; log time as a stopwatch
    level 2   an OPEN that is repeated gives the same session (``core/state/sessions.py``)
    level 3   an OPEN may give its client's name (``core/client_name.py``)
    level 4   coordination: leases (``core/state/leases.py``), history that all nodes keep alike
              (``core/state/undo_log.py``), and settings that a document of an earlier level does
              not have (:data:`SINCE_LEVEL`)
    level 5   keys: RIGHTS commands, and the requester's key in OPEN, FENCE, MEMBERS and CLUSTER
              (``core/rights.py``)
    level 6   shares: no key takes all sessions, no principal all leases
              (``core/state/shares.py``)
"""

import json
import re
from typing import Any, NamedTuple

from paxosd.core.commands import CLUSTER, Entry
from paxosd.core.json_object import load_object

LEVEL_LATEST = 6
"""The highest feature level that this program knows."""
LEVEL_NAMED_OPEN = 2
LEVEL_CLIENT_NAMES = 3
LEVEL_COORDINATION = 4
LEVEL_KEYS = 5
LEVEL_SHARES = 6

DOCUMENT_BYTES_MAX = 4096
VERSION_MAX = (1 << 63) - 1
_GENESIS = re.compile(r"(?:[0-9a-f]{2}){0,64}")
_DAY_MS = 86_400_000

BOUNDS: dict[str, tuple[int, int]] = {
    "sessions_max": (1, 1_000_000),
    "session_ttl_ms": (1000, 3650 * _DAY_MS),
    "session_idle_evict_ms": (0, 3650 * _DAY_MS),
    "session_window_max": (1, 1_000_000),
    "key_bytes_max": (1, 65_536),
    "value_bytes_max": (1, 64 << 20),
    "commands_per_request_max": (1, 8192),
    "leases_max": (0, 1_000_000),
    "history_revisions": (0, 1_000_000),
    "history_hours": (0, 8760),
    "history_bytes_max": (0, 1 << 40),
    "quota_bytes": (0, 1 << 50),
}
"""What a person may set, and within which bounds."""
SINCE_LEVEL: dict[str, int] = {
    "leases_max": LEVEL_COORDINATION,
    "history_revisions": LEVEL_COORDINATION,
    "history_hours": LEVEL_COORDINATION,
    "history_bytes_max": LEVEL_COORDINATION,
    "quota_bytes": LEVEL_COORDINATION,
}
"""The settings that came later → the feature level from which on a document has them. Below it
they have their defaults, and a document must not name them: programs of before refuse it."""


class SettingsError(ValueError):
    """Not settings that a cluster can have; the text says why."""


class UnknownLevelError(Exception):
    """The cluster has raised its feature level above what this program knows."""

    def __init__(self, level: int) -> None:
        super().__init__(
            f"this cluster has raised its feature level to {level}; this program knows "
            f"{LEVEL_LATEST}: start a newer paxosd"
        )
        self.level = level


class ClusterSettings(NamedTuple):
    """The settings of one version; immutable. The defaults are those of level 0."""

    version: int = 0
    level: int = 0
    sessions_max: int = 10_000
    session_ttl_ms: int = 3_600_000
    """A session unused for longer than this, in log time, is gone."""
    session_idle_evict_ms: int = 60_000
    """A full table makes room by dropping its longest unused session, if idle for this long."""
    session_window_max: int = 8192
    """How far a seq may be above what its session acknowledged."""
    key_bytes_max: int = 4096
    value_bytes_max: int = 1 << 20
    commands_per_request_max: int = 1024
    genesis: str = ""
    """The hash of the founding record, in hex; "" as long as none is in the log."""
    leases_max: int = 100_000
    """How many leases there may be at a time."""
    history_revisions: int = 10_000
    """At least so many of the newest revisions can be read and watched again, …"""
    history_hours: int = 0
    """… and besides them what is no older than this, in log time; …"""
    history_bytes_max: int = 32 << 20
    """… but only what fits into so many bytes; see ``core/state/undo_log.py``."""
    quota_bytes: int = 0
    """How large the store may become (``core/state/quota.py``); 0: as large as it will."""

    def document(self) -> dict[str, Any]:
        """What a command of this level carries: all of it but the version, as plain values."""
        document = self._written()
        del document["version"]
        return document

    def _written(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in _keys(self.level)}

    def to_command(self) -> bytes:
        """The document of a CLUSTER command that brings these settings about."""
        return _dump(self.document())

    def to_json(self) -> bytes:
        """All of it; b"" for those of version 0, which no log holds."""
        return _dump(self._written()) if self.version else b""

    def to_entry(self, before: "ClusterSettings", epoch: int) -> Entry:
        """The entry that brings these about, after ``before``, at ``epoch`` of the membership."""
        return Entry(0, 1, 0, [[CLUSTER, before.version, epoch, self.to_command()]])

    def follow(self, document: bytes) -> "ClusterSettings":
        """The next version, as a command's document says. Depends on its arguments alone.

        Raises SettingsError, and UnknownLevelError for what only a newer program can judge.
        """
        found = _load(document)
        level = found.get("level")
        if type(level) is int and level > LEVEL_LATEST:
            # Before anything else is looked at: that level may have settings of its own.
            raise UnknownLevelError(level)
        if "version" in found:
            raise SettingsError("a version is counted, and in no document")
        after = _make(found | {"version": self.version + 1})
        if after.level < max(1, self.level):
            raise SettingsError(f"the feature level is {self.level}, and never falls")
        if self.genesis and after.genesis != self.genesis:
            raise SettingsError("the cluster was founded once: its genesis cannot change")
        return after

    @classmethod
    def from_json(cls, text: bytes) -> "ClusterSettings":
        """What :meth:`to_json` made. Raises SettingsError, UnknownLevelError."""
        if not text:
            return cls()
        found = _load(text)
        level = found.get("level")
        if type(level) is int and level > LEVEL_LATEST:
            raise UnknownLevelError(level)
        return _make(found)


DEFAULTS = ClusterSettings()
"""Those of version 0."""


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _load(text: bytes) -> dict[str, Any]:
    if type(text) is not bytes or len(text) > DOCUMENT_BYTES_MAX:
        raise SettingsError(f"settings are text of at most {DOCUMENT_BYTES_MAX} bytes")
    try:
        return load_object(text)
    except ValueError:
        raise SettingsError("settings are a JSON object, in which a name stands once") from None


def _keys(level: int) -> tuple[str, ...]:
    """The names that settings of this level have in a log."""
    return tuple(key for key in ClusterSettings._fields if SINCE_LEVEL.get(key, 0) <= level)


def _make(found: dict[str, Any]) -> ClusterSettings:
    level = found.get("level")
    keys = _keys(level if type(level) is int else 0)
    if found.keys() != set(keys):
        raise SettingsError(f"settings have {', '.join(sorted(keys))}")
    bounds = {"version": (0, VERSION_MAX), "level": (0, LEVEL_LATEST)} | BOUNDS
    for key, (least, most) in bounds.items():
        if key not in found:
            continue
        value = found[key]
        if type(value) is not int or not least <= value <= most:
            raise SettingsError(f"{key} is a number from {least} to {most}")
    if found["commands_per_request_max"] > found["session_window_max"]:
        raise SettingsError(
            "commands_per_request_max is above session_window_max: "
            "a full request would never be applied"
        )
    if type(found["genesis"]) is not str or not _GENESIS.fullmatch(found["genesis"]):
        raise SettingsError("genesis is text of at most 64 bytes in hex")
    return ClusterSettings(**found)
