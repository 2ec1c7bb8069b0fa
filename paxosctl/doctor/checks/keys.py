"""Keys: whether the node can use its own, whether it runs with what its file says, and whom nodes
take without one."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.config.schema import Config
from paxosd.core.status import SecurityStatus

UNUSABLE = Flaw(
    "keys.unusable",
    Severity.ERROR,
    "A file of keys is missing or damaged, is of another node or cluster, others may read it, or "
    "the node may not: it does not start.",
    "correct the file, chmod 0600 it, and make it the node's user's; a new one: paxosd keygen",
)
UNSEEN = Flaw(
    "keys.unseen",
    Severity.WARNING,
    "It cannot be seen from here which keys the node has: this user may not read their files, or "
    "the service hands them over (LoadCredential=), and cannot be looked at.",
    "ask as root, while the node runs",
)
DIFFERENT = Flaw(
    "keys.different",
    Severity.WARNING,
    "The node runs with another key, or another security.rollout, than its files have now: they "
    "take hold at its next start.",
    "if that is meant, as with paxosctl auth rotate: restart NODE; else correct the file",
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
DONE = "done"


def _look(evidence: Evidence) -> Iterator[Finding]:
    config, own = evidence.config, evidence.own_status
    running = own.security if own is not None else None
    if config is not None:
        yield from _of_files(evidence, config, running)
    for status in evidence.statuses:
        if status.security is None:
            continue
        if status.security.warning:
            yield OPEN.at(status.node, status.security.warning)
        if status.security.rollout not in ("", DONE):
            rollout = status.security.rollout
            yield ROLLOUT.at(status.node, f"it runs with security.rollout = {rollout}")


def _of_files(
    evidence: Evidence, config: Config, running: SecurityStatus | None
) -> Iterator[Finding]:
    """What the files say. ``running``: what the node says; None: it does not run, or is an old
    version's."""
    machine, node, security = evidence.machine, evidence.own_name, config.security
    files = machine.keys if machine is not None else None
    for problem in files.problems if files is not None else ():
        yield UNUSABLE.at(node, problem)
    if running is None:
        if evidence.keys_unseen:
            yield UNSEEN.at(node, evidence.keys_unseen)
        for name in files.hidden if files is not None else ():
            yield UNSEEN.at(node, f"{name}: this user may not read it")
        if security.insecure and security.takes_everybody and not evidence.keys_unseen:
            yield OPEN.at(node, "security.insecure = true: it takes whoever reaches its ports")
        if security.key_file and security.rollout != DONE:
            yield ROLLOUT.at(node, f"security.rollout = {security.rollout}")
    elif not evidence.keys_unseen:
        key = files.public_key if files is not None else ""
        for words in _differences(config, key, running):
            yield DIFFERENT.at(node, words)


def _differences(config: Config, key: str, running: SecurityStatus) -> Iterator[str]:
    """``key``: the public one of the file, "": not known."""
    security = config.security
    if bool(security.key_file) != bool(running.key):
        has, says = ("a key", "none") if running.key else ("no key", f"{security.key_file}")
        yield f"it runs with {has}, and its configuration names {says}"
    elif key and key != running.key:
        yield f"it runs with the key {running.key}, and {security.key_file} has {key}"
    elif running.key and security.rollout != running.rollout:
        yield f"it runs with rollout {running.rollout}, and its file has {security.rollout}"


CHECK = Check(
    "keys",
    "The files of keys of the node, what it runs with, and which nodes take whom without a key.",
    Needs.EITHER,
    (UNUSABLE, UNSEEN, DIFFERENT, OPEN, ROLLOUT),
    _look,
)
