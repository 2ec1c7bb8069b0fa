"""Apply chosen slots to the state machine, in slot order, and answer the clients that wait.

    chosen slots with values ──► advance ──► machine.apply ──► WriteReply to the clients
                                                          └──► the slot changes the membership

Slots are applied in pieces. Once a turn of the loop has applied ``apply_commands_max`` commands or
a few more, the next turn goes on. A node that must still send the last changes to its watchers
waits, too (``pausing``).

Source: Lamport, "Paxos Made Simple", section 3 (the replicated state machine).
"""

from collections.abc import Callable

from paxosd.core.context import Context
from paxosd.core.effects import (
    INTERRUPTED,
    REFUSALS,
    Applied,
    CommitRecord,
    DecisionRecord,
    Refusal,
    WriteReply,
)
from paxosd.core.proposer import Proposal
from paxosd.core.types import NOOP, Ballot, Slot


class Execution:
    """The part of a node that applies what is chosen. ``applied``: the last applied slot; equal to
    the learner's commit index between two steps."""

    __slots__ = (
        "_commands",
        "_commit_recorded",
        "_context",
        "_on_members",
        "applied",
        "held",
        "pausing",
        "want_applied",
    )  # fmt: skip

    def __init__(self, context: Context, on_members: Callable[[bool], None]) -> None:
        """``on_members`` is called after a slot that changes the membership was applied and, with
        False, after a slot that was expected to change it and did not."""
        self._context = context
        self._on_members = on_members
        self.applied: Slot = context.learner.commit
        self.want_applied = False
        """Whether ``Ready.applied`` is filled."""
        self.held = False
        """Whether chosen slots whose values are known wait for a later turn to be applied."""
        self.pausing = False
        """Whether nothing may be applied now: the shell still works on what was applied."""
        self._commands = 0
        """How many commands this turn has applied; each slot counts as one more."""
        self._commit_recorded: Slot = context.learner.commit

    def advance(self) -> None:
        """Apply the next slots of the chosen prefix, as many as this turn may."""
        context = self._context
        learner = context.learner
        if context.diverged:
            self.held = False
            return  # the state is wrong: whatever is applied to it gives a wrong state
        commands_max = context.options.apply_commands_max
        while True:
            if self._commands >= commands_max or self.pausing:
                self.held = learner.has_next(context.acceptor.accepted)
                return
            dispute = context.contradiction
            if (
                dispute is not None
                and dispute.slot == learner.commit + 1
                and dispute.slot not in learner.decided
            ):
                break  # the value that this node holds may be the wrong one
            found = learner.next_chosen(context.acceptor.accepted)
            if found is None:
                break
            self._apply(*found)
        self.held = False

    def end_turn(self) -> None:
        """The turn is over: the next one may apply ``apply_commands_max`` commands again."""
        self._commands = 0

    def _apply(self, slot: Slot, ballot: Ballot, value: bytes) -> None:
        context = self._context
        if context.outbox.tracing:
            context.outbox.trace("chosen", slot=slot, ballot=ballot.shown())
        if context.learner.unlogged:
            context.outbox.persist(DecisionRecord(slot, ballot, value))
        proposal = context.proposer.close(slot)
        ours = proposal is not None and proposal.value == value
        batch = proposal.batch if proposal is not None and ours else None
        if batch is None and value != NOOP:
            try:
                batch = context.codec.decode_batch(value)
            except ValueError as error:
                # Every node refuses the same bytes alike, so all of them apply a NOOP.
                context.outbox.notice("storage.bad_value", "error", slot=slot, error=str(error))
        version = context.machine.settings.version
        results = context.machine.apply(slot, batch, value)
        self._commands += 1 + sum(map(len, results))
        if context.machine.settings.version != version:
            self._announce_settings(slot)
        context.acceptor.release(slot)
        self.applied = slot
        if proposal is not None and not ours:
            self._interrupt(proposal)
        elif proposal is not None and proposal.tokens:
            for token, entry_results in zip(proposal.tokens, results, strict=True):
                context.outbox.reply(token, WriteReply(slot, entry_results))
        if self.want_applied:
            context.outbox.ready.applied.append(Applied(slot, ballot, value, batch))
        if context.outbox.tracing:
            context.outbox.trace("applied", slot=slot, ballot=ballot.shown())
        changed = context.machine.membership.epoch != context.epoch
        if changed or slot == context.proposer.barrier:
            self._on_members(changed)

    def _interrupt(self, proposal: Proposal) -> None:
        """Its clients are refused: another value was chosen, or a snapshot covers the slot."""
        for token in proposal.tokens:
            self._context.outbox.reply(token, Refusal(INTERRUPTED, REFUSALS[INTERRUPTED], ""))

    def _announce_settings(self, slot: Slot) -> None:
        settings = self._context.machine.settings
        self._context.outbox.notice(
            "cluster.settings",
            version=settings.version,
            feature_level=settings.level,
            from_slot=slot + 1,
            settings=settings.document(),
        )

    def install(self, slot: Slot) -> None:
        """A durable snapshot brought the machine to ``slot``. Call :meth:`go_on` after it."""
        context = self._context
        assert context.machine.applied == slot > self.applied
        for each in sorted(each for each in context.proposer.open if each <= slot):
            # The snapshot holds what became of the slot, but not whose proposal it was.
            proposal = context.proposer.close(each)
            if proposal is not None:
                self._interrupt(proposal)
        context.learner.install(slot)
        context.acceptor.install(slot)
        self.applied = slot
        self._commit_recorded = slot

    def go_on(self) -> None:
        """After :meth:`install`: use the snapshot's membership, and apply what follows it."""
        context = self._context
        if context.machine.membership.epoch != context.epoch:
            self._on_members(True)
        self.advance()

    def record_commit(self, *, alone: bool) -> None:
        """Persist the commit index: together with other records or, if ``alone``, by itself."""
        context = self._context
        commit = context.learner.commit
        if commit > self._commit_recorded and (alone or context.outbox.ready.persist):
            self._commit_recorded = commit
            context.outbox.persist(CommitRecord(commit))
