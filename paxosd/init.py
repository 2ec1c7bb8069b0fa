"""``paxosd init``: found a cluster of one node, by an explicit act that leaves no trace in a file.

Only the data directory knows of it. Whoever starts the same configuration with an empty directory
later starts a node that waits, and says why: its data was lost, perhaps, and others go on.
"""

from paxosd import identity
from paxosd.config import Config, ConfigError
from paxosd.datadir import DataDir
from paxosd.startup import founding_settings


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
        if identity.log_created(directory.home):
            raise ConfigError(
                [f"node.data_dir: {directory.path} holds a log: this node is not a new one"]
            )
        claim = directory.node_directory.claim()
        record = identity.found_alone(
            directory.home,
            config.cluster.id,
            config.node.name,
            claim.directory,
            founding_settings(config).to_command().decode(),
        )
    return (
        f"{directory.path}: founded the cluster {config.cluster.id} of {config.node.name} alone "
        f"(record {record.hash:016x}); now start it: paxosd --config FILE"
    )
