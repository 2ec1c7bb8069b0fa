"""Safeguards of the history: every node keeps the same, all of it, and hands it on."""

from paxosd.core.requests import revision_of
from paxosd.core.state import snapshot as snapshot_module
from paxosd.core.state.machine import Machine
from paxosd.core.state.undo_log import UndoLog
from paxosd.core.state.undo_pieces import UndoWalk
from paxosd.replica.service import Service
from tests.bench.mutation import around, instead, row


def _forget_what_was(real, self, key, old, new):
    real(self, key, b"", new)


def _trim_as_it_likes(real, self, slot, batch, before, answers, skipped, has_control):
    """By what this node alone has done so far, it drops the oldest block."""
    real(self, slot, batch, before, answers, skipped, has_control)
    undo = self.store.undo
    if self.work.units % 7 == 0 and undo.records:
        undo._drop_first()


class _NothingOfIt(UndoWalk):
    def take(self):
        self.close()


def _of_any_revision(self, queries):
    return bool(queries) and all(map(revision_of, queries))


HISTORY = (
    row("undo-entry-lost", "a record of the history has the entry before",
        around(UndoLog, "note", _forget_what_was), profiles="history"),
    row("history-trimmed-alone", "all nodes keep the same history",
        around(Machine, "_finish_slot", _trim_as_it_likes), where="UndoLog.end_slot",
        profiles="history", in_suite=True),
    row("snapshot-without-history", "a snapshot has the history in it",
        instead(snapshot_module, "UndoWalk", _NothingOfIt), where="SnapshotWalk",
        profiles="history", seed=3),
    row("revision-read-too-early", "a node answers by itself for revisions that it has applied",
        instead(Service, "_is_settled", _of_any_revision), profiles="history", in_suite=True),
)  # fmt: skip
