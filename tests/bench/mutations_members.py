"""Safeguards of a membership that changes: epochs, the barrier behind a change, who may vote."""

from unittest.mock import patch

from paxosd.core import dispatcher
from paxosd.core.admission import Admission
from paxosd.core.election import Election
from paxosd.core.learner import Learner
from paxosd.core.proposer import Proposer
from paxosd.core.state.snapshot import SnapshotWalk
from paxosd.core.types import Ballot
from paxosd.storage.peer_runs import PeerRuns
from tests.bench.mutation import around, instead, nothing, row
from tests.bench.mutations_disk import admit_any

_CHANGING = "members members-tight"


def _propose_behind_barrier(real, self):
    with patch.object(self, "barrier", 0):
        return real(self)


def _count_any_epoch(real, self, voter, ballot, first, last):
    with patch.object(self, "epoch", ballot.epoch):
        return real(self, voter, ballot, first, last)


def _keep_counted_votes(self, quorums, epoch):
    self._quorums, self.epoch = quorums, epoch


def _renew_nothing(self):
    self._context.proposer.barrier = 0
    self._context.proposer.cut = False


def _promise_ahead(real, self, sender, message):
    context = self._context
    if message.ballot.epoch == context.epoch:
        real(self, sender, message)
        return
    answer = context.acceptor.receive_prepare(
        message, context.learner.commit, 1 << 20, context.outbox.ready.persist
    )
    context.outbox.send_synced(sender, answer)


def _ballot_without_epoch(real, self):
    return Ballot(self._context.acceptor.promised.round + 1, real(self).node)


def _walk_without_members(real, self, machine, members):
    real(self, machine, members)
    self.head = self.head._replace(membership=b"")


def _review_confirms(real, self):
    real(self)
    self._context.unconfirmed = False


MEMBERS = (
    # Three lines of defence at once, for each of them holds alone: the leader waits, votes count
    # under their epoch's ballots, and what was counted is dropped at the change.
    row("old-voters-decide", "behind a change the old voters decide nothing",
        around(Proposer, "may_propose", _propose_behind_barrier),
        around(Learner, "receive_votes", _count_any_epoch),
        instead(Learner, "reconfigure", _keep_counted_votes),
        where="Proposer.may_propose, Learner.receive_votes", profiles=_CHANGING, seed=8),
    row("same-ballot", "under new voters a leader leads at a new ballot",
        instead(Election, "renew", _renew_nothing), profiles="calm-changes"),
    row("promises-ahead", "nobody promises or accepts for an epoch that it has not come to",
        instead(dispatcher, "_OF_AN_EPOCH", frozenset()),
        around(Election, "receive_prepare", _promise_ahead), where="Dispatcher.step",
        profiles=_CHANGING, seed=12),
    row("promises-behind", "a candidate of an epoch that is over is promised nothing",
        around(Election, "_next_ballot", _ballot_without_epoch), where="Election.receive_prepare",
        profiles=_CHANGING, seed=1),
    row("snapshot-without-members", "a snapshot carries the membership",
        around(SnapshotWalk, "__init__", _walk_without_members), where="SnapshotWalk",
        profiles=_CHANGING, seed=8),
    row("wiped-and-pinned", "a directory that was not named does not vote",
        around(Admission, "review", _review_confirms), instead(Admission, "_lose", nothing),
        instead(PeerRuns, "admit", admit_any), profiles="wiped-voter", seed=1),
    row("removed-too-early", "a removed node goes once the new voters have a leader",
        instead(Election, "is_settled", lambda self: True), profiles="swapped-unseen", seed=2,
        in_suite=True),
)  # fmt: skip
