"""What clients were promised: an acknowledged write is chosen, a linearizable read is not stale."""

from bisect import bisect_left
from collections import deque

from paxosctl.audit import kinds
from paxosctl.audit.facts import Facts
from paxosctl.audit.kinds import key
from paxosctl.audit.rule import Rule
from paxosctl.audit.run import Handler, Run

KEPT_MAX = 4096
ROUNDING_US = 2
"""Times and durations are cut to microseconds, each for itself."""


class AcknowledgedChosen(Rule):
    """A write is answered well once its slot is applied; and a quorum has voted for it."""

    name = "acknowledged-chosen"
    title = "what was acknowledged is chosen by a quorum"
    source = "Lamport, Paxos Made Simple, 2.1 and 2.3: chosen by a majority of acceptors"
    unit = "acknowledged slots"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._sure = False

    def handlers(self) -> dict[int, Handler]:
        return {key(kinds.WRITE): self._write}

    def begin(self, run: Run) -> None:
        self._sure = True

    def gap(self, run: Run) -> None:
        self._sure = False

    def _write(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self.facts.acked.put(slot, run.where)
        if run.applied_known and slot > run.applied and self._sure:
            self.break_(
                f"{run.node} acknowledges a write in slot {slot}, and has applied no slot above "
                f"{run.applied}",
                run.where,
            )

    def finish(self) -> None:
        """Compare with the votes of all nodes (after ``OneValuePerSlot`` has counted them)."""
        facts = self.facts
        for slot, where in facts.acked.items():
            if facts.chosen.get(slot):
                self.report.checked += 1
                continue
            why = self._why_unknown(slot)
            if why:
                self.report.skip(why)
            else:
                self.report.checked += 1
                self.break_(
                    f"a write in slot {slot} was acknowledged, and the votes in it make no quorum "
                    f"at any ballot: {self._heard(slot)}",
                    where,
                )

    def _heard(self, slot: int) -> str:
        facts = self.facts
        found = [
            f"{facts.named(votes.said.get(slot))} at {facts.shown(ballot)}"
            for ballot, votes in sorted(facts.ballots.items())
            if votes.said.get(slot)
        ]
        return "; ".join(found) or "none was seen"

    def _why_unknown(self, slot: int) -> str:
        """Why votes that were not seen may have chosen a value in the slot; "": they cannot."""
        facts = self.facts
        memberships = [
            each for each in facts.epochs.known.values() if facts.epochs.in_force(each, slot)
        ]
        if len(memberships) != 1:
            return "who voted in it is not known"
        membership = memberships[0]
        missing = [
            name
            for name in sorted(membership.voters)
            if name not in facts.rank or not facts.covers(facts.rank[name], slot)
        ]
        bits = sum(1 << facts.rank[name] for name in missing if name in facts.rank)
        strangers = sum(1 for name in missing if name not in facts.rank)
        most = strangers + bits.bit_count()
        voters = facts.quorum(membership.epoch * 1_000_000_000 << 8)
        for ballot, votes in facts.ballots.items():
            own = facts.membership(ballot)
            if voters is None or own is None or own.epoch != membership.epoch:
                continue
            most = max(most, (votes.said.get(slot) & voters[0] | bits).bit_count() + strangers)
        if most >= membership.phase2:
            return f"the votes of {', '.join(missing)} in it are not all there"
        return ""


class _Round:
    """A round of a leader's reads. ``top``: the highest slot proposed when it began."""

    __slots__ = ("at_us", "ballot", "bits", "confirmed", "seq", "top")

    def __init__(self, ballot: int, at_us: int, seq: int, bits: int, top: int) -> None:
        self.ballot, self.at_us, self.seq, self.bits, self.top = ballot, at_us, seq, bits, top
        self.confirmed = False


class ReadsConfirmed(Rule):
    """A linearizable read waits for a round that began after it came and that a quorum confirmed,
    and for the slot that the leader names."""

    name = "reads"
    title = "a linearizable read is confirmed by a quorum after it came, and is not stale"
    source = "Ongaro's thesis, 6.4 (read-index); Herlihy and Wing, Linearizability, 1990"
    unit = "reads and answers to questions"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._clear()

    def _clear(self) -> None:
        self._rounds: dict[tuple[int, int], _Round] = {}
        self._confirmed: deque[_Round] = deque(maxlen=KEPT_MAX)
        self._asked: dict[int, tuple[int, int]] = {}
        """Of this node's questions: id → when, and where."""
        self._answered: deque[tuple[int, int]] = deque(maxlen=KEPT_MAX)
        """(when the question was put, the slot in its answer)"""
        self._questions: dict[tuple[int, int], tuple[int, int]] = {}
        """Of peers' questions: (peer, id) → (seq, the highest slot proposed then)."""
        self._tops: list[tuple[int, int]] = []
        """(when, the highest slot that this node had proposed)"""
        self._top = 0
        self._acks: list[tuple[int, int, int]] = []
        """(when, the highest slot of a write that was acknowledged here by then, where)"""
        self._sure_from_us = 0

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.HEARTBEAT, kinds.SENT): self._round,
            key(kinds.HEARTBEAT_ACK, kinds.RECEIVED): self._ack,
            key(kinds.READ_INDEX, kinds.SENT): self._ask,
            key(kinds.READ_INDEX, kinds.RECEIVED): self._asked_by,
            key(kinds.READ_INDEX_REPLY, kinds.RECEIVED): self._answer,
            key(kinds.READ_INDEX_REPLY, kinds.SENT): self._reply,
            key(kinds.ACCEPT, kinds.SENT): self._propose,
            key(kinds.WRITE): self._write,
            key(kinds.READ): self._read,
        }

    def begin(self, run: Run) -> None:
        self._clear()

    def gap(self, run: Run) -> None:
        self._clear()
        self._sure_from_us = -1  # until the next event says what time it is

    def _propose(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        if slot > self._top:
            self._top = slot
            tops = self._tops
            if tops and tops[-1][0] == at_us:
                tops[-1] = at_us, slot
            else:
                tops.append((at_us, slot))
                if len(tops) > 2 * KEPT_MAX:
                    del tops[:KEPT_MAX]

    def _round(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        if ballot & 0xFF == run.rank and (ballot, x) not in self._rounds:
            if len(self._rounds) > KEPT_MAX:
                del self._rounds[next(iter(self._rounds))]
            self._rounds[ballot, x] = _Round(ballot, at_us, run.seq, run.bit, self._top)

    def _ack(self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
        round_ = self._rounds.get((ballot, x))
        if round_ is None or round_.confirmed:
            return
        round_.bits |= 1 << peer
        quorum = self.facts.quorum(ballot)
        if quorum is not None and (round_.bits & quorum[0]).bit_count() >= quorum[2]:
            round_.confirmed = True
            self._confirmed.append(round_)

    def _ask(self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
        if len(self._asked) > KEPT_MAX:
            del self._asked[next(iter(self._asked))]
        self._asked.setdefault(x, (at_us, run.where))

    def _answer(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        asked = self._asked.get(x)
        if asked is not None:
            self._answered.append((asked[0], slot))

    def _asked_by(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        if len(self._questions) > KEPT_MAX:
            del self._questions[next(iter(self._questions))]
        self._questions.setdefault((peer, x), (run.seq, self._top))

    def _reply(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        asked = self._questions.get((peer, x))
        if asked is None:
            self.report.skip(f"events of {run.node} are missing")
            return
        if not self._may_judge(run):
            return
        self.report.checked += 1
        name = self.facts.names[peer]
        if slot < asked[1]:
            self.break_(
                f"{run.node} names slot {slot} to {name} for its reads, and had proposed in slot "
                f"{asked[1]} when it was asked",
                run.at(asked[0]),
                run.where,
            )
        elif (
            not any(each.seq > asked[0] for each in reversed(self._confirmed)) and not self._alone()
        ):
            self.break_(
                f"{run.node} answers a question of {name}, and no round that began after it was "
                "confirmed by a quorum",
                run.at(asked[0]),
                run.where,
            )

    def _write(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        acks = self._acks
        if not acks or slot > acks[-1][1]:
            acks.append((at_us, slot, run.where))
            if len(acks) > 2 * KEPT_MAX:
                del acks[:KEPT_MAX]

    def _read(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        came_us = at_us - (ballot >> 8) - ROUNDING_US
        if self._sure_from_us < 0:
            self._sure_from_us = at_us
        if came_us < self._sure_from_us:
            self.report.skip(f"events of {run.node} are missing")
            return
        place = bisect_left(self._acks, (came_us,)) - 1
        if place >= 0 and self._acks[place][1] > slot:
            self.report.checked += 1
            self.break_(
                f"{run.node} answers a read as of slot {slot}, and had acknowledged a write in "
                f"slot {self._acks[place][1]} before the read came",
                self._acks[place][2],
                run.where,
            )
            return
        if not self._may_judge(run):
            return
        self.report.checked += 1
        if not (self._asked_leader(slot, came_us) or self._leads(slot, came_us) or self._alone()):
            self.break_(
                f"{run.node} answers a read as of slot {slot}; no question put to a leader, and no "
                "round of its own that a quorum confirmed, began after the read came "
                f"{(at_us - came_us) / 1000:.1f} ms before, with a slot up to that one",
                run.where,
            )

    def _asked_leader(self, slot: int, came_us: int) -> bool:
        return any(asked >= came_us and named <= slot for asked, named in reversed(self._answered))

    def _leads(self, slot: int, came_us: int) -> bool:
        place = bisect_left(self._tops, (came_us,)) - 1
        if place >= 0 and self._tops[place][1] > slot:
            return False
        return any(each.at_us >= came_us for each in reversed(self._confirmed))

    def _may_judge(self, run: Run) -> bool:
        if self.facts.epochs.known:
            return True
        self.report.skip("the members are not known")
        return False

    def _alone(self) -> bool:
        """Whether some membership has a quorum of one, which no message shows."""
        return any(each.phase2 == 1 for each in self.facts.epochs.known.values())
