"""The rights table: who may do what here, as the log has it, alike on all nodes.

    RIGHTS command in slot s ──► chosen, applied ──► in force from slot s + 1 on: the next version

Rules:

- Somebody is known by a public key alone (32 bytes). A *principal* is a name with a role, prefixes
  of keys that it may read and write, and one or more public keys. A key belongs to one principal.
- A role says what somebody may do to the cluster (``admin_verbs.py``); the prefixes say which keys
  of the store an ``operator`` or a ``client`` may read and write. An ``admin`` may do everything; a
  ``peer`` is a node, and nothing as a client.
- Versions are numbered from 0, the empty table that no log holds. A change names the version that
  it follows: of two at once the second finds another one, and does nothing.
- While ``required`` is not set the table forbids nothing. A table with it has an admin with a key:
  else nobody could ever change it again.
- ``revoked``: keys that are refused even where a node's own file trusts them.

A document is the complete next table, all but the version, as JSON, so that a person can read it in
the log. Keys are in hex; a prefix is text, or ``hex:…`` where it is no UTF-8 or begins with
``hex:``. What is wrong with one is found from its bytes alone, alike on every node.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple

from paxosd.core.commands import prefix_end
from paxosd.core.json_object import load_object
from paxosd.core.membership import NAME_PATTERN

PEER, ADMIN, OPERATOR, CLIENT = "peer", "admin", "operator", "client"
ROLES = (PEER, ADMIN, OPERATOR, CLIENT)

KEY_BYTES = 32
DOCUMENT_BYTES_MAX = 512 << 10
PRINCIPALS_MAX = 1000
PREFIXES_MAX = 64
"""Of each kind, for one principal."""
PREFIX_BYTES_MAX = 65_536
KEYS_MAX = 4
"""Of one principal, so that a new one can be put beside the old."""
REVOKED_MAX = 4000
UNCONFIRMED_MS_MIN, UNCONFIRMED_MS_MAX = 1000, 7 * 86_400_000
VERSION_MAX = (1 << 63) - 1
EVERYTHING: tuple[bytes, ...] = (b"",)
"""The prefixes that cover every key."""

_JSON_BYTES_MAX = DOCUMENT_BYTES_MAX + 64  # with the version, which a command does not carry
_HEX = "hex:"
_HEX_DIGITS = re.compile(r"(?:[0-9a-f]{2})+")
_FIELDS = {"required", "principals", "revoked", "unconfirmed_ms_max"}
_OPTIONAL = {"role", "keys", "read", "write"}


class RightsError(ValueError):
    """Not a rights table that a cluster can have; the text says why."""


class Principal(NamedTuple):
    """Somebody with rights. ``read``, ``write``: prefixes of keys; b"": all keys. ``keys``: public
    keys, the newest first."""

    name: str
    role: str
    read: tuple[bytes, ...] = ()
    write: tuple[bytes, ...] = ()
    keys: tuple[bytes, ...] = ()

    @property
    def reads_all(self) -> bool:
        """Whether it may read every key."""
        return b"" in self.read

    @property
    def writes_all(self) -> bool:
        """Whether it may write every key."""
        return b"" in self.write

    @property
    def is_operator(self) -> bool:
        """Whether it may operate nodes: an operator or an admin."""
        return self.role in (ADMIN, OPERATOR)

    @property
    def is_admin(self) -> bool:
        """Whether it may change settings and rights."""
        return self.role == ADMIN

    def document(self) -> dict[str, Any]:
        """As plain values, under the names that the log has for them, without the name."""
        document: dict[str, Any] = {"role": self.role, "keys": [key.hex() for key in self.keys]}
        if self.role not in (ADMIN, PEER):
            document["read"] = [prefix_text(each) for each in self.read]
            document["write"] = [prefix_text(each) for each in self.write]
        return document


def admin_of(name: str, keys: tuple[bytes, ...] = ()) -> Principal:
    """One who may do everything."""
    return Principal(name, ADMIN, EVERYTHING, EVERYTHING, keys)


def covers(prefixes: tuple[bytes, ...], start: bytes, end: bytes) -> bool:
    """Whether one of these prefixes covers all keys in ``start <= key < end`` (end b"": no end)."""
    for prefix in prefixes:
        if start.startswith(prefix):
            limit = prefix_end(prefix)
            if not limit or (end and end <= limit):
                return True
    return False


def prefix_text(prefix: bytes) -> str:
    """A prefix as documents and people have it."""
    try:
        text = prefix.decode()
    except UnicodeDecodeError:
        return _HEX + prefix.hex()
    return _HEX + prefix.hex() if text.startswith(_HEX) else text


def parse_prefix(text: Any) -> bytes:
    """The other way round. Raises RightsError."""
    if type(text) is not str:
        raise RightsError("a prefix is text")
    words = "a prefix is text in UTF-8, or hex: and pairs of hex digits"
    if text.startswith(_HEX):
        digits = text.removeprefix(_HEX)
        if not _HEX_DIGITS.fullmatch(digits):
            raise RightsError(words)
        prefix = bytes.fromhex(digits)
    else:
        try:
            prefix = text.encode()
        except UnicodeEncodeError:
            raise RightsError(words) from None
    if len(prefix) > PREFIX_BYTES_MAX:
        raise RightsError(f"a prefix has at most {PREFIX_BYTES_MAX} bytes")
    return prefix


@dataclass(frozen=True, slots=True)
class RightsTable:
    """The table of one version; immutable. ``principals``: by name, ascending.
    ``unconfirmed_ms_max``: a node that heard of no quorum for longer serves nothing that it may
    not serve any more (``replica/permissions.py``)."""

    version: int = 0
    required: bool = False
    principals: tuple[Principal, ...] = ()
    revoked: frozenset[bytes] = frozenset()
    unconfirmed_ms_max: int = 60_000
    by_key: Mapping[bytes, Principal] = field(init=False, repr=False, compare=False)
    """Public key → whose it is."""
    digest: bytes = field(init=False, repr=False, compare=False)
    """Of :meth:`to_json`, 16 bytes; b"" for version 0."""
    _json: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_key = {key: each for each in self.principals for key in each.keys}
        object.__setattr__(self, "by_key", MappingProxyType(by_key))
        text = _dump(self.document() | {"version": self.version}) if self.version else b""
        object.__setattr__(self, "_json", text)
        object.__setattr__(self, "digest", blake2b(text, digest_size=16).digest() if text else b"")

    def named(self, name: str) -> Principal | None:
        """The principal of this name."""
        return next((each for each in self.principals if each.name == name), None)

    def document(self) -> dict[str, Any]:
        """What a command carries, as plain values."""
        return {
            "required": self.required,
            "principals": {each.name: each.document() for each in self.principals},
            "revoked": sorted([key.hex() for key in self.revoked]),
            "unconfirmed_ms_max": self.unconfirmed_ms_max,
        }

    def to_command(self) -> bytes:
        """The document of a RIGHTS command that brings this table about."""
        return _dump(self.document())

    def to_json(self) -> bytes:
        """All of it; b"" for that of version 0, which no log holds."""
        return self._json

    def follow(self, document: bytes) -> "RightsTable":
        """The next version, as a command's document says. Depends on its arguments alone. Raises
        RightsError."""
        if type(document) is not bytes:
            raise RightsError("a rights table is text")
        return _read(document, self.version + 1)

    @classmethod
    def from_json(cls, text: bytes) -> "RightsTable":
        """What :meth:`to_json` made. Raises RightsError."""
        if not text:
            return NO_RIGHTS
        found = _load(text)
        version = found.pop("version", None)
        if type(version) is not int or not 1 <= version <= VERSION_MAX:
            raise RightsError(f"version is a number from 1 to {VERSION_MAX}")
        return _make(found, version)


NO_RIGHTS = RightsTable()
"""The table of version 0: there is none."""


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _load(text: bytes) -> dict[str, Any]:
    if type(text) is not bytes or len(text) > _JSON_BYTES_MAX:
        raise RightsError(f"a rights table is text of at most {DOCUMENT_BYTES_MAX} bytes")
    try:
        return load_object(text)
    except ValueError:
        raise RightsError("a rights table is a JSON object, in which a name stands once") from None


@lru_cache(maxsize=2)
def _read(document: bytes, version: int) -> RightsTable:
    """The table that a command's document says. The largest take some 20 ms: a leader that has
    admitted one need not read it again when it applies it."""
    found = _load(document)
    if "version" in found:
        raise RightsError("a version is counted, and in no document")
    return _make(found, version)


def _make(found: dict[str, Any], version: int) -> RightsTable:
    if found.keys() != _FIELDS:
        raise RightsError(f"a rights table has {', '.join(sorted(_FIELDS))}")
    required, wait_ms = found["required"], found["unconfirmed_ms_max"]
    if type(required) is not bool:
        raise RightsError("required is true or false")
    if type(wait_ms) is not int or not UNCONFIRMED_MS_MIN <= wait_ms <= UNCONFIRMED_MS_MAX:
        raise RightsError(
            f"unconfirmed_ms_max is a number from {UNCONFIRMED_MS_MIN} to {UNCONFIRMED_MS_MAX}"
        )
    given = found["principals"]
    if type(given) is not dict or len(given) > PRINCIPALS_MAX:
        raise RightsError(f"principals are at most {PRINCIPALS_MAX}, by name")
    principals = tuple([_principal(name, given[name]) for name in sorted(given)])
    revoked = found["revoked"]
    if type(revoked) is not list or len(revoked) > REVOKED_MAX:
        raise RightsError(f"revoked is a list of at most {REVOKED_MAX} keys")
    revoked = frozenset(map(_key, revoked))
    _check_keys(principals, revoked)
    if required and not any(each.is_admin and each.keys for each in principals):
        raise RightsError("a table that is required needs an admin with a key")
    table = RightsTable(version, required, principals, revoked, wait_ms)
    if len(table.to_json()) > _JSON_BYTES_MAX:
        raise RightsError(f"a rights table is text of at most {DOCUMENT_BYTES_MAX} bytes")
    return table


def _check_keys(principals: tuple[Principal, ...], revoked: frozenset[bytes]) -> None:
    owners: dict[bytes, str] = {}
    for each in principals:
        for key in each.keys:
            if key in owners:
                raise RightsError(f"{each.name} and {owners[key]} have the same key")
            if key in revoked:
                raise RightsError(f"a key of {each.name} is revoked")
            owners[key] = each.name


def _principal(name: str, given: Any) -> Principal:
    if not NAME_PATTERN.fullmatch(name):
        raise RightsError(
            "a principal's name has 1 to 64 letters, digits, dots, hyphens and underscores, and "
            "begins with a letter or digit"
        )
    if type(given) is not dict or not {"role", "keys"} <= given.keys() <= _OPTIONAL:
        raise RightsError(f"{name}: a principal has role and keys, and may have read and write")
    role, keys = given["role"], given["keys"]
    if type(role) is not str or role not in ROLES:
        raise RightsError(f"{name}: role is one of {', '.join(ROLES)}")
    if type(keys) is not list or len(keys) > KEYS_MAX:
        raise RightsError(f"{name}: keys is a list of at most {KEYS_MAX}")
    try:
        known = tuple(map(_key, keys))
        read, write = (_prefixes(given.get(each, [])) for each in ("read", "write"))
    except RightsError as error:
        raise RightsError(f"{name}: {error}") from None
    if role in (ADMIN, PEER):
        if read or write:
            raise RightsError(
                f"{name}: an admin may do everything, and a peer nothing: no prefixes"
            )
        return admin_of(name, known) if role == ADMIN else Principal(name, role, keys=known)
    return Principal(name, role, read, write, known)


def _prefixes(given: Any) -> tuple[bytes, ...]:
    if type(given) is not list or len(given) > PREFIXES_MAX:
        raise RightsError(f"read and write are lists of at most {PREFIXES_MAX} prefixes")
    return tuple(map(parse_prefix, given))


def _key(text: Any) -> bytes:
    # fromhex alone would take spaces, too.
    if type(text) is not str or len(text) != 2 * KEY_BYTES or not _HEX_DIGITS.fullmatch(text):
        raise RightsError(f"a key is {2 * KEY_BYTES} hex digits")
    return bytes.fromhex(text)
