"""Keys: whether the node can use its own, and whom it takes without one."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity

UNUSABLE = Flaw(
    "keys.unusable",
    Severity.ERROR,
    "A file of keys that the configuration names is missing or damaged, or others may read it: the "
    "node refuses it.",
    "correct the file, chmod 0600 it, and make it the node's user's; a new one: paxosd keygen",
)
OPEN = Flaw(
    "keys.open",
    Severity.WARNING,
    "The node takes whoever reaches its ports, without a key, and other machines may.",
    "give the nodes keys (docs/SECURITY.md), or keep strangers out with a firewall",
)
ROLLOUT = Flaw(
    "keys.rollout",
    Severity.WARNING,
    "The switch to keys has begun and is not done: connections without a key are still made or "
    "taken.",
    'go on with it (docs/SECURITY.md), until security.rollout = "done" on every node',
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    config, machine, node = evidence.config, evidence.machine, evidence.own_name
    assert config is not None
    for problem in machine.key_problems if machine is not None else ():
        yield UNUSABLE.at(node, problem)
    security = config.security
    if security.insecure and security.takes_everybody:
        yield OPEN.at(node, "security.insecure = true: it takes whoever reaches its ports")
    if security.key_file and security.rollout != "done":
        yield ROLLOUT.at(node, f"security.rollout = {security.rollout}: keys are not required yet")


CHECK = Check(
    "keys",
    "The files of keys that the configuration names, and who is taken without a key.",
    Needs.CONFIG,
    (UNUSABLE, OPEN, ROLLOUT),
    _look,
)
