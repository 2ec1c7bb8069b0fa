"""The key of a node and the keys that it trusts, from its files (``[security]``, docs/SECURITY.md).

Read once, at the start: what is replicated comes on top of it (``replica/authority.py``). A secret
key stays in the object that the sockets are made with, and is in no log, status, trace or bundle.
"""

from pathlib import Path
from typing import NamedTuple

from paxosd.bus.curve import DONE, NodeKeys
from paxosd.config.schema import Config
from paxosd.core.rights import RightsTable
from paxosd.core.state.machine import Machine
from paxosd.core.status import SecurityStatus
from paxosd.host.log import Log
from paxosd.net.endpoints import OPEN_WORDS, is_loopback
from paxosd.net.key_files import (
    KeyFile,
    KeyFileError,
    TrustFile,
    key_text,
    read_key_file,
    read_trust_file,
)
from paxosd.replica.authority import Authority


class Security(NamedTuple):
    """``key``: None: the node has none, and whoever reaches it may do everything."""

    key: KeyFile | None
    trust: TrustFile
    authority: Authority

    def keys(self, rollout: str) -> NodeKeys | None:
        """For the sockets; None: they take everybody."""
        if self.key is None:
            return None
        return NodeKeys(self.key.public_key, self.key.secret_key, self.authority, rollout)

    def use(self, machine: Machine) -> None:
        """What the log says of rights is known, before anybody is let in."""
        self.authority.use(machine.rights)


def read_security(config: Config) -> Security:
    """Read both files. Raises KeyFileError: one cannot be used, or is not this node's."""
    settings = config.security
    if not settings.key_file:
        return Security(None, TrustFile(), Authority())
    key = read_key_file(Path(settings.key_file))
    trust = read_trust_file(Path(settings.trust_file))
    node, cluster = config.node.name, config.cluster.id
    if (key.role, key.name) != ("peer", node):
        raise KeyFileError(
            f"{settings.key_file}: this is the key of {key.name} ({key.role}), and this node needs "
            f"one of {node} (peer): paxosd keygen --name {node} --cluster {cluster} -o FILE"
        )
    if key.cluster != cluster:
        raise KeyFileError(
            f'{settings.key_file}: this key is for the cluster "{key.cluster}", and this node is '
            f'of "{cluster}"'
        )
    # In its own trust file there may still be the key that it had before.
    trust = trust._replace(peers={**trust.peers, node: key.public_key})
    return Security(key, trust, Authority(trust.peers, trust.admins))


def check_rights(config: Config, rights: RightsTable) -> None:
    """Raises KeyFileError if rights are required, as far as this node's log says, and its sockets
    take everybody: who has no right to read would get all that it publishes and sends to peers."""
    if rights.required and config.security.takes_everybody:
        why = (
            'its security.rollout is "ready"'
            if config.security.key_file
            else "it has no security.key_file"
        )
        raise KeyFileError(
            f"rights are required in this cluster, and {config.node.name} would take whoever "
            f"reaches its ports, without a key: {why}. Give it a key and the trust file, with "
            'security.rollout = "listening" or "done" (docs/SECURITY.md); or have an admin lift '
            "the rights first: paxosctl auth require off"
        )


def security_status(config: Config, security: Security) -> SecurityStatus:
    """What a status says of it."""
    key = security.key
    return SecurityStatus(
        key="" if key is None else key_text(key.public_key),
        rollout="" if key is None else config.security.rollout,
        warning=open_words(config) or _unguarded_words(config, security),
    )


def _unguarded_words(config: Config, security: Security) -> str:
    """That rights are required, and do not hold for whoever reaches this node's ports; "": they
    do, or are not required."""
    if not (config.security.takes_everybody and security.authority.table.required):
        return ""
    return (
        "rights are required, and do not hold here: whoever reaches the peer or the events port "
        'needs no key. Give the node one, with security.rollout = "listening" or "done"'
    )


def open_words(config: Config) -> str:
    """That other machines reach this node's sockets and need no key for it; "": they do not."""
    if not config.security.takes_everybody:
        return ""
    bind = config.bind_endpoints()
    for kind in ("client", "peer", "events"):
        endpoint = getattr(bind, kind)
        host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
        if host != "localhost" and not is_loopback(host):
            return f"{endpoint} may be reached from other machines; {OPEN_WORDS}"
    return ""


def log_security(config: Config, security: Security, log: Log) -> None:
    """What holds, at the start: which key, or that there is none where one is needed."""
    if security.key is not None:
        rollout, key = config.security.rollout, key_text(security.key.public_key)
        log.info("security.keys", key=key, rollout=rollout, peers=sorted(security.trust.peers))
    if words := open_words(config):
        log.warning("security.open", detail=words)
    elif security.key is not None and config.security.rollout != DONE:
        log.warning("security.rollout", rollout=config.security.rollout)
