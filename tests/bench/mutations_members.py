"""Safeguards of a membership that changes: epochs, the barrier behind a change, who may vote."""

from paxosd.core import node as node_module
from paxosd.core.admission import Admission
from paxosd.core.election import Election
from paxosd.core.learner import Learner
from paxosd.core.proposer import Proposer
from paxosd.core.state.snapshot import SnapshotWalk
from paxosd.core.types import Ballot
from paxosd.storage.peer_lives import PeerLives
from tests.bench.mutation import Patches, mutation, nothing

MEMBERS = ("members", "members-tight")


# -- the barrier behind a change


@mutation("old-voters-decide", "behind a change the old voters decide nothing",
          "Proposer.may_propose, Learner.receive_votes", profiles=MEMBERS)  # fmt: skip
def _old_voters_decide(p: Patches) -> None:
    """Three lines of defence at once, for each holds alone: the leader waits, votes count under
    their epoch's ballots, and what was counted is dropped at the change."""

    def proposes(original):
        def may_propose(self):
            barrier, self.barrier = self.barrier, 0
            try:
                return original(self)
            finally:
                self.barrier = barrier

        return may_propose

    def counts(original):
        def receive_votes(self, voter, ballot, first, last):
            epoch, self.epoch = self.epoch, ballot.epoch
            try:
                return original(self, voter, ballot, first, last)
            finally:
                self.epoch = epoch

        return receive_votes

    def keeps(_):
        def reconfigure(self, quorums, epoch):
            self._quorums, self.epoch = quorums, epoch

        return reconfigure

    p.replace(Proposer, "may_propose", proposes)
    p.replace(Learner, "receive_votes", counts)
    p.replace(Learner, "reconfigure", keeps)


@mutation("same-ballot", "under new voters a leader leads at a new ballot", "Election.renew",
          profiles=MEMBERS)  # fmt: skip
def _same_ballot(p: Patches) -> None:
    def make(_):
        def renew(self):
            self._context.proposer.barrier = 0
            self._context.proposer.cut = False

        return renew

    p.replace(Election, "renew", make)


# -- epochs


@mutation("promises-ahead", "nobody promises or accepts for an epoch that it has not come to",
          "Node.step", profiles=MEMBERS)  # fmt: skip
def _promises_ahead(p: Patches) -> None:
    def make(original):
        def receive_prepare(self, sender, message):
            if message.ballot.epoch == self._context.epoch:
                original(self, sender, message)
                return
            context = self._context
            answer = context.acceptor.receive_prepare(
                message, context.learner.commit, 1 << 20, context.outbox.ready.persist
            )
            context.outbox.send_synced(sender, answer)

        return receive_prepare

    p.replace(node_module, "_OF_AN_EPOCH", lambda _: frozenset())
    p.replace(Election, "receive_prepare", make)


@mutation("promises-behind", "a candidate of an epoch that is over is promised nothing",
          "Election.receive_prepare", profiles=MEMBERS)  # fmt: skip
def _promises_behind(p: Patches) -> None:
    def make(original):
        def next_ballot(self):
            ballot = original(self)
            return Ballot(self._context.acceptor.promised.round + 1, ballot.node)

        return next_ballot

    p.replace(Election, "_next_ballot", make)


@mutation("snapshot-without-members", "a snapshot carries the membership", "SnapshotWalk",
          profiles=MEMBERS)  # fmt: skip
def _snapshot_without_members(p: Patches) -> None:
    def make(original):
        def init(self, machine, members):
            original(self, machine, members)
            self.head = self.head._replace(membership=b"")

        return init

    p.replace(SnapshotWalk, "__init__", make)


# -- who may vote


@mutation("wiped-and-pinned", "a directory that was not named does not vote",
          "Arrival.review", profiles=("wiped-voter",))  # fmt: skip
def _wiped_and_pinned(p: Patches) -> None:
    def make(original):
        def review(self):
            original(self)
            self._context.unconfirmed = False

        return review

    p.replace(Admission, "review", make)
    p.replace(Admission, "_lose", lambda _: nothing)
    p.replace(PeerLives, "admit", lambda _: lambda self, sender, run_id, *_, **__: run_id)


@mutation("removed-too-early", "a removed node goes once the new voters have a leader",
          "Election.is_settled", profiles=("swapped-unseen",))  # fmt: skip
def _removed_too_early(p: Patches) -> None:
    p.replace(Election, "is_settled", lambda _: lambda self: True)
