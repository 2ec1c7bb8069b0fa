"""What Paxos is for: one value per slot, the same on all nodes, in whatever way it is seen."""

from paxosctl.audit import kinds
from paxosctl.audit.facts import Facts, Votes
from paxosctl.audit.kinds import key
from paxosctl.audit.rule import Rule
from paxosctl.audit.run import Handler, Run
from paxosctl.audit.slots import CHUNK_BITS, SlotMap


class OneValuePerBallot(Rule):
    """A ballot has one value for a slot, whoever proposes, votes or reports it."""

    name = "one-value-per-ballot"
    title = "a ballot has one value for a slot"
    source = "Lamport, Paxos Made Simple, 2.2: different proposals have different numbers"
    unit = "proposals and votes"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._ballot = -1
        self._votes = Votes()

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.ACCEPT, kinds.SENT): self._see,
            key(kinds.ACCEPT, kinds.RECEIVED): self._see,
            key(kinds.VOTED): self._see,
            key(kinds.ADOPTED, kinds.SENT): self._see,
            key(kinds.ADOPTED, kinds.RECEIVED): self._see,
        }

    def _see(self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
        self.note(ballot, slot, y + 1, run.where)

    def note(self, ballot: int, slot: int, digest: int, where: int) -> None:
        """A value at a ballot. ``digest``: plus one."""
        self.report.checked += 1
        if ballot != self._ballot:
            self._ballot, self._votes = ballot, self.facts.votes(ballot)
        votes = self._votes
        held = votes.values.get(slot)
        if held == digest:
            return
        if held:
            self.break_(
                f"slot {slot} has two values at the ballot {self.facts.shown(ballot)}",
                votes.places.get(slot),
                where,
            )
        else:
            votes.values.set(slot, digest)
            votes.places.set(slot, where)


class OneValuePerSlot(Rule):
    """All that is applied, decided or chosen by votes in a slot is one value."""

    name = "one-value"
    title = "one value is chosen per slot"
    source = "Lamport, Paxos Made Simple, 2.1 (only a single value is chosen) and 2.2: P2b"
    unit = "slots"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._broken: set[int] = set()

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.APPLIED): self._applied,
            key(kinds.DECISIONS, kinds.RECEIVED): self._decided,
        }

    def _applied(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self.note(slot, y + 1, run.where)

    def _decided(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        if x >= slot > 0:
            self.note(slot, y + 1, run.where)

    def note(self, slot: int, digest: int, where: int) -> None:
        """This value is held for chosen somewhere."""
        facts = self.facts
        held = facts.applied.get(slot)
        if held == digest:
            return
        if not held:
            facts.applied.set(slot, digest)
            facts.applied_at.set(slot, where)
        elif slot not in self._broken:
            self._broken.add(slot)
            text = f"slot {slot} has two values that are held for chosen"
            self.break_(text, facts.applied_at.get(slot), where)

    def finish(self) -> None:
        """Votes: the lowest ballot with a quorum chooses; what is above it carries its value."""
        facts = self.facts
        ballots = sorted(facts.ballots)
        chunks: dict[int, list[int]] = {}
        for ballot in ballots:
            for number in facts.ballots[ballot].values.chunks:
                chunks.setdefault(number, []).append(ballot)
        slots = sum(1 for _ in facts.applied.items())
        for number, present in sorted(chunks.items()):
            for slot in range(number << CHUNK_BITS, (number + 1) << CHUNK_BITS):
                slots += self._judge(slot, present)
        self.report.checked += slots
        unknown = sorted({(b >> 8) // 1_000_000_000 for b in ballots if facts.quorum(b) is None})
        for epoch in unknown:
            self.report.skip(f"the members of epoch {epoch} are not known", 0)

    def _judge(self, slot: int, ballots: list[int]) -> int:
        """Returns 1 for a slot that votes alone show to be chosen."""
        facts = self.facts
        applied = facts.applied.get(slot)
        chosen, chosen_at, chosen_ballot = 0, 0, 0
        for ballot in ballots:
            votes = facts.ballots[ballot]
            digest = votes.values.get(slot)
            if not digest:
                continue
            if chosen:
                if digest != chosen and slot not in self._broken:
                    self._broken.add(slot)
                    self.break_(
                        f"slot {slot} was chosen at {facts.shown(chosen_ballot)}, and has another "
                        f"value at the higher ballot {facts.shown(ballot)}",
                        chosen_at,
                        votes.places.get(slot),
                    )
                continue
            said = votes.said.get(slot)
            quorum = facts.quorum(ballot) if said else None
            if quorum is not None and (said & quorum[0]).bit_count() >= quorum[2]:
                membership = facts.membership(ballot)
                if membership is None or not facts.epochs.in_force(membership, slot):
                    continue
                chosen, chosen_at, chosen_ballot = digest, votes.places.get(slot), ballot
                facts.chosen.put(slot, 1)
        if chosen and applied and applied != chosen and slot not in self._broken:
            self._broken.add(slot)
            self.break_(
                f"slot {slot} was chosen at {facts.shown(chosen_ballot)} by its votes, and another "
                "value was applied",
                chosen_at,
                facts.applied_at.get(slot),
            )
        return int(bool(chosen and not applied))


class EqualStates(Rule):
    """After one slot all nodes have one chain, and one sum of their state."""

    name = "equal-states"
    title = "all nodes have the same history and state after the same slot"
    source = "Lamport, Paxos Made Simple, 3: the same commands in the same order"
    unit = "sums"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._chains = SlotMap()
        self._chains_at = SlotMap()
        self._sums: dict[tuple[int, int], tuple[int, int, int]] = {}
        self._broken: set[tuple[int, int]] = set()

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.APPLIED): self._applied,
            key(kinds.SUM, kinds.SENT): self._own,
            key(kinds.SUM, kinds.RECEIVED): self._heard,
        }

    def _applied(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        if not x:
            self.report.skip("below feature level 1 slots have no chain")
            return
        self.report.checked += 1
        held = self._chains.get(slot)
        if held == x:
            return
        if not held:
            self._chains.set(slot, x)
            self._chains_at.set(slot, run.where)
        elif (0, 0) not in self._broken:
            self._broken.add((0, 0))
            self.break_(
                f"the chains of two nodes differ after slot {slot}: their histories do",
                self._chains_at.get(slot),
                run.where,
            )

    def _own(self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
        self._compare(run, run.rank, slot, x, y)

    def _heard(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self._compare(run, peer, slot, x, y)

    def _compare(self, run: Run, rank: int, slot: int, total: int, sort: int) -> None:
        self.report.checked += 1
        held, other, where = self._sums.setdefault((sort, slot), (total, rank, run.where))
        if held != total and (sort, slot) not in self._broken:
            self._broken.add((sort, slot))
            self.break_(
                f"the sums of {self.facts.names[other]} and {self.facts.names[rank]} after slot "
                f"{slot} differ",
                where,
                run.where,
            )
