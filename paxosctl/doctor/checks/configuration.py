"""Whether the daemon would take the configuration."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity

INVALID = Flaw(
    "config.invalid",
    Severity.ERROR,
    "The daemon does not start with this configuration: an unknown or missing setting, a value "
    "out of bounds, values that do not fit together.",
    "correct it, then: paxosd --config FILE --check-config",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    for problem in evidence.config_problems:
        yield INVALID.at("", problem, file=evidence.config_path)


CHECK = Check(
    "config",
    "The file, with the PAXOSD_ variables of this environment: all that `paxosd --check-config` "
    "looks at.",
    Needs.FILE,
    (INVALID,),
    _look,
)
