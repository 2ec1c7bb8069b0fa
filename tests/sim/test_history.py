"""Reads of earlier revisions in simulated runs, and what they notice."""

import pytest

from paxosd.core.state.revision_view import RevisionView
from paxosd.core.state.undo_log import UndoLog
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import SimRun, run_seed

SEED = 2
TRIMMED_SEED = 10
"""A run that keeps 20 revisions."""
OPTIONS = RunOptions(
    duration_ms=8_000, operations=250, faults=frozenset(), watchers=0, stale_readers=0, holders=0
)


def test_earlier_revisions_read_as_they_were():
    run = SimRun(SEED, OPTIONS)
    report = run.report()
    assert report.violation == ""
    assert run.revision_readers[0].checked > 10


_NOTE, _ENOUGH, _PACKED = UndoLog.note, UndoLog._enough, RevisionView.packed


def _loses_what_was(self, key, old, new):
    _NOTE(self, key, b"", new)


def _keeps_too_little(self, revision, now_ms):
    return max(_ENOUGH(self, revision, now_ms), revision - 5)


def _reads_the_present(self, key):
    return self._store.packed(key)


MUTATIONS = {
    "undo-entry-lost": (UndoLog, "note", _loses_what_was),
    "trimmed-early": (UndoLog, "_enough", _keeps_too_little),
    "present-for-past": (RevisionView, "packed", _reads_the_present),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_history_is_noticed(name, monkeypatch):
    monkeypatch.setattr(*MUTATIONS[name])
    seed = TRIMMED_SEED if name == "trimmed-early" else SEED
    report = run_seed(seed, OPTIONS)
    print(f"seed {seed}: {report.violation}")
    assert report.violation.startswith("revision: ")
