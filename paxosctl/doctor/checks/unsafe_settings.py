"""Settings that are allowed, and that a cluster in production should not have."""

import stat
from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.config.http_address import HttpAddress

TRACE = Flaw(
    "settings.trace",
    Severity.WARNING,
    "All that goes into the node is recorded, every key and every value included.",
    "set trace.enabled = false, and remove trace/ in the data directory, unless it is wanted",
)
HTTP = Flaw(
    "settings.http",
    Severity.WARNING,
    "The metrics are readable from other machines: there are no keys, and nothing is encrypted.",
    "listen on 127.0.0.1 (http.listen) with a proxy before it, or allow only the monitor in the "
    "firewall",
)
COMPARE = Flaw(
    "settings.compare-wait",
    Severity.WARNING,
    "A disk that was put back to an earlier state may vote unnoticed while another node is down.",
    "leave protocol.compare_wait_ms at its default, 15000",
)
EVEN = Flaw(
    "settings.even-voters",
    Severity.WARNING,
    "An even number of voters survives no more failures than one voter less.",
    "add a voter, or give one of them voter = false",
)
DEBUG = Flaw(
    "settings.debug-log",
    Severity.WARNING,
    "Every message of the protocol is logged, which costs speed and room.",
    'set log.level = "info"; for a while: paxosctl node log-level debug --for 60s',
)
WRITABLE = Flaw(
    "settings.writable",
    Severity.WARNING,
    "Others may change the configuration file.",
    "chmod go-w FILE",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    config, node = evidence.config, evidence.own_name
    assert config is not None
    if config.trace.enabled:
        yield TRACE.at(node, "trace.enabled = true: every key and every value is recorded")
    if config.http.listen and not HttpAddress.parse(config.http.listen).is_loopback:
        yield HTTP.at(node, f"http.listen = {config.http.listen} is reached from other machines")
    if config.protocol.compare_wait_ms == 0:
        yield COMPARE.at(node, "protocol.compare_wait_ms = 0: after a start this node votes "
                         "before others have compared its memory")  # fmt: skip
    voters = sum(member.voter for member in config.cluster.members.values())
    if voters % 2 == 0 and voters and not config.node.join:
        yield EVEN.at(node, f"{voters} voters survive no more failures than {voters - 1}")
    if config.log.level == "debug":
        yield DEBUG.at(node, "log.level = debug: every message of the protocol is logged")
    mode = evidence.machine.config_mode if evidence.machine is not None else -1
    if mode >= 0 and mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield WRITABLE.at(node, f"{evidence.config_path} has mode {mode:o}: others may write it",
                          file=evidence.config_path)  # fmt: skip


CHECK = Check(
    "settings",
    "Settings that are allowed, and unsafe or costly in production, and who may write the file.",
    Needs.CONFIG,
    (TRACE, HTTP, COMPARE, EVEN, DEBUG, WRITABLE),
    _look,
)
