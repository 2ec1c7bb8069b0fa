"""The verbs of ``paxosctl``: in which module each is, and what the list of them says of it.

A verb's module is imported when the verb is used, so that a short command, and the list of all
verbs, start fast. Each summary is the first sentence of the verb's own help; a test compares them.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Verb(NamedTuple):
    """``module``: of paxosctl.commands; it has the verb as ``NAME_verb``."""

    module: str
    summary: str


VERBS = {
    "put": Verb("kv", 'Set KEY to VALUE; "-" reads the value from standard input, byte for byte.'),
    "get": Verb("kv", "Show the value of KEY."),
    "delete": Verb("kv", "Remove KEY."),
    "cas": Verb("kv", "Compare and set: KEY becomes NEW if it is as expected."),
    "incr": Verb("txn", "Add to the number that KEY holds, exactly once; no such key counts as 0."),
    "txn": Verb(
        "txn",
        "Compare, then do one list of operations or another: at once, in one revision.",
    ),
    "outcome": Verb(
        "kv",
        "Show what became of command SEQ of SESSION; a call that timed out prints both numbers.",
    ),
    "export": Verb(
        "copies",
        "Write keys and values as JSON lines, any bytes, to be read by import or by "
        "other programs.",
    ),
    "import": Verb(
        "copies",
        'Write the keys and values in FILE, JSON lines as export makes them; "-": standard input.',
    ),
    "watch": Verb("watch", "Show each change of KEY as it happens, until Ctrl-C."),
    "lease": Verb(
        "lease",
        "Leases: keys that are put with one (`put --lease`) go when nobody has renewed "
        "it for its TTL.",
    ),
    "lock": Verb("lock", "Hold the lock NAME while CMD runs, or until Ctrl-C."),
    "elect": Verb(
        "lock",
        "Stand for election NAME with VALUE, and lead while CMD runs or until Ctrl-C, "
        "as `lock` does.",
    ),
    "status": Verb("cluster", "Show what a node knows about itself and its peers."),
    "health": Verb("cluster", "Make a write that leaves no data: exit code 0 only if it commits."),
    "leader": Verb("cluster", "Print the name and client endpoint of the leader."),
    "hash": Verb("cluster", "Compare the state of all members, as of one slot."),
    "top": Verb(
        "top",
        "Watch the cluster live: roles, slots, speed, faults, events.",
    ),
    "doctor": Verb(
        "doctor",
        "Find what is wrong here and in the cluster, and the remedies.",
    ),
    "auth": Verb("auth", "Keys, and who may do what with them."),
    "member": Verb(
        "member",
        "The members of the cluster: voters, and learners, which follow without a vote.",
    ),
    "cluster": Verb(
        "cluster_settings",
        "The settings that are equal on all nodes, because the replicated log holds them.",
    ),
    "node": Verb("node", "Change a single node: how much it logs."),
    "fault": Verb("fault", "Failures on purpose: of messages, links, disks, clocks and nodes."),
    "snapshot": Verb("snapshot", "Snapshots of the whole state: data, revisions, sessions."),
    "backup": Verb(
        "backup",
        "Backups: verified snapshots of a running cluster in a directory, only so many of them.",
    ),
    "shell": Verb(
        "shell",
        "Type verbs without `paxosctl`, one after another, on one connection; or run a script of "
        "them.",
    ),
    "context": Verb(
        "context", "Clusters by names of your own: endpoints, and the file of your key."
    ),
    "man": Verb(
        "man",
        "Show the manual page of VERB (paxosd and paxosd.toml have pages, too), or write all of "
        "them.",
    ),
    "completion": Verb("completion", "Print the script with which SHELL completes commands."),
    "bench": Verb("bench", "Load generators."),
    "check": Verb("check", "Checks of a cluster as a whole, or of what it did, with a verdict."),
    "log": Verb("log", "What happened in a cluster, from recordings and logs of its nodes."),
    "explain": Verb(
        "explain",
        "Why something happened, in sentences; each names the events that prove it.",
    ),
    "why-slow": Verb("why_slow", "Where the time of requests goes, by stage and by node."),
    "blame": Verb(
        "blame",
        "Who changed a key: revision, slot, ballot, leader, time, session, client and "
        "principal of each change.",
    ),
    "audit": Verb("audit", "Check the rules of Paxos on what nodes recorded and on their logs."),
    "trace": Verb(
        "trace",
        "All that went into a node, recorded, and the same node executed again on it.",
    ),
    "debug": Verb("debug", "What to send to somebody who is to find out what happened."),
    "sim": Verb(
        "sim",
        "The protocol in a simulator, from a seed: the very node code of the daemon, no cluster.",
    ),
}

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Keys and values": (
        "put", "get", "delete", "cas", "incr", "txn", "outcome", "watch", "export", "import",
    ),
    "Locks, elections, and keys that go by themselves": ("lock", "elect", "lease"),
    "Look at a cluster": ("status", "health", "leader", "hash", "top", "doctor"),
    "Change a cluster": ("member", "cluster", "auth", "node", "snapshot", "backup"),
    "What happened, and why": (
        "log", "explain", "why-slow", "blame", "audit", "trace", "debug",
    ),
    "Load it, break it, check it, simulate it": ("bench", "fault", "check", "sim"),
    "This program": ("shell", "context", "man", "completion"),
}  # fmt: skip
"""How the list of all verbs is divided for people."""
