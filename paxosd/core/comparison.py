"""One node's part in the comparison of states (``agreement.py``): what it sends and concludes.

    machine: chain at agreed slots, checksums ──► own samples ──► with the next heartbeats, to all
    heartbeats of others ──► their samples ──► once a heartbeat: judge ──► ``context.standing``

At feature level 1 and above. What rides on heartbeats may be lost with them, so the last few
samples are repeated, and a peer that says Hello gets all of them. While nothing happens, the chain
at the last slot is compared, too. That covers the last slots of an idle cluster, the state of a
node that has just started, and a snapshot that was just taken over. A node that hears a chain sends
its own chain at that slot.
"""

from collections import deque
from typing import Any

from paxosd.core.agreement import CHAIN, STATE, VALUE, Agreement, Difference, Verdict
from paxosd.core.context import Context, StateMachine
from paxosd.core.messages import SAMPLES_MAX, Heartbeat, Sample
from paxosd.core.state.chain import CHAIN_VERSION, MARK_SLOTS, TRAIL_SLOTS
from paxosd.core.state.checksum import CHECKSUM_VERSION
from paxosd.core.status import ComparisonStatus, StateDifference, SumMismatch
from paxosd.core.types import NodeId, Slot

REPEATED = 8
"""So many of the last samples are sent again with the next ones: a heartbeat may be lost."""
REPEAT_HEARTBEATS = 10
"""After so many heartbeats without a new sample the last ones are sent again."""
_SUM_MAX = (1 << 63) - 1
"""The largest number on the wire."""
NAMES = {CHAIN: "chain", STATE: "checksum", VALUE: "value"}
DIVERGED_ADVICE = (
    "this node's state is not the one that was decided: it serves nothing and does not vote. Look "
    "for the cause (memory, disk), then restart it: it sets its log and snapshots aside (lost-*) "
    "and learns all from the others. Then let it vote again: paxosctl member rejoin NAME"
)
DISPUTED_ADVICE = (
    "this node and these members have different states, and no majority of the voters says which "
    "is right: nobody acknowledges anything. Start the voters that are down: what they have decides"
)


def chain_after(machine: StateMachine, slot: Slot) -> tuple[Sample, ...]:
    """This node's chain after ``slot``; () if it is not known."""
    chain = machine.chain_at(slot)
    return () if chain is None else (Sample(CHAIN, CHAIN_VERSION, slot, chain),)


class Comparison:
    """Call :meth:`check` once a heartbeat."""

    __slots__ = (
        "_agreement",
        "_applied",
        "_beats",
        "_context",
        "_fresh",
        "_greeted",
        "_membership",
        "_noted",
        "_recent",
        "_reported",
        "_reported_odd",
        "_sound",
        "_states",
    )

    def __init__(self, context: Context) -> None:
        self._context = context
        self._agreement = Agreement()
        self._membership = context.membership
        self._sound = True
        self._noted: Slot = 0
        """Of the agreed slots up to this one the chain was noted."""
        self._applied: Slot = -1
        """What was applied at the last check."""
        self._states: set[Slot] = set()
        """The slots whose checksums were noted, of those that the machine still has."""
        self._fresh: list[Sample] = []
        self._recent: dict[int, deque[Sample]] = {
            CHAIN: deque(maxlen=REPEATED),
            STATE: deque(maxlen=REPEATED // 4),
        }
        self._beats = 0
        self._greeted = False
        self._reported = Verdict.AGREED
        self._reported_odd: dict[NodeId, Difference] = {}

    # -- what is said

    def hear(self, sender: NodeId, message: Heartbeat, *, counts: bool) -> None:
        """A peer's samples. ``counts``: whether its word is that of a member with a memory."""
        if message.sums:
            self._agreement.hear(sender, message.sums, sound=counts and message.sound)
            if self._context.machine.settings.level:
                for kind, version, slot, _ in message.sums:
                    if (kind, version) == (CHAIN, CHAIN_VERSION):
                        self._note_chain(slot)  # the same question: it may be of any slot

    def goes_on_from_here(self, sender: NodeId, before: tuple[Sample, ...]) -> bool:
        """Whether slots that a peer sends may follow on what this node has: ``before`` is the
        peer's chain before the first of them. If it is another than this node's, one of the two
        has diverged, and which one is not for two to decide: nothing is taken over."""
        for sample in before:
            own = chain_after(self._context.machine, sample.slot)
            if own and own[0][:3] == sample[:3] and own[0] != sample:
                self._agreement.hear_more(sender, before)
                self._note_chain(sample.slot)
                return False
        return True

    def objection(self, slot: Slot, total: str) -> str:
        """Why this node must not take over a state with this checksum: "", or who has another one
        after that slot. Once it has a copy, its own word makes no majority against them."""
        sample = Sample(STATE, CHECKSUM_VERSION, slot, int(total, 16) & _SUM_MAX)
        names = self._agreement.objectors(sample, self._context.quorums.voters)
        return f"{', '.join(names)} had another state after slot {slot}" if names else ""

    def greet(self, sender: NodeId, directory_id: int) -> None:
        """A peer says hello: it may know nothing of what was said before. If it comes from another
        ``directory`` than it did, it has another memory, too."""
        self._greeted = True
        known = self._context.peers[sender].directory_id
        if known not in (0, directory_id):
            self._agreement.forget(sender)

    def check(self, *, sound: bool) -> bool:
        """Say and judge what is new. ``sound``: whether this node has its memory, so that its word
        counts. True: whether it may act is to be judged anew."""
        context = self._context
        if not context.machine.settings.level:
            return False
        self._collect()
        self._say(sound=sound)
        if context.membership is not self._membership or sound is not self._sound:
            self._membership, self._sound = context.membership, sound
            self._agreement.review()
        if context.is_alone_in_the_past:
            # It made the later membership itself, with a memory that it no longer has. If its state
            # is another than that of anybody who is there, it has gone another way since, and no
            # majority of the voters that it knows of will ever say so.
            self._agreement.believe_others()
        verdict = self._agreement.judge(
            context.quorums.voters,
            context.node,
            context.now_ms,
            context.options.election_timeout_ms,
            sound=sound,
        )
        self._report_odd()
        if context.open_contradiction is not None and verdict is Verdict.AGREED:
            verdict = Verdict.DISPUTED
        if verdict is self._reported:
            return False
        self._reported = verdict
        self._report(verdict)
        context.diverged = verdict is Verdict.DIVERGED
        context.disputed = verdict is Verdict.DISPUTED
        return True

    def _collect(self) -> None:
        """What the machine has to be compared since the last time."""
        machine = self._context.machine
        applied = machine.applied
        first = max(self._noted, applied - TRAIL_SLOTS) // MARK_SLOTS + 1
        for slot in range(first * MARK_SLOTS, applied + 1, MARK_SLOTS):
            self._note_chain(slot)
        self._noted = max(self._noted, applied)
        if applied == self._applied:
            self._note_chain(applied)
        self._applied = applied
        checksums = machine.checksums
        for slot in sorted(checksums.keys() - self._states):
            self._note(Sample(STATE, CHECKSUM_VERSION, slot, int(checksums[slot], 16) & _SUM_MAX))
        self._states = set(checksums)

    def _note_chain(self, slot: Slot) -> None:
        chain = self._context.machine.chain_at(slot)
        if chain is not None and not self._agreement.has((CHAIN, CHAIN_VERSION, slot)):
            self._note(Sample(CHAIN, CHAIN_VERSION, slot, chain))

    def _note(self, sample: Sample) -> None:
        self._agreement.note(sample)
        self._fresh.append(sample)

    def _say(self, *, sound: bool) -> None:
        """To be taken along by the next heartbeats."""
        context = self._context
        context.sound = sound and not context.diverged
        self._beats += 1
        if self._greeted:
            said = self._agreement.own()
        elif self._fresh or self._beats >= REPEAT_HEARTBEATS:
            said = [*self._recent[CHAIN], *self._recent[STATE], *self._fresh]
        else:
            return
        self._greeted = False
        self._beats = 0
        for sample in self._fresh:
            self._recent[sample.kind].append(sample)
        self._fresh.clear()
        context.sums = (*context.sums, *said)[-SAMPLES_MAX:]

    # -- what follows

    @property
    def difference(self) -> Difference | None:
        """How this node has diverged; None: it has not, as far as is known."""
        return self._agreement.difference

    @property
    def in_doubt(self) -> bool:
        """Whether anything speaks against this node's state, decided or not."""
        return self._agreement.difference is not None or bool(self._agreement.disputes)

    def _report(self, verdict: Verdict) -> None:
        context = self._context
        if verdict is Verdict.AGREED:
            context.outbox.notice("state.agreed", slot=self._agreement.agreed.get(CHAIN, 0))
            return
        diverged = verdict is Verdict.DIVERGED
        difference = self.difference if diverged else self._dispute()
        assert difference is not None
        advice = DIVERGED_ADVICE.replace("NAME", context.node) if diverged else DISPUTED_ADVICE
        event = "state.diverged" if diverged else "state.disputed"
        context.outbox.notice(event, "error", **plain(difference), advice=advice)

    def _dispute(self) -> Difference | None:
        """The lowest that no majority has decided."""
        disputes = self._agreement.disputes
        return disputes[min(disputes)][0] if disputes else self._context.open_contradiction

    def _report_odd(self) -> None:
        """Which peers differ from this node and the majority: they may be unable to say so."""
        odd = self._agreement.odd
        for name in odd.keys() - self._reported_odd.keys():
            self._context.outbox.notice("state.differs", "error", member=name, **_brief(odd[name]))
        self._reported_odd = dict(odd)

    def status(self) -> ComparisonStatus:
        """The state, the difference that it was decided by, the peers that differ."""
        difference = self.difference if self._context.diverged else None
        if self._context.disputed:
            difference = self._dispute()
        shown = None
        if difference is not None:
            shown = StateDifference(**_brief(difference), members=difference.members)
        return ComparisonStatus(
            state=self._reported.value,
            state_difference=shown,
            state_agreed_slot=self._agreement.agreed.get(CHAIN, 0),
            state_odd={
                name: SumMismatch(**_brief(each))
                for name, each in sorted(self._agreement.odd.items())
            },
        )


def plain(difference: Difference) -> dict[str, Any]:
    """A difference in plain values."""
    return _brief(difference) | {"members": list(difference.members)}


def _brief(difference: Difference) -> dict[str, Any]:
    return {
        "slot": difference.slot,
        "sum": NAMES.get(difference.kind, str(difference.kind)),
        "own": f"{difference.own:x}",
        "others": f"{difference.others:x}",
    }
