"""The kind of the file system that holds the data directory."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity

MEMORY_KINDS = frozenset({"tmpfs", "ramfs"})
LAYERED_KINDS = frozenset({"overlay", "aufs", "unionfs"})
NETWORK_KINDS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "virtiofs"}
)

MEMORY = Flaw(
    "file-system.memory",
    Severity.WARNING,
    "The data directory is in memory: after a restart of the machine the node has forgotten what "
    "it promised.",
    "move node.data_dir to a disk, unless this is a trial",
)
LAYERED = Flaw(
    "file-system.layered",
    Severity.WARNING,
    "The data directory is in the layer of a container, and goes with the container.",
    "mount a volume, and set node.data_dir to a directory of it",
)
NETWORK = Flaw(
    "file-system.network",
    Severity.WARNING,
    "The data directory is on another machine: its locks and its fsync promise less, and a break "
    "of the network stops the node.",
    "move node.data_dir to a disk of this machine",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    if evidence.machine is None:
        return
    found = evidence.machine.file_system
    kind = found.kind.removeprefix("fuse.")
    for flaw, kinds in ((MEMORY, MEMORY_KINDS), (LAYERED, LAYERED_KINDS), (NETWORK, NETWORK_KINDS)):
        is_of_users = flaw is NETWORK and found.kind.startswith("fuse")
        if kind in kinds or is_of_users:
            path = evidence.machine.directory.path
            yield flaw.at(evidence.own_name, f"{path} is on {found.kind}, mounted at {found.mount}")


CHECK = Check(
    "file-system",
    "On what kind of file system the data directory is: in memory, in a container's layer, on a "
    "network or in a process of its own (FUSE).",
    Needs.CONFIG,
    (MEMORY, LAYERED, NETWORK),
    _look,
)
