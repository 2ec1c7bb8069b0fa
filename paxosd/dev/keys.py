"""The keys of a trial cluster: ``paxosd dev --keys``.

DIR/n1.key        the key of a node, and so on        DIR/paxosd.trust   whom all of them trust
DIR/admin.key     the key of the first admin: paxosctl --key-file DIR/admin.key
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from paxosd.config.schema import MemberConfig
from paxosd.daemon.keygen import write_key, write_trust
from paxosd.net.key_files import KeyFileError, ServerKey, TrustFile, make_key, read_key_file

TRUST, ADMIN = "paxosd.trust", "admin.key"
ADMIN_NAME = "admin"
CLUSTER_PREFIX = "dev-"
"""What the ids of these clusters begin with."""


def make_keys(directory: Path, members: Mapping[str, MemberConfig], cluster: str) -> None:
    """Write the keys of a new cluster. Raises KeyFileError."""
    keys = {name: make_key(name, "peer", cluster) for name in members}
    servers = {
        name: ServerKey(member.client, keys[name].public_key) for name, member in members.items()
    }
    admin = make_key(ADMIN_NAME, "admin", cluster, servers)
    for name, key in keys.items():
        write_key(directory / f"{name}.key", key)
    write_key(directory / ADMIN, admin)
    peers = {name: key.public_key for name, key in keys.items()}
    write_trust(directory / TRUST, TrustFile(peers, {ADMIN_NAME: admin.public_key}))


def clear(directory: Path) -> None:
    """Remove what a first start has left that ended before it wrote a configuration: keys that are
    nobody's, for the id of their cluster is in no file. Anything else stays, and is in the way."""
    if any(path.is_dir() for path in directory.glob("n[1-9]")):
        return  # nodes have run here
    left = [*directory.glob(".*.key.*.tmp"), *directory.glob(f".{TRUST}.*.tmp")]
    for path in [*directory.glob("n[1-9].key"), directory / ADMIN]:
        with suppress(KeyFileError):
            if read_key_file(path).cluster.startswith(CLUSTER_PREFIX):
                left.append(path)
    for path in left:
        path.unlink(missing_ok=True)


def security_values(directory: Path, name: str) -> dict[str, str]:
    """[security] of a node's configuration; empty if the cluster has no keys."""
    if not (directory / f"{name}.key").exists():
        return {}
    return {"key_file": f"{name}.key", "trust_file": TRUST}
