"""What ``paxosd dev`` keeps in its data directory, and on which ports its nodes listen.

    DIR/n1.toml   the node's configuration: `paxosd --config DIR/n1.toml` starts it by hand
    DIR/n1.log    its log, JSON lines          DIR/n1.err   what it wrote to standard error
    DIR/n1/       its data                     DIR/n2.toml  …
    DIR/n1.key    its key, with --keys (``keys.py``)

Node i (from 1) of base port P: clients P+10i, peers P+10i+1, events P+10i+2, on 127.0.0.1.

A configuration file that is there is never written again: people may edit it, and the members
of a cluster that has data must not change by a flag. So a second start takes the members from
the first file found, fills in files that are missing, and refuses --nodes or --base-port that
say otherwise.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paxosd.config.schema import Config, MemberConfig
from paxosd.config.settings import ConfigError
from paxosd.config.sources import load
from paxosd.dev.keys import CLUSTER_PREFIX, clear, make_keys, security_values
from paxosd.host import toml

NODES_DEFAULT = 3
BASE_PORT_DEFAULT = 7400
PORTS_PER_NODE = 10
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class DevNode:
    """One node's files and effective configuration."""

    name: str
    config_path: Path
    log_path: Path
    error_path: Path
    config: Config


@dataclass(frozen=True, slots=True)
class DevCluster:
    """``fresh``: nothing was there before."""

    directory: Path
    nodes: tuple[DevNode, ...]
    fresh: bool


def members_at(base_port: int, nodes: int) -> dict[str, MemberConfig]:
    """The port scheme. Raises ConfigError if it does not fit below port 65536."""
    last = base_port + PORTS_PER_NODE * nodes + 2
    if last > 65_535:
        raise ConfigError([f"--base-port {base_port}: node n{nodes} would need port {last}"])
    members = {}
    for index in range(1, nodes + 1):
        port = base_port + PORTS_PER_NODE * index
        members[f"n{index}"] = MemberConfig(
            client=f"tcp://{HOST}:{port}",
            peer=f"tcp://{HOST}:{port + 1}",
            events=f"tcp://{HOST}:{port + 2}",
        )
    return members


def prepare(
    directory: Path, nodes: int | None, base_port: int | None, *, keys: bool = False
) -> DevCluster:
    """Make the directory and the files that are missing, and load every node's configuration.
    ``keys``: with keys, for a new cluster.

    Raises ConfigError or KeyFileError if what is there is wrong or contradicts a flag,
    PermissionError if the directory cannot be used.
    """
    directory = directory.absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = sorted(directory.glob("n[1-9].toml"))
    except PermissionError as error:
        raise PermissionError(f"{directory}: this user may not use it: {error}") from None
    except OSError as error:
        raise ConfigError([f"--data-dir {directory}: {error.strerror}"]) from None
    if found:
        first = _load(found[0])
        members, cluster_id = first.cluster.members, first.cluster.id
        _check_flags(found[0], members, nodes, base_port)
        if keys and not first.security.key_file:
            raise ConfigError(
                [f"--keys: the cluster of {found[0]} was made without; take another --data-dir"]
            )
    else:
        members = members_at(base_port or BASE_PORT_DEFAULT, nodes or NODES_DEFAULT)
        cluster_id = CLUSTER_PREFIX + os.urandom(4).hex()
        clear(directory)
        if keys:
            make_keys(directory, members, cluster_id)
    _write_missing(directory, members, cluster_id)
    loaded = tuple(_node(directory, name) for name in members)
    for node in loaded:
        _check_same(loaded[0], node)
    return DevCluster(directory, loaded, not found)


def node_toml(
    name: str,
    members: Mapping[str, MemberConfig],
    cluster_id: str,
    security: Mapping[str, str] | None = None,
) -> str:
    """The text of one node's configuration file. ``security``: where its keys are."""
    tables = [
        "# Written by `paxosd dev`, which keeps this file as it is from now on: edit it freely.\n"
        "# Every key is explained in conf/paxosd.toml.\n",
        toml.table("node", values={"name": name, "data_dir": name}),
        toml.table("log", values={"file": f"{name}.log", "format": "json"}),
        toml.table("faults", values={"enabled": True}),
        *([toml.table("security", values=security)] if security else []),
        toml.table("cluster", values={"id": cluster_id}),
    ]
    for member, endpoints in members.items():
        values = {kind: getattr(endpoints, kind) for kind in ("client", "peer", "events")}
        tables.append(toml.table("cluster", "members", member, values=values))
    return "\n".join(tables)


def _load(path: Path) -> Config:
    return load(path, environ={})  # PAXOSD_* variables of the terminal are for single nodes


def _node(directory: Path, name: str) -> DevNode:
    path = directory / f"{name}.toml"
    config = _load(path)
    if config.node.name != name:
        raise ConfigError([f'{path}: node.name is "{config.node.name}", not "{name}"'])
    log_path = Path(config.log.file) if config.log.file else directory / f"{name}.err"
    return DevNode(name, path, log_path, directory / f"{name}.err", config)


def _write_missing(directory: Path, members: Mapping[str, MemberConfig], cluster_id: str) -> None:
    for name in members:
        path = directory / f"{name}.toml"
        if not path.exists():
            unfinished = path.with_suffix(".toml.new")
            text = node_toml(name, members, cluster_id, security_values(directory, name))
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(path)


def _check_flags(
    path: Path, members: Mapping[str, MemberConfig], nodes: int | None, base_port: int | None
) -> None:
    if nodes is not None and nodes != len(members):
        why = (
            f"--nodes {nodes}: {path} already names {len(members)} members, and who is a member "
            "cannot be changed by a flag; leave --nodes out"
        )
    elif base_port is not None and members != members_at(base_port, len(members)):
        why = f"--base-port {base_port}: {path} already names other ports; leave --base-port out"
    else:
        return
    raise ConfigError([f"{why}, or take another --data-dir"])


def _check_same(first: DevNode, node: DevNode) -> None:
    if node.config.cluster != first.config.cluster:
        words = f"{node.config_path}: [cluster] differs from that in {first.config_path}; "
        raise ConfigError([words + "it must be the same in every node's file"])
