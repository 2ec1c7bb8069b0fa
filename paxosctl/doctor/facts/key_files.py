"""The files of keys of a node: whether it can use them."""

import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

from paxosctl.doctor.facts.service import DIRECTORY
from paxosctl.doctor.machine import UNKNOWN, KeyFiles
from paxosd.config.schema import Config
from paxosd.daemon.security import read_security
from paxosd.net.key_files import (
    KeyFile,
    KeyFileError,
    ServerKey,
    key_text,
    read_key_file,
    read_trust_file,
)


def look_at(config: Config, owner: int) -> KeyFiles:
    """``owner``: the number of the user that the node runs as; UNKNOWN: not known. A file that
    others may read counts, too: the node refuses it."""
    security, problems, hidden = config.security, [], []
    own_key = ""
    reads: tuple[tuple[str, Callable[[Path], object]], ...] = (
        (security.key_file, read_key_file),
        (security.trust_file, read_trust_file),
    )
    for name, read in reads:
        try:
            if name and not _readable(Path(name)):
                hidden.append(name)
            elif name:
                read(Path(name))
                problems += _of_owner(config, Path(name), owner)
        except KeyFileError as error:
            problems.append(str(error))
    if security.key_file and not problems and not hidden:
        try:
            found = read_security(config).key
            own_key = "" if found is None else key_text(found.public_key)
        except KeyFileError as error:
            problems.append(str(error))
    return KeyFiles(public_key=own_key, problems=tuple(problems), hidden=tuple(hidden))


def key_of_node(config: Config) -> KeyFile | None:
    """The node's own key, to ask the members with: they prove who they are by the keys of the trust
    file. None: it has none, or this user may not read it."""
    try:
        found = read_security(config)
    except KeyFileError:
        return None
    if found.key is None:
        return None
    members, peers = config.cluster.members, found.trust.peers
    known = peers.keys() & members.keys()
    servers = {name: ServerKey(members[name].client, peers[name]) for name in sorted(known)}
    return found.key._replace(servers=servers)


def _readable(path: Path) -> bool:
    """Whether this user may read it, or see that it is not there."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return os.access(path, os.R_OK)


def _of_owner(config: Config, path: Path, owner: int) -> list[str]:
    """That the user of the node may not read a file. What the service hands over, it may."""
    source = config.sources.get("security.key_file", "")
    if DIRECTORY in source or source.startswith("--set"):
        return []
    found = path.stat()
    if owner in (UNKNOWN, 0, found.st_uid) or stat.S_IMODE(found.st_mode) & 0o077:
        return []
    return [f"{path}: it is {_user(found.st_uid)}'s alone, and the node is {_user(owner)}'s"]


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
