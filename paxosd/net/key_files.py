"""Files with CURVE keys: one key of one holder, and the keys that a node trusts by its own files.

    key file      name, role, cluster, public_key, secret_key; [servers]: what nodes prove who they
                  are by; allow_plain: talk to nodes that take no keys, too. Whoever can read it can
                  act as its holder: mode 0600, or it is refused.
    trust file    [peers] and [admins]: name → public key. No secrets in it.

Keys are 32 bytes in the program and Z85 text (ZeroMQ RFC 32, 40 characters) in files.
"""

import os
import stat
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import zmq
from zmq.utils import z85

from paxosd.host.toml import read_toml, table, toml_value

KEY_BYTES = 32
ROLES = ("peer", "admin", "operator", "client")
_TEXTS = ("name", "role", "cluster", "public_key", "secret_key")


class KeyFileError(Exception):
    """A file of keys that cannot be used; the text says why and what to do."""


class ServerKey(NamedTuple):
    """Where a node's clients reach it, and the public key by which it proves who it is."""

    endpoint: str
    public_key: bytes


class KeyFile(NamedTuple):
    """One holder's key. ``servers``: node → what to expect of it; empty in a node's own.
    ``allow_plain``: whether to talk to a node that takes no keys, as long as nodes switch over."""

    name: str
    role: str
    cluster: str
    public_key: bytes
    secret_key: bytes
    servers: Mapping[str, ServerKey] = {}
    allow_plain: bool = False

    def __repr__(self) -> str:
        return f"KeyFile({self.name!r}, {self.role!r}, {key_text(self.public_key)!r})"


class TrustFile(NamedTuple):
    """Whom a node trusts before, and besides, what the cluster has replicated."""

    peers: Mapping[str, bytes] = {}
    admins: Mapping[str, bytes] = {}


def make_key(
    name: str, role: str, cluster: str, servers: Mapping[str, ServerKey] | None = None
) -> KeyFile:
    """A new key pair for a holder."""
    public, secret = zmq.curve_keypair()
    return KeyFile(name, role, cluster, z85.decode(public), z85.decode(secret), servers or {})


def key_text(key: bytes) -> str:
    """A key as files and people have it."""
    return z85.encode(key).decode("ascii")


def parse_key(text: Any) -> bytes:
    """The other way round. Raises ValueError; the text of a wrong key is never repeated, for it may
    be a secret one."""
    words = "a key is 40 characters of Z85"
    if type(text) is not str or len(text) != KEY_BYTES * 5 // 4 or not text.isascii():
        raise ValueError(words)
    try:
        key: bytes = z85.decode(text.encode())
    except (KeyError, ValueError, struct.error):
        raise ValueError(words) from None
    if z85.encode(key) != text.encode():
        raise ValueError(words)
    return key


def read_key_file(path: Path) -> KeyFile:
    """Read one. Raises KeyFileError, also where others than its owner may read it."""
    document = _read(path, secret=True)
    for each in _TEXTS:
        if type(document.get(each)) is not str:
            raise KeyFileError(f"{path}: {each} is missing; it is not a key file of paxosd")
    role = document["role"]
    if role not in ROLES:
        raise KeyFileError(f"{path}: role is one of {', '.join(ROLES)}")
    public, secret = (_key(path, document, each) for each in ("public_key", "secret_key"))
    if zmq.curve_public(key_text(secret).encode()) != key_text(public).encode():
        raise KeyFileError(f"{path}: public_key does not belong to secret_key")
    servers = {}
    for node, given in _section(path, document, "servers").items():
        if not isinstance(given, Mapping) or type(given.get("endpoint")) is not str:
            raise KeyFileError(f"{path}: servers.{node} has an endpoint and a public_key")
        servers[node] = ServerKey(given["endpoint"], _key(path, given, "public_key"))
    allow_plain = document.get("allow_plain", False)
    if type(allow_plain) is not bool:
        raise KeyFileError(f"{path}: allow_plain is true or false")
    name, cluster = document["name"], document["cluster"]
    return KeyFile(name, role, cluster, public, secret, servers, allow_plain)


def read_trust_file(path: Path) -> TrustFile:
    """Read one. Raises KeyFileError, also where others than its owner may change it."""
    document = _read(path, secret=False)
    for section in document:
        if section not in TrustFile._fields:
            raise KeyFileError(f"{path}: [{section}] is unknown; it has [peers] and [admins]")
    found = [
        {name: _key(path, given, name) for name in given}
        for given in (_section(path, document, each) for each in TrustFile._fields)
    ]
    return TrustFile(*found)


def key_file_text(key: KeyFile) -> str:
    """What to write into a key file."""
    values = {
        "name": key.name,
        "role": key.role,
        "cluster": key.cluster,
        "public_key": key_text(key.public_key),
        "secret_key": key_text(key.secret_key),
    }
    lines = [f"# A key of paxosd. Whoever can read this file can act as {key.name}."]
    lines += [f"{name} = {toml_value(value)}" for name, value in values.items()]
    if key.allow_plain:
        lines.append("allow_plain = true")
    servers = {
        node: {"endpoint": each.endpoint, "public_key": key_text(each.public_key)}
        for node, each in key.servers.items()
    }
    return "\n".join(lines) + "\n" + ("\n" + table("servers", values=servers) if servers else "")


def trust_file_text(trust: TrustFile) -> str:
    """What to write into a trust file."""
    lines = ["# Public keys that this node trusts. Only its owner may change this file.\n"]
    for section, keys in zip(TrustFile._fields, trust, strict=True):
        lines.append(table(section, values={name: key_text(key) for name, key in keys.items()}))
    return "\n".join(lines)


def write_secret(path: Path, text: str, *, replace: bool = False, mode: int = 0o600) -> None:
    """Write a file that its owner alone can read, unless ``mode`` lets others do so, too; as a
    whole or not at all. Raises FileExistsError unless ``replace``, and OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, mode)  # whatever the umask is
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.rename(path)
        else:
            path.hardlink_to(temporary)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _read(path: Path, *, secret: bool) -> dict[str, Any]:
    try:
        mode = path.stat().st_mode
        _, document = read_toml(path)
    except FileNotFoundError:
        raise KeyFileError(f"{path}: there is no such file") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        # The text of the error could repeat a part of a secret.
        made = "; a key file is made by paxosctl auth new, or paxosd keygen" if secret else ""
        raise KeyFileError(f"{path}: this is not TOML that can be read{made}") from None
    if stat.S_ISREG(mode):
        loose = mode & (stat.S_IRWXG | stat.S_IRWXO if secret else stat.S_IWGRP | stat.S_IWOTH)
        if path.parent == Path(os.environ.get("CREDENTIALS_DIRECTORY") or "/nowhere"):
            # A credential is its service's by an access control list, from some version of
            # systemd on; the mask of that list stands in place of the group.
            loose &= ~stat.S_IRGRP
        if loose:
            may = "read or change" if secret else "change"
            raise KeyFileError(
                f"{path}: others may {may} it; chmod {'600' if secret else '644'} it"
            )
    return document


def _section(path: Path, document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = document.get(name, {})
    if not isinstance(section, Mapping):
        raise KeyFileError(f"{path}: [{name}] is a table")
    return section


def _key(path: Path, given: Mapping[str, Any], name: str) -> bytes:
    try:
        return parse_key(given.get(name))
    except ValueError as error:
        raise KeyFileError(f"{path}: {name}: {error}") from None
