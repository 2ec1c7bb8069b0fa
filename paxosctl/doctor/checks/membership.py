"""The members in the nodes' files, against the membership that the log holds."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.config import file_members
from paxosd.host.wording import listed

CLUSTER = Flaw(
    "membership.cluster",
    Severity.ERROR,
    "Nodes of different clusters answer: at the endpoints, or by the id in the configuration.",
    "correct cluster.id, or the endpoints; a node of another cluster is never heard",
)
FOUNDING = Flaw(
    "membership.founding",
    Severity.ERROR,
    "Nodes with the same cluster id come from different foundings: they are two clusters.",
    "keep one of them: stop the others, and let their machines join with empty directories: "
    "paxosctl member add NAME",
)
STRANGER = Flaw(
    "membership.stranger",
    Severity.ERROR,
    "The node of this configuration is no member of the cluster.",
    "make it one: paxosctl member add NODE, with node.join = true in its file; or correct "
    "node.name",
)
FILE = Flaw(
    "membership.file",
    Severity.WARNING,
    "A file names other members, or other addresses, than the membership, which counts. After a "
    "loss of all members that it knows, the node would find nobody.",
    "write the members of the cluster into the file of NODE: paxosctl member config NODE",
)
LIMITS = Flaw(
    "membership.limits",
    Severity.WARNING,
    "Limits in the files do not fit together, or differ from the replicated settings, which count.",
    "set the limits alike in all files; the replicated ones: paxosctl cluster show",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    clusters: dict[str, list[str]] = {}
    for status in evidence.statuses:
        clusters.setdefault(status.cluster, []).append(status.node)
    config, own = evidence.config, evidence.own_name
    if config is not None and evidence.own_status is None:
        clusters.setdefault(config.cluster.id, []).append(f"the file of {own}")
    if len(clusters) > 1:
        words = "; ".join(f"{each}: {listed(names)}" for each, names in sorted(clusters.items()))
        yield CLUSTER.at("", f"these belong to different clusters: {words}")
        return  # then nothing else can be compared
    yield from _foundings(evidence)
    yield from _files(evidence)
    yield from _limits(evidence)


def _foundings(evidence: Evidence) -> Iterator[Finding]:
    found: dict[str, list[str]] = {}
    for status in evidence.statuses:
        if status.genesis:
            found.setdefault(status.genesis, []).append(status.node)
    if len(found) > 1:
        words = "; ".join(f"{listed(names)}: {each}" for each, names in found.items())
        yield FOUNDING.at("", f"these come from different foundings: {words}")


def _files(evidence: Evidence) -> Iterator[Finding]:
    """By the word of running nodes; of the node of this configuration also before it runs."""
    for status in evidence.statuses:
        for line in file_members.words(status.members_differ):
            yield FILE.at(status.node, f"its file differs from the membership: {line}")
    config, own, membership = evidence.config, evidence.own_name, evidence.membership
    if config is None or evidence.own_status is not None or not membership.members:
        return
    if own not in membership.members:
        gone = " any more" if own in membership.departed else ""
        if not (config.node.join and evidence.is_new):
            yield STRANGER.at(own, f"{own} is no member{gone}: the members are "
                              f"{listed(membership.members)}")  # fmt: skip
        return
    file = file_members.of_file(config)
    differing = file_members.differences(file, membership, joins=config.node.join)
    for line in file_members.words(differing):
        yield FILE.at(own, f"its file differs from the membership: {line}")


def _limits(evidence: Evidence) -> Iterator[Finding]:
    seen = set()
    for status in evidence.statuses:
        for misfit in status.limits_differ:
            pair = frozenset({(misfit.member, misfit.key), (status.node, misfit.own_key)})
            if pair not in seen:
                seen.add(pair)
                mine = f"{misfit.member} has {misfit.key} = {misfit.value}"
                other = f"{status.node} has {misfit.own_key} = {misfit.own}"
                yield LIMITS.at(misfit.member, f"{mine}, and {other}")
        for cut in status.frames_cut:
            yield LIMITS.at(cut.member, f"{cut.member} ends its connection to {status.node} over "
                            f"frames of {cut.frame_bytes} bytes: its limits.message_bytes_max is "
                            "smaller")  # fmt: skip
        settings = status.settings
        for key, value in status.file_settings.items() if settings and settings.level else ():
            if value != getattr(settings, key, value):
                yield LIMITS.at(status.node, f"its file has limits.{key} = {value}; the cluster "
                                f"has {getattr(settings, key)}, which counts")  # fmt: skip


CHECK = Check(
    "membership",
    "Cluster id, founding, members, addresses and limits of every node's file, against each other "
    "and against what the log holds.",
    Needs.ANSWER,
    (CLUSTER, FOUNDING, STRANGER, FILE, LIMITS),
    _look,
)
