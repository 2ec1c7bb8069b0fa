"""Safeguards of the two phases: ballots, promises, quorums, adoption, the fsync before a word."""

from paxosd.core.acceptor import Acceptor
from paxosd.core.effects import AcceptRecord, PromiseRecord
from paxosd.core.election import Election
from paxosd.core.messages import Prepare, Promise, Votes
from paxosd.core.node import Node
from paxosd.core.outbox import Outbox
from paxosd.core.proposer import Proposer
from paxosd.core.quorum import Quorums
from paxosd.core.replication import Replication
from paxosd.core.types import NOOP, NULL_BALLOT
from paxosd.core.watchdog import Watchdog
from paxosd.storage.wal import Wal
from tests.bench.mutation import Patches, mutation, nothing


def _at_once(outbox, to, message):
    """Send without waiting for the fsync, to this node itself too."""
    if to == outbox._node:
        outbox._self_messages.append(message)
    else:
        outbox.ready.sends.append((to, message))


def without_watchdog(p: Patches) -> None:
    """A leader that gets nowhere leads on: else the watchdog ends in time what the mutation does,
    and the checks see a cluster that is slow at most."""
    p.replace(Watchdog, "look", lambda _: lambda self: "")


# -- persist before you speak


@mutation("vote-before-fsync", "a vote waits for the fsync of its accept record", "Outbox.vote")
def _vote_before_fsync(p: Patches) -> None:
    p.replace(Outbox, "vote", lambda _: lambda self, slot, ballot: self._publish([(slot, ballot)]))


@mutation("promise-before-fsync", "a promise waits for its fsync", "Outbox.send_synced")
def _promise_before_fsync(p: Patches) -> None:
    def make(original):
        def send_synced(self, to, message):
            (_at_once if type(message) is Promise else original)(self, to, message)

        return send_synced

    p.replace(Outbox, "send_synced", make)


@mutation(
    "repeated-vote-before-fsync",
    "repeated votes wait for the fsync",
    "Outbox.send_synced",
    profiles=("slow-disks",),
)
def _repeated_vote_before_fsync(p: Patches) -> None:
    def make(original):
        def send_synced(self, to, message):
            (_at_once if type(message) is Votes else original)(self, to, message)

        return send_synced

    p.replace(Outbox, "send_synced", make)


@mutation(
    "ballot-not-persisted",
    "a ballot is durable before its first use, so no restart reuses it",
    "Election._send_prepares",
)
def _ballot_not_persisted(p: Patches) -> None:
    def make(original):
        def append(self, records):
            own = self._header.node_id
            original(
                self,
                [r for r in records if type(r) is not PromiseRecord or r.ballot.node != own],
            )

        return append

    p.replace(Wal, "append", make)


@mutation("promise-not-persisted", "a promise is written to the log", "Acceptor.receive_prepare")
def _promise_not_persisted(p: Patches) -> None:
    def make(original):
        def append(self, records):
            original(self, [r for r in records if type(r) is not PromiseRecord])

        return append

    p.replace(Wal, "append", make)


@mutation("accept-not-persisted", "an accepted value is written", "Acceptor.receive_accept")
def _accept_not_persisted(p: Patches) -> None:
    """The record is appended as usual, so that it can be read back, but its group is not
    written to the disk: the value lives in memory alone."""

    def make(original):
        def receive_accept(self, ballot, slot, value, persist):
            mine = []
            outcome = original(self, ballot, slot, value, mine)
            persist += [r for r in mine if type(r) is not AcceptRecord]
            return outcome

        return receive_accept

    p.replace(Acceptor, "receive_accept", make)


@mutation("forgets-promise", "a restarted acceptor remembers its promise", "Wal.open → Node")
def _forgets_promise(p: Patches) -> None:
    def make(original):
        def init(self, *args, **options):
            original(self, *args, **(options | {"promised": NULL_BALLOT}))

        return init

    p.replace(Node, "__init__", make)


@mutation("forgets-votes", "a restarted acceptor remembers what it accepted", "Wal.open → Node")
def _forgets_votes(p: Patches) -> None:
    def make(original):
        def init(self, *args, **options):
            original(self, *args, **(options | {"accepted": {}}))

        return init

    p.replace(Node, "__init__", make)


# -- ballots


@mutation("prepare-ballot-check", "no promise below an earlier one", "Acceptor.receive_prepare")
def _prepare_ballot_check(p: Patches) -> None:
    def make(original):
        def receive_prepare(self, message, *rest):
            self.promised = min(self.promised, message.ballot)
            return original(self, message, *rest)

        return receive_prepare

    p.replace(Acceptor, "receive_prepare", make)


@mutation(
    "accept-ballot-check",
    "no vote below a promise",
    "Replication.receive_accept, Acceptor.receive_accept",
    profiles=("late-accepts",),
)
def _accept_ballot_check(p: Patches) -> None:
    def make(original):
        def receive_accept(self, sender, message):
            acceptor = self._context.acceptor
            promised = acceptor.promised
            acceptor.promised = min(promised, message.ballot)
            try:
                return original(self, sender, message)
            finally:
                acceptor.promised = max(promised, acceptor.promised)

        return receive_accept

    p.replace(Replication, "receive_accept", make)


@mutation(
    "promise-ballot-check",
    "a promise counts for the ballot that it names only",
    "Proposer.receive_promise",
    profiles=("late-promises",),
)
def _promise_ballot_check(p: Patches) -> None:
    def make(original):
        def receive_promise(self, sender, promise):
            return original(self, sender, promise._replace(ballot=self.ballot))

        return receive_promise

    p.replace(Proposer, "receive_promise", make)


@mutation("phase-1-quorum", "phase 1 needs a whole quorum (one vote fewer will do)",
          "Quorums.phase1_met")  # fmt: skip
def _phase_1_quorum(p: Patches) -> None:
    p.replace(
        Quorums,
        "phase1_met",
        lambda _: lambda self, mask: mask.bit_count() >= self.phase1 - 1,
    )


@mutation("phase-2-quorum", "phase 2 needs a whole quorum (one vote fewer will do)",
          "Quorums.phase2_met")  # fmt: skip
def _phase_2_quorum(p: Patches) -> None:
    p.replace(
        Quorums,
        "phase2_met",
        lambda _: lambda self, mask: mask.bit_count() >= self.phase2 - 1,
    )


@mutation(
    "votes-of-all-ballots",
    "votes are counted per ballot",
    "Learner.receive_votes",
    profiles=("late-accepts",),
)
def _votes_of_all_ballots(p: Patches) -> None:
    from paxosd.core.learner import Learner

    def make(original):
        def receive_votes(self, voter, ballot, first, last):
            for slot in range(first, min(last, first + 64) + 1):
                tally = self._votes.get(slot)
                if tally:
                    mask = 0
                    for each in tally.values():
                        mask |= each
                    tally[ballot] = mask
            return original(self, voter, ballot, first, last)

        return receive_votes

    p.replace(Learner, "receive_votes", make)


# -- what a new leader takes over


@mutation("adoption", "a new leader adopts what the promises report", "Proposer.receive_promise")
def _adoption(p: Patches) -> None:
    def make(original):
        def receive_promise(self, sender, promise):
            return original(self, sender, promise._replace(accepted=()))

        return receive_promise

    p.replace(Proposer, "receive_promise", make)


@mutation(
    "highest-adopted",
    "of the values reported for a slot the one of the highest ballot is adopted (here: the lowest)",
    "Proposer.receive_promise",
    profiles=("short-reigns",),
)
def _highest_adopted(p: Patches) -> None:
    def make(original):
        def receive_promise(self, sender, promise):
            if promise.ballot == self.ballot:
                lower = {slot: ballot for slot, ballot, _ in promise.accepted}
                for slot, (ballot, _) in list(self._adopted.items()):
                    if slot in lower and lower[slot] < ballot:
                        del self._adopted[slot]
                kept = [each for each in promise.accepted if each.slot not in self._adopted]
                promise = promise._replace(accepted=tuple(kept))
            return original(self, sender, promise)

        return receive_promise

    p.replace(Proposer, "receive_promise", make)


@mutation(
    "promised-commit",
    "a new leader proposes nothing in slots that a promise calls chosen",
    "Proposer.receive_promise, take_lead",
    profiles=("cuts",),
)
def _promised_commit(p: Patches) -> None:
    """What is known of the peers besides holds the same line: both."""

    def make(original):
        def receive_promise(self, sender, promise):
            return original(self, sender, promise._replace(commit=0))

        return receive_promise

    def make_lead(original):
        def take_lead(self, commit, now_ms, changes_members, known=0, chosen=()):
            return original(self, commit, now_ms, changes_members, 0, chosen)

        return take_lead

    p.replace(Proposer, "receive_promise", make)
    p.replace(Proposer, "take_lead", make_lead)


@mutation(
    "whole-report",
    "a promise counts once its report is complete",
    "Proposer.receive_promise",
    profiles=("cuts",),
)
def _whole_report(p: Patches) -> None:
    def make(original):
        def receive_promise(self, sender, promise):
            return original(self, sender, promise._replace(until_slot=0))

        return receive_promise

    p.replace(Proposer, "receive_promise", make)


@mutation(
    "noop-fill", "a new leader fills holes with NOOP", "Proposer.take_lead", profiles=("losses",)
)
def _noop_fill(p: Patches) -> None:
    def make(original):
        def take_lead(self, *given):
            reported = set(self._adopted)
            proposals = original(self, *given)
            kept = [each for each in proposals if each.slot in reported or each.value != NOOP]
            for each in proposals:
                if each not in kept:
                    self.close(each.slot)
            return kept

        return take_lead

    p.replace(Proposer, "take_lead", make)
    without_watchdog(p)


# -- leaders


@mutation("stays-without-quorum", "a leader that no quorum answers steps down",
          "Election.in_contact", profiles=("deaf",))  # fmt: skip
def _stays_without_quorum(p: Patches) -> None:
    p.replace(Election, "in_contact", lambda _: lambda self: True)
    without_watchdog(p)


@mutation("pre-vote", "who hears a live leader refuses a pre-vote", "Election.receive_prevote",
          profiles=("chain",))  # fmt: skip
def _pre_vote(p: Patches) -> None:
    p.replace(Election, "hears_leader", lambda _: lambda self: self._context.proposer.leading)


def leads_in_what_is_chosen(p: Patches) -> None:
    """A reign begins where the promises say, and goes on whatever else is chosen above."""
    p.replace(Replication, "overtaken", lambda _: lambda self: 0)
    p.replace(
        Proposer, "take_lead", lambda original: lambda self, *given: original(self, *given[:3])
    )


@mutation(
    "overtaken-leader-stays",
    "a reign begins above all that is chosen, or ends (with the watchdog gone, too, which ends it)",
    "Proposer.take_lead, Replication.overtaken, Watchdog.look",
    profiles=("lost-tail",),
)
def _overtaken_leader_stays(p: Patches) -> None:
    leads_in_what_is_chosen(p)
    without_watchdog(p)


@mutation(
    "watchdog",
    "a leader for whom nothing moves gives up its ballot",
    "Watchdog.look",
    profiles=("mute",),
)
def _watchdog(p: Patches) -> None:
    without_watchdog(p)


@mutation("retransmission", "accepts without votes are sent again", "Replication.retransmit")
def _retransmission(p: Patches) -> None:
    p.replace(Replication, "retransmit", lambda _: nothing)
    without_watchdog(p)


@mutation("prepare-durable-first", "the own promise is durable before the first Prepare leaves",
          "Election._send_prepares", profiles=("lost-ballots",))  # fmt: skip
def _prepare_durable_first(p: Patches) -> None:
    def make(original):
        def send_synced(self, to, message):
            own = to == self._node and type(message) is Promise
            early = own or type(message) is Prepare
            (_at_once if early else original)(self, to, message)

        return send_synced

    p.replace(Outbox, "send_synced", make)
