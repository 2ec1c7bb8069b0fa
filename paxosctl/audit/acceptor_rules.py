"""What an acceptor must keep: its promises, and that it says nothing before it is on the disk."""

from paxosctl.audit import kinds
from paxosctl.audit.facts import Facts
from paxosctl.audit.kinds import key
from paxosctl.audit.rule import Rule
from paxosctl.audit.run import Handler, Memory, Run

_COUNT_MASK = (1 << kinds.PARTIAL_BIT) - 1


class PromisesKept(Rule):
    """Nothing is promised below a promise; what is promised was asked for while it could be."""

    name = "promises"
    title = "a promise is never broken by a lower one"
    source = "Lamport, Paxos Made Simple, 2.2: P1a and phase 1b"
    unit = "promises"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._asked: dict[tuple[int, int], int] = {}
        self._sure = False

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.PROMISED): self._handed,
            key(kinds.PREPARE, kinds.RECEIVED): self._hear,
            key(kinds.PROMISE, kinds.SENT): self._sent,
        }

    def begin(self, run: Run) -> None:
        self._asked.clear()
        self._sure = True

    def gap(self, run: Run) -> None:
        self._sure = False

    def _handed(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self.report.checked += 1
        if ballot < run.promised:
            text = f"{run.node} promises {self.facts.shown(ballot)} to its log after "
            self.break_(text + self.facts.shown(run.promised), run.where)

    def _hear(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        if run.promised <= ballot:
            self._asked[peer, ballot] = self._asked.get((peer, ballot), 0) + 1

    def _sent(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self.report.checked += 1
        left = self._asked.get((peer, ballot), 0)
        if left:
            self._asked[peer, ballot] = left - 1
        elif not self._sure or not run.started:
            self.report.skip(f"events of {run.node} are missing", 1)
        elif run.promised > ballot:
            shown, higher = self.facts.shown(ballot), self.facts.shown(run.promised)
            self.break_(
                f"{run.node} promises {shown} to {self.facts.names[peer]}, which asked for it when "
                f"{higher} had been promised already",
                run.where,
            )


class VotesAbovePromises(Rule):
    """No vote below a promise."""

    name = "votes-above-promises"
    title = "no vote is below a promise of its acceptor"
    source = "Lamport, Paxos Made Simple, 2.2: P1a"
    unit = "votes"

    def handlers(self) -> dict[int, Handler]:
        return {key(kinds.VOTED): self._voted}

    def _voted(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self.report.checked += 1
        if ballot < run.promised:
            self.break_(
                f"{run.node} votes in slot {slot} at {self.facts.shown(ballot)}, below its promise "
                f"of {self.facts.shown(run.promised)}",
                run.where,
            )


class AcksAbovePromises(Rule):
    """A heartbeat is acknowledged only if nothing above its ballot was promised: a read rests on
    that."""

    name = "acks-above-promises"
    title = "a leader is acknowledged only below whose ballot nothing higher was promised"
    source = "Ongaro's thesis, 6.4 (read-index); Lamport, Paxos Made Simple, 2.2: P1a"
    unit = "acknowledgements"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._heard: dict[int, tuple[int, int]] = {}

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.HEARTBEAT, kinds.RECEIVED): self._hear,
            key(kinds.HEARTBEAT_ACK, kinds.SENT): self._sent,
        }

    def begin(self, run: Run) -> None:
        self._heard.clear()

    def gap(self, run: Run) -> None:
        self._heard.clear()

    def _hear(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self._heard[peer] = ballot, run.promised

    def _sent(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        heard = self._heard.get(peer)
        if heard is None or heard[0] != ballot:
            self.report.skip("the heartbeat that was acknowledged is not the last one recorded")
            return
        self.report.checked += 1
        if heard[1] > ballot:
            self.break_(
                f"{run.node} acknowledges {self.facts.names[peer]} as the leader of "
                f"{self.facts.shown(ballot)}, though it had promised "
                f"{self.facts.shown(heard[1])}",
                run.where,
            )


class DurableFirst(Rule):
    """Votes, promises and own ballots leave only after a group commit made them durable."""

    name = "durable-first"
    title = "nothing is said of votes and promises before they are durable"
    source = "Lamport, Paxos Made Simple, 2.5: stable storage before the response"
    unit = "statements"

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.ACCEPTED, kinds.PUBLISHED): self._votes_said,
            key(kinds.VOTES, kinds.SENT): self._votes_said,
            key(kinds.PROMISE, kinds.SENT): self._ballot_said,
            key(kinds.PREPARE, kinds.SENT): self._ballot_said,
        }

    def _votes_said(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        bit, said = run.bit, self.facts.votes(ballot).said
        for each in range(slot, x + 1):
            vote = run.vote_of(each, ballot)
            if vote is None:
                self._unhanded(run, each, ballot)
            elif run.is_durable(vote.at_us, vote.syncs):
                self.report.checked += 1
            else:
                self.break_(
                    f"{run.node} says that it voted in slot {each} at {self.facts.shown(ballot)} "
                    "before any group commit could have made that durable",
                    run.at(vote.seq),
                    run.where,
                )
            said.add(each, bit)
        run.memory.promised = max(run.memory.promised, ballot)

    def _unhanded(self, run: Run, slot: int, ballot: int) -> None:
        """A vote of an earlier run, or one that was never written."""
        facts = self.facts
        if facts.has_vote(run.rank, ballot, slot):
            self.report.checked += 1  # an earlier run said it, or the log has it
        elif run.memory.votes.get(slot) is not None and run.memory.votes[slot].ballot == ballot:
            self.report.checked += 1
        elif run.whole and run.started and (run.first or facts.covers(run.rank, slot)):
            self.break_(
                f"{run.node} says that it voted in slot {slot} at {facts.shown(ballot)}, which was "
                "never handed to its log",
                run.where,
            )
        else:
            self.report.skip(f"{run.node} may have voted where its recording has nothing")

    def _ballot_said(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        handed = run.promised_at.get(ballot)
        run.memory.promised = max(run.memory.promised, ballot)
        run.memory.promised_at = run.where
        if handed is not None and not run.is_durable(*handed):
            self.break_(
                f"{run.node} names the ballot {self.facts.shown(ballot)} to "
                f"{self.facts.names[peer]} before any group commit could have made its promise "
                "durable",
                run.where,
            )
        elif handed is not None or ballot <= run.start_promise:
            self.report.checked += 1
        elif run.whole and run.started:
            self.break_(
                f"{run.node} names the ballot {self.facts.shown(ballot)} to "
                f"{self.facts.names[peer]}, and its promise was never handed to its log",
                run.where,
            )
        else:
            self.report.skip(f"events of {run.node} are missing")


class LogKeeps(Rule):
    """What was said to be voted or promised stands in the log, as long as the log goes back."""

    name = "log-keeps"
    title = "what a node said of its votes and promises is in its log"
    source = "Lamport, Paxos Made Simple, 2.5: an acceptor remembers, also after a failure"
    unit = "statements"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._logged: dict[int, dict[int, int]] = {}

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.ACCEPTED, kinds.PUBLISHED): self._votes_said,
            key(kinds.PROMISE, kinds.SENT): self._ballot_said,
            key(kinds.PREPARE, kinds.SENT): self._ballot_said,
        }

    def _votes_said(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        log = self.facts.logs.get(run.rank)
        if log is None or not log.usable or log.home.directory not in (0, run.directory):
            self.report.skip(f"the log of {run.node} at that time is not there", x + 1 - slot)
            return
        logged, rank = self.facts.logged.get(ballot), run.rank
        for each in range(slot, x + 1):
            if each < log.first:
                self.report.skip(f"the log of {run.node} is compacted below slot {log.first}")
            elif logged is not None and logged.get(each) >> rank & 1:
                self.report.checked += 1
            else:
                self.break_(
                    f"{run.node} said that it voted in slot {each} at {self.facts.shown(ballot)}, "
                    f"and its log, which goes back to slot {log.first}, does not have it",
                    run.where,
                )

    def _ballot_said(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        log = self.facts.logs.get(run.rank)
        if log is None or not log.usable or log.home.directory not in (0, run.directory):
            self.report.skip(f"the log of {run.node} at that time is not there")
            return
        self.report.checked += 1
        if log.promised < ballot:
            self.break_(
                f"{run.node} named the ballot {self.facts.shown(ballot)}, and its log has no "
                f"promise above {self.facts.shown(log.promised)}",
                run.where,
            )


class Remembers(Rule):
    """After a start nothing is said at a ballot below what was said before it, from the same data
    directory. That the start itself knows less is no breach yet: the disk was put back, and whoever
    finds that out in time must not speak."""

    name = "remembers"
    title = "after a start a node says nothing below what it had promised before"
    source = "Lamport, Paxos Made Simple, 2.5"
    unit = "starts"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._owed = 0
        """What was said before this run, where the start knew of less."""
        self._owed_at = 0

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.START): self._started,
            key(kinds.ACCEPTED, kinds.PUBLISHED): self._said,
            key(kinds.VOTES, kinds.SENT): self._said,
            key(kinds.PROMISE, kinds.SENT): self._said,
            key(kinds.PREPARE, kinds.SENT): self._said,
        }

    def begin(self, run: Run) -> None:
        self._owed = 0

    def _started(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self.report.checked += 1
        memory: Memory = run.memory
        if ballot < memory.promised:
            self._owed, self._owed_at = memory.promised, memory.promised_at
            self.report.skip(
                f"a start of {run.node} knew less than the node had said before (its disk was put "
                "back), and no breach came of it",
                0,
            )

    def _said(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        if ballot < self._owed:
            self.break_(
                f"{run.node} speaks at {self.facts.shown(ballot)} after a start that knew of no "
                f"higher promise, though it had named {self.facts.shown(self._owed)} before",
                self._owed_at,
                run.where,
            )
            self._owed = 0


class ReportsVotes(Rule):
    """A promise reports the last vote of each slot that is not known to be chosen."""

    name = "reports-votes"
    title = "a promise reports every vote of its acceptor"
    source = "Lamport, Paxos Made Simple, 2.2: phase 1b"
    unit = "promises"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._asked_at: dict[tuple[int, int], int] = {}
        self._open: tuple[int, int, int, int, bool, int] | None = None
        """(peer, ballot, from slot, commit, partial, reported) of the promise that goes by."""
        self._rows: dict[int, int] = {}
        self._where = 0

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.PREPARE, kinds.RECEIVED): self._hear,
            key(kinds.PROMISE, kinds.SENT): self._sent,
            key(kinds.ADOPTED, kinds.SENT): self._row,
        }

    def begin(self, run: Run) -> None:
        self._asked_at.clear()
        self._open = None

    def gap(self, run: Run) -> None:
        self._asked_at.clear()
        self._open = None

    def _hear(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self._asked_at[peer, ballot] = run.seq

    def _sent(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self._open = peer, ballot, slot, x, bool(y >> kinds.PARTIAL_BIT), y & _COUNT_MASK
        self._rows = {}
        self._where = run.where
        if not self._open[5]:
            self._judge(run)

    def _row(self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
        if self._open is None:
            return
        self._rows[slot] = ballot
        if len(self._rows) == self._open[5]:
            self._judge(run)

    def _judge(self, run: Run) -> None:
        assert self._open is not None
        peer, ballot, first, commit, partial, _ = self._open
        self._open = None
        asked_at = self._asked_at.get((peer, ballot))
        if asked_at is None:
            self.report.skip(f"events of {run.node} are missing")
            return
        self.report.checked += 1
        low = max(first - 1, commit, run.applied if not run.applied_known else 0)
        high = max(self._rows, default=0) if partial else 1 << 63
        for slot, vote, said in self._votes_of(run):
            if not low < slot <= high or (not said and vote.seq > asked_at):
                continue
            if vote.ballot < ballot and self._rows.get(slot, 0) < vote.ballot:
                self.break_(
                    f"{run.node} promises {self.facts.shown(ballot)} and does not report its vote "
                    f"in slot {slot} at {self.facts.shown(vote.ballot)}",
                    self._where,
                    vote.where,
                )

    def _votes_of(self, run: Run) -> list[tuple[int, "_Seen", bool]]:
        found = []
        for slot, vote in run.memory.votes.items():
            if vote.said and slot > run.applied and slot not in run.votes:
                found.append((slot, _Seen(vote.ballot, 0, vote.seq), True))
        for slot, vote in run.votes.items():
            if slot > run.applied:
                found.append((slot, _Seen(vote.ballot, vote.seq, run.at(vote.seq)), False))
        return found


class _Seen:
    __slots__ = ("ballot", "seq", "where")

    def __init__(self, ballot: int, seq: int, where: int) -> None:
        self.ballot, self.seq, self.where = ballot, seq, where
