"""``paxosd init``: found a cluster of one node, by a command that leaves nothing in the
configuration.

Only the data directory records it. If the same configuration is started later with an empty
directory, the node waits and says why: perhaps its data was lost, and other members go on. A node
that has waited like this may be founded, too, as long as it has learned nothing from others.
"""

from paxosd.config.schema import Config
from paxosd.config.settings import ConfigError
from paxosd.core.types import NULL_BALLOT
from paxosd.daemon.startup import founding_settings
from paxosd.storage import identity, peer_runs
from paxosd.storage.datadir import DataDir
from paxosd.storage.wal import WalOptions
from paxosd.storage.wal_open import open_wal


def init_alone(config: Config) -> str:
    """Make the data directory, if it is not there, and write the founding record into it; what was
    done, for people. Raises ConfigError, DataDirLocked, IdentityError, PermissionError,
    StorageError."""
    others = sorted(set(config.cluster.members) - {config.node.name})
    if others:
        raise ConfigError(
            [
                f"cluster.members: names {', '.join(others)} besides {config.node.name}. Such a "
                "cluster needs no init: start all its nodes, each with an empty data directory"
            ]
        )
    if config.node.join or not config.me.voter:
        raise ConfigError(["node.join, voter: a node that only joins or learns founds no cluster"])
    with DataDir.open(config.node.data_dir, config.cluster.id, config.node.name) as directory:
        if identity.read_genesis(directory.home) is not None:
            return f"{directory.path}: the cluster {config.cluster.id} is founded already"
        claim = directory.node_directory.claim()
        identity.uncount(directory.home, claim)
        past = "it is known to have lost its memory" if claim.lost else _past(directory, config)
        if past:
            raise ConfigError(
                [
                    f"node.data_dir: {directory.path} is not that of a new node: {past}. Let it "
                    f"rejoin its cluster (paxosctl member rejoin {config.node.name}), or found "
                    "another one in an empty directory"
                ]
            )
        record = identity.found_alone(
            directory.home,
            config.cluster.id,
            config.node.name,
            claim.directory_id,
            founding_settings(config).to_command().decode(),
        )
    return (
        f"{directory.path}: founded the cluster {config.cluster.id} of {config.node.name} alone "
        f"(record {record.hash:016x}); now start it: paxosd --config FILE"
    )


def _past(directory: DataDir, config: Config) -> str:
    """What shows that the directory was used before; "" if nothing does: a node that waits has an
    empty log."""
    home = directory.home
    if home.exists(peer_runs.FILE):
        return "it has heard from other members"
    if not identity.log_created(home):
        return ""
    if any(name.startswith("snap-") for name in directory.disk.list()):
        return "it holds a snapshot"
    wal, found = open_wal(
        directory.disk,
        cluster_id=config.cluster.id,
        node_id=config.node.name,
        options=WalOptions(segment_bytes=config.wal.segment_bytes),
        create=False,
    )
    wal.close()
    is_empty = found.promised == NULL_BALLOT and not found.commit and not found.accepted
    return "" if is_empty else "its log holds what it promised or learned"
