"""Safeguards of the two phases: ballots, promises, quorums, adoption, fsync before a message."""

from dataclasses import replace

from paxosd.core.acceptor import Acceptor
from paxosd.core.effects import AcceptRecord, PromiseRecord
from paxosd.core.election import Election
from paxosd.core.learner import Learner
from paxosd.core.messages import Prepare, Promise, Votes
from paxosd.core.node import Node
from paxosd.core.outbox import Outbox
from paxosd.core.proposer import Proposer
from paxosd.core.quorum import Quorums
from paxosd.core.replication import Replication
from paxosd.core.types import NOOP, NULL_BALLOT
from paxosd.core.watchdog import Watchdog
from paxosd.storage.wal import Wal
from tests.bench.mutation import around, instead, nothing, row

_NO_WATCHDOG = instead(Watchdog, "look", lambda self: "")
"""A leader that gets nowhere leads on. Else the watchdog repairs in time what the mutation does,
and the checks see a cluster that is slow at most."""


# -- persist before you speak


def _send_at_once(outbox, to, message):
    """Send without waiting for the fsync, to this node itself, too."""
    if to == outbox._node:
        outbox._self_messages.append(message)
    else:
        outbox.ready.sends.append((to, message))


def _promise_at_once(real, self, to, message):
    (_send_at_once if type(message) is Promise else real)(self, to, message)


def _repeated_votes_at_once(real, self, to, message):
    (_send_at_once if type(message) is Votes else real)(self, to, message)


def _prepare_at_once(real, self, to, message):
    own = to == self._node and type(message) is Promise
    early = own or type(message) is Prepare
    (_send_at_once if early else real)(self, to, message)


def _append_no_own_promise(real, self, records):
    own = self._header.node_id
    real(self, [r for r in records if type(r) is not PromiseRecord or r.ballot.node != own])


def _append_no_promise(real, self, records):
    real(self, [r for r in records if type(r) is not PromiseRecord])


def _accept_in_memory(real, self, ballot, slot, value, persist):
    mine = []
    outcome = real(self, ballot, slot, value, mine)
    persist += [r for r in mine if type(r) is not AcceptRecord]
    return outcome


def _start_without_promise(real, self, *args):
    real(self, *args[:-1], replace(args[-1], promised=NULL_BALLOT))


def _start_without_votes(real, self, *args):
    real(self, *args[:-1], replace(args[-1], accepted={}))


_DURABILITY = (
    row("vote-before-fsync", "a vote waits for the fsync of its accept record",
        instead(Outbox, "vote", lambda self, slot, ballot: self._publish([(slot, ballot)])), seed=4,
        in_suite=True),
    row("promise-before-fsync", "a promise waits for its fsync",
        around(Outbox, "send_synced", _promise_at_once), seed=173),
    row("repeated-vote-before-fsync", "repeated votes wait for the fsync",
        around(Outbox, "send_synced", _repeated_votes_at_once), profiles="slow-disks", seed=17),
    row("ballot-not-persisted", "a ballot is durable before its first use, so no restart reuses it",
        around(Wal, "append", _append_no_own_promise), where="Election._send_prepares", seed=17),
    row("promise-not-persisted", "a promise is written to the log",
        around(Wal, "append", _append_no_promise), where="Acceptor.receive_prepare", seed=28),
    row("accept-not-persisted", "an accepted value is written",
        around(Acceptor, "receive_accept", _accept_in_memory), seed=1),
    row("forgets-promise", "a restarted acceptor remembers its promise",
        around(Node, "__init__", _start_without_promise), where="open_wal → Node", seed=1),
    row("forgets-votes", "a restarted acceptor remembers what it accepted",
        around(Node, "__init__", _start_without_votes), where="open_wal → Node", seed=9),
    row("prepare-durable-first", "the own promise is durable before the first Prepare leaves",
        around(Outbox, "send_synced", _prepare_at_once), where="Election._send_prepares",
        profiles="lost-ballots", seed=9, in_suite=True),
)  # fmt: skip


# -- ballots and quorums


def _promise_below(real, self, message, *rest):
    self.promised = min(self.promised, message.ballot)
    return real(self, message, *rest)


def _accept_below(real, self, sender, message):
    acceptor = self._context.acceptor
    promised = acceptor.promised
    acceptor.promised = min(promised, message.ballot)
    try:
        return real(self, sender, message)
    finally:
        acceptor.promised = max(promised, acceptor.promised)


def _count_for_any_ballot(real, self, sender, promise):
    return real(self, sender, promise._replace(ballot=self.ballot))


def _count_all_ballots(real, self, voter, ballot, first, last):
    for slot in range(first, min(last, first + 64) + 1):
        tally = self._votes.get(slot)
        if tally:
            mask = 0
            for each in tally.values():
                mask |= each
            tally[ballot] = mask
    return real(self, voter, ballot, first, last)


_BALLOTS = (
    row("prepare-ballot-check", "no promise below an earlier one",
        around(Acceptor, "receive_prepare", _promise_below), seed=5, in_suite=True),
    row("accept-ballot-check", "no vote below a promise",
        around(Replication, "receive_accept", _accept_below),
        where="Replication.receive_accept, Acceptor.receive_accept", profiles="late-accepts",
        seed=22, in_suite=True),
    row("promise-ballot-check", "a promise counts for the ballot that it names only",
        around(Proposer, "receive_promise", _count_for_any_ballot), profiles="late-promises",
        seed=4),
    row("phase-1-quorum", "phase 1 needs a whole quorum (one vote fewer will do)",
        instead(Quorums, "phase1_met", lambda self, mask: mask.bit_count() >= self.phase1 - 1),
        seed=1, in_suite=True),
    row("phase-2-quorum", "phase 2 needs a whole quorum (one vote fewer will do)",
        instead(Quorums, "phase2_met", lambda self, mask: mask.bit_count() >= self.phase2 - 1),
        seed=1, in_suite=True),
    row("votes-of-all-ballots", "votes are counted per ballot",
        around(Learner, "receive_votes", _count_all_ballots), profiles="late-accepts", seed=1),
)  # fmt: skip


# -- what a new leader takes over


def _hear_no_report(real, self, sender, promise):
    return real(self, sender, promise._replace(accepted=()))


def _adopt_lowest(real, self, sender, promise):
    if promise.ballot == self.ballot:
        lower = {slot: ballot for slot, ballot, _ in promise.accepted}
        for slot, (ballot, _) in list(self._adopted.items()):
            if slot in lower and lower[slot] < ballot:
                del self._adopted[slot]
        kept = [each for each in promise.accepted if each.slot not in self._adopted]
        promise = promise._replace(accepted=tuple(kept))
    return real(self, sender, promise)


def _hear_no_commit(real, self, sender, promise):
    return real(self, sender, promise._replace(commit=0))


def _lead_without_known(real, self, commit, now_ms, changes_members, known=0, chosen=()):
    return real(self, commit, now_ms, changes_members, 0, chosen)


def _hear_part_of_report(real, self, sender, promise):
    return real(self, sender, promise._replace(until_slot=0))


def _leave_holes(real, self, *given):
    reported = set(self._adopted)
    proposals = real(self, *given)
    kept = [each for each in proposals if each.slot in reported or each.value != NOOP]
    for each in proposals:
        if each not in kept:
            self.close(each.slot)
    return kept


_TAKING_OVER = (
    row("adoption", "a new leader adopts what the promises report",
        around(Proposer, "receive_promise", _hear_no_report), seed=9, in_suite=True),
    row("highest-adopted", "of the values reported for a slot the one of the highest ballot is "
        "adopted (here: the lowest)", around(Proposer, "receive_promise", _adopt_lowest),
        profiles="short-reigns", seed=54),
    # What is known of the peers keeps a leader from it, too: both are removed.
    row("promised-commit", "a new leader proposes nothing in slots that a promise calls chosen",
        around(Proposer, "receive_promise", _hear_no_commit),
        around(Proposer, "take_lead", _lead_without_known),
        where="Proposer.receive_promise, take_lead", profiles="cuts", seed=41, in_suite=True),
    row("whole-report", "a promise counts once its report is complete",
        around(Proposer, "receive_promise", _hear_part_of_report), profiles="cuts", seed=114),
    row("noop-fill", "a new leader fills holes with NOOP",
        around(Proposer, "take_lead", _leave_holes), _NO_WATCHDOG, profiles="losses", seed=18),
)  # fmt: skip


# -- leaders

LEADS_IN_WHAT_IS_CHOSEN = (
    instead(Replication, "overtaken", lambda self: 0),
    around(Proposer, "take_lead", lambda real, self, *given: real(self, *given[:3])),
)
"""A reign begins where the promises say, and goes on whatever else is chosen above."""


_LEADERSHIP = (
    row("stays-without-quorum", "a leader that no quorum answers steps down",
        instead(Election, "in_contact", lambda self: True), _NO_WATCHDOG, profiles="deaf", seed=7,
        in_suite=True),
    row("pre-vote", "a node that hears a live leader refuses a pre-vote",
        instead(Election, "hears_leader", lambda self: self._context.proposer.leading),
        where="Election.receive_prevote", profiles="chain", seed=2, in_suite=True),
    row("overtaken-leader-stays", "a reign begins above all that is chosen, or ends (with the "
        "watchdog gone, too, which ends it)", *LEADS_IN_WHAT_IS_CHOSEN, _NO_WATCHDOG,
        where="Proposer.take_lead, Replication.overtaken, Watchdog.look", profiles="lost-tail",
        seed=1, in_suite=True),
    row("watchdog", "a leader for whom nothing moves gives up its ballot", _NO_WATCHDOG,
        profiles="mute", seed=2, in_suite=True),
    row("retransmission", "accepts without votes are sent again",
        instead(Replication, "retransmit", nothing), _NO_WATCHDOG, seed=9),
)  # fmt: skip

PROTOCOL = (*_DURABILITY, *_BALLOTS, *_TAKING_OVER, *_LEADERSHIP)
