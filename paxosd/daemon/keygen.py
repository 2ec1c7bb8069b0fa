"""``paxosd keygen``: a key for a node, or for the first admin, and its public half into a trust
file.

Keys of everybody else are made with ``paxosctl auth``, which enters them in the log.
"""

import re
from pathlib import Path

from paxosd.config.schema import NAME_ALLOWED, NAME_PATTERN, Config
from paxosd.net.key_files import (
    KeyFile,
    KeyFileError,
    ServerKey,
    TrustFile,
    key_file_text,
    key_text,
    make_key,
    read_trust_file,
    trust_file_text,
    write_secret,
)

TRUST_MODE = 0o644
SECTIONS = {"peer": "peers", "admin": "admins"}
"""Role → the section of a trust file."""


def keygen(
    name: str, role: str, cluster: str, output: Path, trust: Path | None, config: Config | None
) -> str:
    """Make a key, write it to ``output`` and enter its public half in ``trust``; what to say.
    ``config``: of a node of the cluster, for the ``[servers]`` of an admin's key. Raises
    KeyFileError; then no file was changed."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise KeyFileError(f'--name: "{name}" is not allowed: {NAME_ALLOWED}')
    known = read_trust_file(trust) if trust is not None and trust.exists() else TrustFile()
    section = SECTIONS[role]
    if name in getattr(known, section):
        raise KeyFileError(f"{trust}: [{section}] has a key of {name} already; take that out first")
    servers = servers_of(config, known) if config is not None and role == "admin" else {}
    key = make_key(name, role, cluster, servers)
    write_key(output, key)
    lines = [f"{output}: the key of {name} ({role}); whoever can read it can act as {name}"]
    if trust is not None:
        trusted = known._replace(**{section: {**getattr(known, section), name: key.public_key}})
        try:
            write_trust(trust, trusted)
        except BaseException:
            output.unlink()  # nobody trusts it, and the next try would find it in its way
            raise
        lines.append(f"{trust}: [{section}] has its public key; every node needs it there")
    else:
        lines.append(f"for [{section}] of every node's trust file:")
    lines.append(f'  {name} = "{key_text(key.public_key)}"')
    if role == "admin" and not servers:
        lines.append(
            "it does not say where the nodes are, and by which keys they are known: paxosctl can "
            "use it once they are entered in [servers]; --config FILE of a node does that"
        )
    return "\n".join(lines)


def servers_of(config: Config, trust: TrustFile) -> dict[str, ServerKey]:
    """What a client expects of each member: its client endpoint, and its key in the trust file.
    Raises KeyFileError if a key is not there."""
    missing = sorted(config.cluster.members.keys() - trust.peers.keys())
    if missing:
        raise KeyFileError(
            f"the trust file has no key of {', '.join(missing)}: make the keys of the nodes first, "
            "with the same --trust"
        )
    return {
        name: ServerKey(member.client, trust.peers[name])
        for name, member in config.cluster.members.items()
    }


def write_key(path: Path, key: KeyFile) -> None:
    """Write a key file that its owner alone can read. Raises KeyFileError; also if there is a
    file: a key that is overwritten is gone."""
    try:
        write_secret(path, key_file_text(key))
    except FileExistsError:
        raise KeyFileError(f"{path}: there is such a file; a key is never overwritten") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None


def write_trust(path: Path, trust: TrustFile) -> None:
    """Write a trust file, as a whole or not at all. Raises KeyFileError."""
    try:
        write_secret(path, trust_file_text(trust), replace=True, mode=TRUST_MODE)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from None
