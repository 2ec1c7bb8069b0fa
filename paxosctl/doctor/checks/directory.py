"""The data directory of the node."""

import stat
from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity

UNUSABLE = Flaw(
    "directory.unusable",
    Severity.ERROR,
    "The user who asks cannot use the data directory, so a node started by this user would not "
    "start.",
    "ask as the user of the node, or change the owner of PATH, or node.data_dir",
)
HIDDEN = Flaw(
    "directory.hidden",
    Severity.WARNING,
    "The user who asks may not look into the data directory, so that nothing in it was looked at.",
    "ask as the user of the node: sudo -u paxosd paxosctl doctor --config FILE",
)
FOREIGN = Flaw(
    "directory.foreign",
    Severity.ERROR,
    "The data directory belongs to another node or to another cluster, and the node refuses it.",
    "give the node its own directory (node.data_dir), or correct node.name and cluster.id",
)
DAMAGED = Flaw(
    "directory.damaged",
    Severity.ERROR,
    "The file that says whose directory it is, is gone or damaged.",
    "put that very file back; if it cannot be found, move PATH away, start the node with an empty "
    "directory, and then: paxosctl member rejoin NODE",
)
OPEN = Flaw(
    "directory.open",
    Severity.WARNING,
    "Other users of the machine may look into the data directory, which holds all keys and values.",
    "chmod 0700 PATH",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    config, machine = evidence.config, evidence.machine
    if machine is None or config is None:
        return
    found, node, path = machine.directory, evidence.own_name, machine.directory.path
    if found.hidden:
        words = found.problem or "it was not looked at"
        yield HIDDEN.at(node, f"this user may not look into {path}: {words}",
                        file=evidence.config_path)  # fmt: skip
        return
    if found.problem:
        yield UNUSABLE.at(node, f"{path} is not usable: {found.problem}", path=path)
    if found.damage:
        yield DAMAGED.at(node, f"{path}: {found.damage}", path=path)
    elif found.was_used and (found.cluster, found.node) != (config.cluster.id, node):
        yield FOREIGN.at(node, f"{path} belongs to node {found.node} of cluster {found.cluster}, "
                         f"and this is node {node} of cluster {config.cluster.id}")  # fmt: skip
    if found.mode >= 0 and found.was_used and found.mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield OPEN.at(node, f"{path} has mode {found.mode:o}: others may look into it", path=path)


CHECK = Check(
    "directory",
    "Whether the data directory can be used, whose it is, and who may look into it.",
    Needs.CONFIG,
    (UNUSABLE, HIDDEN, FOREIGN, DAMAGED, OPEN),
    _look,
)
