"""What a learner must keep: a slot is chosen for a reason, and slots are applied in order."""

from paxosctl.audit import kinds
from paxosctl.audit.facts import Facts
from paxosctl.audit.kinds import key
from paxosctl.audit.rule import Rule
from paxosctl.audit.run import KEPT_SLOTS, Handler, Run


class ChosenByQuorum(Rule):
    """A node applies a slot once it knows that it is chosen: by the votes of a quorum at one ballot
    of the epoch in force there, or from a node that has applied it."""

    name = "chosen-by-quorum"
    title = (
        "a node applies a slot only once a quorum of its epoch has voted, or another node says so"
    )
    source = "Lamport, Paxos Made Simple, 2.3 (learning) and 3; membership by epochs"
    unit = "applied slots"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._seen: dict[int, dict[int, int]] = {}
        self._commit = 0
        self._decided: list[tuple[int, int]] = []
        self._sure_from = 0
        self._gap = False

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.START): self._start,
            key(kinds.START, 1): self._start,
            key(kinds.ACCEPTED, kinds.RECEIVED): self._votes,
            key(kinds.VOTES, kinds.RECEIVED): self._votes,
            key(kinds.ACCEPTED, kinds.PUBLISHED): self._own_votes,
            key(kinds.ACCEPT, kinds.RECEIVED): self._commit_in_x,
            key(kinds.PROMISE, kinds.RECEIVED): self._commit_in_x,
            key(kinds.HEARTBEAT, kinds.RECEIVED): self._commit_in_slot,
            key(kinds.HEARTBEAT_ACK, kinds.RECEIVED): self._commit_in_slot,
            key(kinds.PREVOTE, kinds.RECEIVED): self._commit_in_slot,
            key(kinds.PREVOTE_REPLY, kinds.RECEIVED): self._commit_in_slot,
            key(kinds.DECISIONS, kinds.RECEIVED): self._decisions,
            key(kinds.INSTALLED): self._installed,
            key(kinds.APPLIED): self._applied,
        }

    def begin(self, run: Run) -> None:
        self._seen = {}
        self._commit = self._sure_from = 0
        self._decided = []
        self._gap = True  # until START says where it begins

    def gap(self, run: Run) -> None:
        self._gap = True

    def _start(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self._gap = False
        self._commit = slot

    def _votes(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self._count(run, 1 << peer, ballot, slot, x)

    def _own_votes(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self._count(run, run.bit, ballot, slot, x)

    def _count(self, run: Run, bit: int, ballot: int, first: int, last: int) -> None:
        seen = self._seen
        said = self.facts.votes(ballot).said
        for slot in range(max(first, run.applied - KEPT_SLOTS), last + 1):
            said.add(slot, bit)
            if slot <= run.applied:
                continue
            tally = seen.get(slot)
            if tally is None:
                seen[slot] = {ballot: bit}
            else:
                tally[ballot] = tally.get(ballot, 0) | bit

    def _commit_in_x(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self._commit = max(self._commit, x)

    def _commit_in_slot(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self._commit = max(self._commit, slot)

    def _decisions(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        if x > run.applied:
            self._decided = [each for each in self._decided if each[1] > run.applied]
            self._decided.append((slot, x))

    def _installed(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self._commit = max(self._commit, slot)
        self._seen = {each: tally for each, tally in self._seen.items() if each > slot}

    def _applied(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        tally = self._seen.pop(slot, None)
        if slot <= self._commit:
            self.report.checked += 1
            return
        if self._gap:
            # What was heard in the gap may concern slots above this one as well.
            self._gap = False
            self._sure_from = slot + KEPT_SLOTS
        if tally is not None:
            for voted, bits in tally.items():
                if self._is_quorum(run, slot, voted, bits):
                    self.report.checked += 1
                    return
        if any(first <= slot <= last for first, last in self._decided):
            self.report.checked += 1
        elif slot < self._sure_from or not run.started:
            self.report.skip(f"events of {run.node} are missing")
        else:
            self._judge(run, slot, tally or {})

    def _is_quorum(self, run: Run, slot: int, ballot: int, bits: int) -> bool:
        facts = self.facts
        quorum = facts.quorum(ballot)
        if quorum is None:
            return False
        voters, _, phase2 = quorum
        if (bits & voters).bit_count() < phase2:
            # Its own vote of an earlier run counts from the start on.
            if bits & run.bit or not facts.has_vote(run.rank, ballot, slot):
                return False
            if ((bits | run.bit) & voters).bit_count() < phase2:
                return False
        membership = facts.membership(ballot)
        return membership is not None and facts.epochs.in_force(membership, slot)

    def _judge(self, run: Run, slot: int, tally: dict[int, int]) -> None:
        facts = self.facts
        unknown = {(b >> 8) // 1_000_000_000 for b in tally if facts.quorum(b) is None}
        if unknown or not facts.epochs.known:
            shown = ", ".join(map(str, sorted(unknown))) or "0"
            self.report.skip(f"the members of epoch {shown} are not known")
            return
        self.report.checked += 1
        heard = "; ".join(
            f"{facts.named(bits)} at {facts.shown(ballot)}" for ballot, bits in tally.items()
        )
        self.break_(
            f"{run.node} applies slot {slot}, and had heard of no quorum of votes of the epoch in "
            f"force there, nor of a node that had applied it; votes that it had heard of: "
            f"{heard or 'none'}",
            run.where,
        )


class AppliedInOrder(Rule):
    """Slots are applied one after another; only a snapshot passes over some."""

    name = "applied-in-order"
    title = "slots are applied in order, without holes"
    source = "Lamport, Paxos Made Simple, 3: command n is executed after all before it"
    unit = "applied slots"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._last: int | None = None

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.START): self._start,
            key(kinds.START, 1): self._start,
            key(kinds.INSTALLED): self._start,
            key(kinds.APPLIED): self._applied,
        }

    def begin(self, run: Run) -> None:
        self._last = None

    def gap(self, run: Run) -> None:
        self._last = None

    def _start(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self._last = slot

    def _applied(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        last, self._last = self._last, slot
        if last is None:
            self.report.skip("the slot before it is not in the recording")
            return
        self.report.checked += 1
        if slot != last + 1:
            self.break_(f"{run.node} applies slot {slot} after slot {last}", run.where)
