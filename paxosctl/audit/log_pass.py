"""Goes through the logs: what they say goes to the facts, and what breaks a rule to that rule.

Only the records of whole groups count: a torn group was never durable, and nobody heard of it.
"""

from collections.abc import Iterator

from paxosctl.audit import wal_file
from paxosctl.audit.acceptor_rules import PromisesKept, VotesAbovePromises
from paxosctl.audit.facts import Facts, LogFacts, digest_of
from paxosctl.audit.membership import Change, changes_in
from paxosctl.audit.rights import RightsChange
from paxosctl.audit.slots import SlotMap
from paxosctl.audit.sources import DataDirectory
from paxosctl.audit.value_rules import OneValuePerBallot, OneValuePerSlot


class LogPass:
    """``troubles`` gets what was torn or damaged."""

    def __init__(
        self,
        facts: Facts,
        rules: tuple[PromisesKept, VotesAbovePromises, OneValuePerBallot, OneValuePerSlot],
        troubles: list[str],
    ) -> None:
        self._facts = facts
        self._promises, self._votes, self._per_ballot, self._per_slot = rules
        self._troubles = troubles
        self._changes: dict[int, list[Change | RightsChange]] = {}
        self._heard: dict[tuple[str, int], tuple[int, str]] = {}
        """Node and directory → up to which group its log was durable, and who had heard that."""

    def read(self, homes: list[DataDirectory]) -> None:
        """All logs, then the memberships that they hold. Raises OSError."""
        for home in homes:
            if home.segments:
                self._read_log(home)
        for log in self._facts.logs.values():
            self._look_for_its_end(log)
        in_order = [change for slot in sorted(self._changes) for change in self._changes[slot]]
        self._facts.epochs.apply(in_order)

    def _read_log(self, home: DataDirectory) -> None:
        facts = self._facts
        rank = facts.rank[home.node]
        log = LogFacts(home, rank, usable=not home.lost)
        if rank in facts.logs:  # two directories of one name: neither is the whole truth
            facts.logs[rank].usable = log.usable = False
        facts.logs[rank] = log
        newest, newest_at = SlotMap(), SlotMap()
        lowest = 0
        changes: dict[tuple[int, int], list[Change | RightsChange]] = {}
        for segment in home.segments:
            number = len(facts.segments)
            facts.segments.append(segment)
            for record in self._records_of(segment, log):
                where = facts.in_log(number, record.offset)
                if record.kind in (wal_file.ACCEPT, wal_file.DECISION):
                    slot, value = record.slot, record.value
                    digest = digest_of(value) + 1
                    newest.set(slot, digest)
                    newest_at.set(slot, where)
                    if found := list(changes_in(slot, value)):
                        changes[slot, digest] = found
                    if record.kind == wal_file.DECISION:
                        self._per_slot.note(slot, digest, where)
                    else:
                        ballot = facts.ballot(record.round, record.voter)
                        self._vote(log, ballot, slot, digest, where)
                elif record.kind in (wal_file.PROMISE, wal_file.STATE):
                    self._promise(log, facts.ballot(record.round, record.voter), where)
                elif record.kind == wal_file.HEARD:
                    heard = self._heard.setdefault((record.voter, record.commit), (0, ""))
                    self._heard[record.voter, record.commit] = max(heard, (record.slot, home.node))
                log.commit = max(log.commit, self._commit_of(record))
                if record.kind in (wal_file.STATE, wal_file.RELEASE):
                    log.first = max(log.first, record.slot)
                    lowest = max(lowest, record.lowest)
            self._follow(log, segment)
            if segment.damaged:
                log.usable = False
            if segment.trouble:
                self._troubles.append(
                    f"{segment.path}: {segment.trouble}, from {segment.torn_at} on; what comes "
                    "before it is used"
                )
        begins = home.segments[0].number
        if 0 < lowest < begins:
            log.usable = False
            self._troubles.append(
                f"the log of {home.node} begins with segment {lowest}, and here with {begins}: "
                "what is not in it proves nothing"
            )
        self._settle(log, newest, newest_at, changes)

    def _records_of(self, segment: wal_file.Segment, log: LogFacts) -> Iterator[wal_file.Record]:
        try:
            yield from wal_file.records_of(segment)
        except FileNotFoundError:
            log.usable = False
            self._troubles.append(f"{segment.path} is gone: the node that runs gave it back")

    def _follow(self, log: LogFacts, segment: wal_file.Segment) -> None:
        """Groups are numbered on over the segments: one that was cut leaves a gap."""
        if not segment.first_group:
            return
        if log.last_group and segment.first_group > log.last_group + 1:
            log.usable = False
            self._troubles.append(
                f"{segment.path} goes on with group {segment.first_group} after {log.last_group}: "
                "what stood between them was cut off the segment before, and the log proves nothing"
            )
        log.last_group = max(log.last_group, segment.last_group)

    def _look_for_its_end(self, log: LogFacts) -> None:
        """Whether somebody knows of a later group: the node's second witness, or a peer. Then the
        log's end is gone, though it looks like one. No breach: a copy of a running node is so, too.
        """
        home, last = log.home, log.last_group
        tail = home.tail_mark
        if tail is not None and tail.group > last:
            nonces = {each.nonce for each in home.segments if each.number == tail.segment}
            if nonces in (set(), {tail.nonce}):
                self._say_cut(log, tail.group, f"{home.path}'s tail-mark says")
                return
        mark, by = self._heard.get((home.node, home.directory), (0, ""))
        if mark > last and home.directory:
            self._say_cut(log, mark, f"{by} had heard from it")

    def _say_cut(self, log: LogFacts, group: int, who: str) -> None:
        if _last_group_now(log) >= group:
            return  # the node runs, and wrote it meanwhile
        self._troubles.append(
            f"the log of {log.home.node} ends with group {log.last_group}, and {who} that group "
            f"{group} was durable: its end was cut off, it was put back, or it was copied while "
            "the node ran"
        )

    @staticmethod
    def _commit_of(record: wal_file.Record) -> int:
        return record.slot if record.kind == wal_file.COMMIT else record.commit

    def _vote(self, log: LogFacts, ballot: int, slot: int, digest: int, where: int) -> None:
        facts = self._facts
        self._votes.report.checked += 1
        if ballot < log.promised:
            self._votes.break_(
                f"the log of {log.home.node} has a vote in slot {slot} at {facts.shown(ballot)} "
                f"after the promise of {facts.shown(log.promised)}",
                where,
            )
        log.promised = max(log.promised, ballot)
        self._per_ballot.note(ballot, slot, digest, where)
        facts.votes(ballot).said.add(slot, 1 << log.rank)
        logged = facts.logged.get(ballot)
        if logged is None:
            logged = facts.logged[ballot] = SlotMap()
        logged.add(slot, 1 << log.rank)

    def _promise(self, log: LogFacts, ballot: int, where: int) -> None:
        self._promises.report.checked += 1
        if ballot < log.promised:
            facts = self._facts
            self._promises.break_(
                f"the log of {log.home.node} has the promise {facts.shown(ballot)} after "
                f"{facts.shown(log.promised)}",
                where,
            )
        log.promised = max(log.promised, ballot)

    def _settle(
        self,
        log: LogFacts,
        newest: SlotMap,
        newest_at: SlotMap,
        changes: dict[tuple[int, int], list[Change | RightsChange]],
    ) -> None:
        """Of each slot up to the commit index the newest record has the chosen value."""
        for slot, digest in newest.items():
            if log.first <= slot <= log.commit:
                self._per_slot.note(slot, digest, newest_at.get(slot))
        for (slot, digest), found in changes.items():
            if newest.get(slot) == digest and slot <= log.commit:
                self._changes[slot] = found


def _last_group_now(log: LogFacts) -> int:
    """The last whole group in the newest segment, read anew."""
    directory = log.home.segments[-1].path.parent
    numbers = {number: each for each in directory.iterdir()
               if (number := wal_file.segment_number(each.name)) is not None}  # fmt: skip
    try:
        segment = wal_file.open_segment(numbers[max(numbers)])
        for _ in wal_file.records_of(segment):
            pass
    except (OSError, ValueError):  # a bare file under another name, or one that is gone
        return 0
    return segment.last_group
