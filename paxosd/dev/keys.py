"""The keys of a trial cluster: ``paxosd dev --keys``.

DIR/n1.key        the key of a node, and so on        DIR/paxosd.trust   whom all of them trust
DIR/admin.key     the key of the first admin: paxosctl --key-file DIR/admin.key
"""

from collections.abc import Mapping
from pathlib import Path

from paxosd.config.schema import MemberConfig
from paxosd.daemon.keygen import write_key, write_trust
from paxosd.net.key_files import ServerKey, TrustFile, make_key

TRUST, ADMIN = "paxosd.trust", "admin.key"
ADMIN_NAME = "admin"


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


def security_values(directory: Path, name: str) -> dict[str, str]:
    """[security] of a node's configuration; empty if the cluster has no keys."""
    if not (directory / f"{name}.key").exists():
        return {}
    return {"key_file": f"{name}.key", "trust_file": TRUST}
