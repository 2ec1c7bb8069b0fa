"""Every check of ``paxosctl doctor``, in the order of the report.

A new check: a module in ``paxosctl.doctor.checks`` with its flaws and a ``CHECK``, and a place
here; then ``python -m tests.doctor_page``, and a row for each flaw in the planted ones of
``tests/ctl/doctor``. If it needs something that is not known yet: :mod:`paxosctl.doctor.evidence`
and :mod:`paxosctl.doctor.gathering`.
"""

from paxosctl.doctor.checks import (
    answers,
    clock,
    configuration,
    core_dumps,
    descriptors,
    directory,
    faults,
    file_system,
    keys,
    logs,
    membership,
    memory,
    ports,
    quorum,
    quota,
    reach,
    recorder,
    restored,
    snapshots,
    space,
    states,
    storage,
    strangers,
    sync_speed,
    unsafe_settings,
    versions,
    votes,
)
from paxosctl.doctor.finding import Check, Flaw

SECTIONS: dict[str, tuple[Check, ...]] = {
    "The configuration": (configuration.CHECK, unsafe_settings.CHECK, keys.CHECK),
    "The machine": (
        ports.CHECK,
        directory.CHECK,
        file_system.CHECK,
        space.CHECK,
        sync_speed.CHECK,
        clock.CHECK,
        descriptors.CHECK,
        memory.CHECK,
        core_dumps.CHECK,
    ),
    "The cluster": (
        answers.CHECK,
        quorum.CHECK,
        votes.CHECK,
        states.CHECK,
        reach.CHECK,
        versions.CHECK,
        membership.CHECK,
        restored.CHECK,
        strangers.CHECK,
        faults.CHECK,
        quota.CHECK,
        storage.CHECK,
        snapshots.CHECK,
        recorder.CHECK,
        logs.CHECK,
    ),
}
CHECKS: tuple[Check, ...] = tuple(check for section in SECTIONS.values() for check in section)
FLAWS: dict[str, Flaw] = {flaw.id: flaw for check in CHECKS for flaw in check.flaws}
