"""The audit of what running nodes publish: message by message, in bounded memory, without a socket.

    messages of each node ──► take ──┐
    answers to status     ──► hear ──┼──► rules ──► report
    a second passes       ──► settle ┘

That a slot was chosen by no quorum is said only if every voter's silence is certain (``Stream``);
every other rule judges what came by itself. What the streams do not carry is named in
:data:`UNSEEN`.
"""

from collections import OrderedDict, deque
from typing import Any

from paxosctl.audit.acceptor_rules import (
    AcksAbovePromises,
    DurableFirst,
    LogKeeps,
    PromisesKept,
    Remembers,
    ReportsVotes,
    VotesAbovePromises,
)
from paxosctl.audit.client_rules import AcknowledgedChosen, ReadsConfirmed
from paxosctl.audit.findings import Evidence, RuleReport
from paxosctl.audit.leader_rules import AdoptsHighest, BallotsOnce, LeadsByPromises
from paxosctl.audit.learner_rules import AppliedInOrder, ChosenByQuorum
from paxosctl.audit.live_frames import (
    NO_BALLOT,
    Applied,
    Ballot,
    Change,
    FrameError,
    Progress,
    Standing,
    Votes,
    decode,
    shown,
)
from paxosctl.audit.live_stream import Stream
from paxosctl.audit.live_window import Slot, SlotWindow
from paxosctl.audit.members_rule import OneMemory
from paxosctl.audit.membership import EPOCH_ROUNDS, Membership
from paxosctl.audit.rule import Rule
from paxosctl.audit.value_rules import EqualStates, OneValuePerBallot, OneValuePerSlot

WINDOW_SLOTS = 10_000
AHEAD_SLOTS = 4096 + 1024
"""So far above what a node knows another may have voted: as far as a leader runs ahead."""
PATIENCE_MS = 10_000.0
"""For so long the silence of a voter is waited for; then the slot is not checked."""
_EPOCHS_MAX = 64
_CHANGES_MAX = 20_000

UNSEEN: dict[type[Rule], str] = {
    OneValuePerBallot: "the published votes name no value",
    LeadsByPromises: "promises go from node to node, and are not published",
    AdoptsHighest: "promises go from node to node, and are not published",
    ReportsVotes: "promises go from node to node, and are not published",
    DurableFirst: "nothing published says when a record was written",
    LogKeeps: "the logs are on the nodes' disks: audit their data directories",
    AcknowledgedChosen: "answers to clients are not published",
    AcksAbovePromises: "acknowledgements go from node to node, and are not published",
    ReadsConfirmed: "reads are not published",
}
"""Rule → why running nodes show nothing of it."""
_SEEN: dict[type[Rule], str] = {
    OneValuePerSlot: "applied slots",
    ChosenByQuorum: "applied slots",
    VotesAbovePromises: "messages of votes",
    PromisesKept: "answers to status",
    Remembers: "answers to status",
    BallotsOnce: "messages of votes",
    OneMemory: "messages of votes",
    AppliedInOrder: "applied slots",
    EqualStates: "changes and answers to status",
}


class LiveAudit:
    """``broken``: how many violations there are. Times are milliseconds of one clock."""

    def __init__(self, *, slots_max: int = WINDOW_SLOTS) -> None:
        self.slots_max = slots_max
        self.cluster = ""
        self.streams: dict[str, Stream] = {}
        self.notes: OrderedDict[str, int] = OrderedDict()
        self._reports = {
            rule: RuleReport(rule.name, rule.title, rule.source, _SEEN.get(rule, rule.unit))
            for rule in (*_SEEN, *UNSEEN)
        }
        for rule, reason in UNSEEN.items():
            self._reports[rule].skip(reason, 0)
        self._window = SlotWindow(slots_max)
        self._epochs: dict[int, Membership] = {}
        self._open: deque[Slot] = deque()
        self._changes: OrderedDict[tuple[int, int], tuple[bytes, Evidence]] = OrderedDict()
        self._chosen = 0

    # -- what comes

    def add_node(self, node: str, endpoint: str, now_ms: float) -> Stream:
        """A node whose stream is, or will be, connected."""
        stream = self.streams.get(node)
        if stream is None:
            stream = self.streams[node] = Stream(node, endpoint)
            stream.lose(now_ms)
        return stream

    def take(self, node: str, topic: bytes, payload: bytes, now_ms: float) -> None:
        """One message of the connection to ``node``."""
        stream = self.streams[node]
        stream.frames += 1
        try:
            cluster, said = decode(topic, payload)
        except FrameError as error:
            self._note(f"of {node}: {error}")
            return
        if self.cluster and cluster != self.cluster:
            self._note(f"{stream.endpoint} is of another cluster now, {cluster}")
        elif isinstance(said, Votes):
            self._on_votes(stream, said, now_ms)
        elif isinstance(said, Applied):
            self._on_applied(stream, said, now_ms)
        elif isinstance(said, Change):
            self._on_change(stream, said)
        elif isinstance(said, Progress):
            stream.end_fence(said.prefix, now_ms)

    def broke(self, node: str, now_ms: float) -> None:
        """The connection to it was lost: messages may be, too, and it may have started anew."""
        stream = self.streams[node]
        stream.lose(now_ms)
        stream.applied = 0
        self._note(f"the connection to {node} was lost")

    def ask(self, node: str) -> None:
        """It is asked for its status now."""
        stream = self.streams.get(node)
        if stream is not None:
            stream.voted_when_asked = stream.voted

    def hear(self, said: Standing, asked_ms: float) -> None:
        """Its answer."""
        stream = self.streams[said.node]
        before, stream.standing = stream.standing, said
        stream.standing_ms = asked_ms
        if said.membership is not None and said.membership.epoch not in self._epochs:
            self._epochs[said.membership.epoch] = said.membership
            while len(self._epochs) > _EPOCHS_MAX:
                del self._epochs[min(self._epochs)]
        self._compare_promises(stream, before, said)
        states = self._reports[EqualStates]
        states.checked += 1
        if said.difference:
            states.violate(said.difference, stream.evidence("status"))
        self._resolve()

    def unheard(self, node: str, asked_ms: float) -> None:
        """It did not answer."""
        stream = self.streams[node]
        stream.standing, stream.standing_ms = None, asked_ms
        self._resolve()

    # -- rules

    def _compare_promises(self, stream: Stream, before: Standing | None, said: Standing) -> None:
        same_memory = before is not None and before.directory == said.directory
        if before is not None and before.run_id == said.run_id:
            report = self._reports[PromisesKept]
            report.checked += 1
            if said.promised < before.promised:
                report.violate(
                    f"{said.node} has promised {shown(said.promised)}, and had promised "
                    f"{shown(before.promised)} in the same run",
                    stream.evidence("status"),
                )
        if not same_memory:
            # It has begun anew, and votes again once a change of the membership lets it.
            stream.voted = stream.voted_when_asked = stream.promised = NO_BALLOT
            return
        report = self._reports[Remembers]
        report.checked += 1
        if said.promised < stream.voted_when_asked:
            report.violate(
                f"{said.node} says that it promised nothing above {shown(said.promised)}, and had "
                f"voted at {shown(stream.voted_when_asked)}",
                *(each for each in (stream.voted_at, stream.evidence("status")) if each),
            )

    def _on_votes(self, stream: Stream, said: Votes, now_ms: float) -> None:
        where = self._follow_run(stream, said, now_ms)
        if where is None:
            return
        report = self._reports[VotesAbovePromises]
        report.checked += 1
        slots = f"slot {said.ranges[0][0]}" if said.ranges else "no slot"
        if said.ballot < stream.voted:
            report.violate(
                f"{said.node} votes in {slots} at {shown(said.ballot)}, and had voted at "
                f"{shown(stream.voted)}, which promises that",
                *(each for each in (stream.voted_at, where) if each),
            )
        elif said.ballot < stream.promised:
            report.violate(
                f"{said.node} votes in {slots} at {shown(said.ballot)}, and had promised "
                f"{shown(stream.promised)} before, as its status said",
                where,
            )
        else:
            stream.voted, stream.voted_at = said.ballot, where
        self._check_voter(stream, said, where)
        for first, last in said.ranges:
            for number in range(first, last + 1):
                slot = self._window.get(number)
                if slot is None or slot.judged:
                    continue
                if slot.digest and stream.fenced_ms > slot.since_ms:
                    continue  # it left after the slot had been applied somewhere
                slot.votes.setdefault(said.ballot, set()).add(said.node)
                if slot.digest:
                    self._try(slot)

    def _follow_run(self, stream: Stream, said: Votes, now_ms: float) -> Evidence | None:
        """Take note of the run and number of a message; None: it is not to be judged."""
        if said.node != stream.node:
            self._note(f"votes of {said.node} came over the connection to {stream.node}")
            return None
        if said.run_id != stream.run_id:
            if said.run_id >> 20 < stream.run_id >> 20:
                self._reports[BallotsOnce].skip(
                    f"votes of an earlier run of {said.node} came after those of a later one"
                )
                return None
            if stream.run_id:
                stream.lose(now_ms)
                stream.applied = 0
            stream.run_id, stream.seq = said.run_id, said.seq - 1
            stream.runs += 1
        if said.seq != stream.seq + 1:
            missing = max(0, said.seq - stream.seq - 1)
            stream.missed += missing
            stream.lose(now_ms)
            self._reports[VotesAbovePromises].skip(
                f"messages of votes of {said.node} were lost on the way: it publishes faster than "
                "they were read here, or the connection broke",
                missing,
            )
        stream.count_votes(said.seq)
        return stream.evidence(f"accepted #{said.seq}")

    def _check_voter(self, stream: Stream, said: Votes, where: Evidence) -> None:
        """Who campaigns with a ballot must have a vote in its epoch, and who votes must do so out
        of the data directory that the membership names."""
        membership = self._epochs.get(said.ballot[0] // EPOCH_ROUNDS)
        ballots, memory = self._reports[BallotsOnce], self._reports[OneMemory]
        if membership is None:
            words = f"the members of epoch {said.ballot[0] // EPOCH_ROUNDS} are not known"
            ballots.skip(words)
            memory.skip(words)
            return
        ballots.checked += 1
        if said.ballot[1] not in membership.voters:
            ballots.violate(
                f"{said.node} votes at {shown(said.ballot)}, and {said.ballot[1]} is no voter of "
                f"epoch {membership.epoch}",
                where,
            )
        standing, named = stream.standing, membership.voters.get(said.node, 0)
        if standing is None or standing.run_id != said.run_id or not standing.directory:
            memory.skip(f"the data directory of {said.node} was not known yet")
            return
        memory.checked += 1
        if named and named != standing.directory:
            memory.violate(
                f"{said.node} votes in epoch {membership.epoch} out of the data directory "
                f"{standing.directory:x}; the membership names {named:x}",
                where,
            )

    def _on_applied(self, stream: Stream, said: Applied, now_ms: float) -> None:
        where = stream.evidence(f"learned slot {said.slot}")
        order = self._reports[AppliedInOrder]
        if not stream.applied:
            order.skip("the slot before it was not seen")
        elif said.slot == stream.applied + 1:
            order.checked += 1
        elif said.slot <= stream.applied and stream.blind:
            # The rest of the last connection stands before what comes over the next one.
            order.skip("the node started anew, or its connection did")
        elif said.slot <= stream.applied:
            order.violate(f"{stream.node} applies slot {said.slot} after {stream.applied}", where)
        else:
            order.skip(
                f"applied slots of {stream.node} are missing: it took in a snapshot, or publishes "
                "faster than they were read here",
                said.slot - stream.applied - 1,
            )
        stream.applied = said.slot
        slot = self._window.get(said.slot)
        report = self._reports[OneValuePerSlot]
        if slot is None:
            report.skip(f"it lies below the window of {self.slots_max} slots")
        elif not slot.digest:
            report.checked += 1
            slot.digest, slot.ballot = said.digest, said.ballot
            slot.since_ms, slot.evidence = now_ms, where
            self._open.append(slot)
            self._try(slot)
        elif slot.digest != said.digest:
            report.violate(
                f"slot {said.slot} has two values that are held for chosen",
                *(each for each in (slot.evidence, where) if each),
            )
        self._judge_left(now_ms)

    def _on_change(self, stream: Stream, said: Change) -> None:
        report = self._reports[EqualStates]
        report.checked += 1
        where = stream.evidence(f"revision {said.revision}")
        key = said.revision, said.ordinal
        held = self._changes.setdefault(key, (said.digest, where))
        if held[0] != said.digest:
            report.violate(
                f"revision {said.revision} is another change on {stream.node} than on "
                f"{held[1].node}",
                held[1],
                where,
            )
        if len(self._changes) > _CHANGES_MAX:
            self._changes.popitem(last=False)

    # -- was it chosen by a quorum?

    def _try(self, slot: Slot) -> bool:
        """Whether the votes that were seen are a quorum."""
        if slot.judged:
            return True
        for ballot, voters in slot.votes.items():
            membership = self._epochs.get(ballot[0] // EPOCH_ROUNDS)
            if membership is None or slot.number < membership.slot:
                continue
            if len(voters & membership.voters.keys()) >= membership.phase2:
                self._reports[ChosenByQuorum].checked += 1
                self._chosen += 1
                slot.judged = True
                return True
        return False

    def settle(self, now_ms: float) -> None:
        """To be called about once a second."""
        while self._open and (self._open[0].judged or self._judge(self._open[0], now_ms)):
            self._open.popleft()
        self._judge_left(now_ms)

    def finish(self, now_ms: float) -> None:
        """Nothing more comes."""
        self.settle(now_ms)
        for slot in self._open:
            if not slot.judged and not self._judge(slot, now_ms):
                self._skip(slot, "the audit ended before their votes could have come")
        self._open.clear()

    def _judge_left(self, now_ms: float) -> None:
        for slot in self._window.left:
            if slot.digest and not slot.judged and not self._judge(slot, now_ms):
                self._skip(slot, f"they fell out of the window of {self.slots_max} slots")
        self._window.left.clear()

    def _judge(self, slot: Slot, now_ms: float) -> bool:
        """Say what there is to say of a slot without a quorum of votes; False: later."""
        if self._try(slot):
            return True
        epoch = max((slot.ballot, *slot.votes))[0] // EPOCH_ROUNDS
        membership = self._epochs.get(epoch)
        if membership is None:
            return self._skip(slot, f"the members of epoch {epoch} are not known")
        waits = False
        for name in membership.voters:
            stream = self.streams.get(name)
            if stream is None:
                return self._skip(slot, f"{name} publishes where this audit does not listen")
            if not stream.blind and slot.number <= stream.blind_to:
                return self._skip(slot, f"votes of {name} may have been missed")
            waits = waits or stream.blind or stream.sure_ms <= slot.since_ms
        if not waits:
            self._break_quorum(slot, membership)
            return True
        if now_ms - slot.since_ms > PATIENCE_MS:
            late = [
                name
                for name in membership.voters
                if self.streams[name].blind or self.streams[name].sure_ms <= slot.since_ms
            ]
            return self._skip(slot, f"votes of {', '.join(sorted(late))} may have been missed")
        return False

    def _skip(self, slot: Slot, reason: str) -> bool:
        self._reports[ChosenByQuorum].skip(reason)
        slot.judged = True
        return True

    def _break_quorum(self, slot: Slot, membership: Membership) -> None:
        report = self._reports[ChosenByQuorum]
        report.checked += 1
        slot.judged = True
        votes = "; ".join(
            f"{', '.join(sorted(voters))} at {shown(ballot)}"
            for ballot, voters in sorted(slot.votes.items())
        )
        report.violate(
            f"slot {slot.number} was applied, and {membership.phase2} of the voters "
            f"{', '.join(sorted(membership.voters))} have not voted for it at one ballot; votes: "
            f"{votes or 'none'}",
            *([slot.evidence] if slot.evidence else []),
        )

    # -- holes

    def _resolve(self) -> None:
        """Where a fence has come since the hole, and all nodes were asked after it, every slot up
        to the highest that anybody knows may have a vote in the hole, and none above."""
        streams = self.streams.values()
        asked_ms = min((each.standing_ms for each in streams), default=-1.0)
        frontier = max((s.standing.frontier for s in streams if s.standing), default=0)
        silent = any(each.standing is None for each in streams)
        for stream in streams:
            if stream.blind and stream.is_resolved(asked_ms):
                reach = max(frontier, self._window.highest)
                stream.blind = False
                stream.blind_to = reach + (AHEAD_SLOTS if silent else 0)

    # -- what it says

    @property
    def broken(self) -> int:
        """How many violations there are."""
        return sum(report.broken for report in self._reports.values())

    def summary(self) -> dict[str, Any]:
        """How far it is, in numbers."""
        skipped = self._reports[ChosenByQuorum].unchecked
        return {
            "slots": self._reports[OneValuePerSlot].checked,
            "chosen": self._chosen,
            "not_judged": sum(skipped.values()),
            "votes": sum(stream.votes for stream in self.streams.values()),
            "missed": sum(stream.missed for stream in self.streams.values()),
            "waiting": sum(not slot.judged for slot in self._open),
            "nodes": sorted(n for n, s in self.streams.items() if s.standing is not None),
            "silent": sorted(n for n, s in self.streams.items() if s.standing is None),
            "violations": self.broken,
        }

    def data(self) -> dict[str, Any]:
        """For programs: the form of an audit of files. ``events`` of a node are its messages."""
        reports = list(self._reports.values())
        for report in reports:
            if not (report.checked or report.broken or report.unchecked):
                report.skip(f"no {report.unit} came", 0)
        return {
            "cluster": self.cluster,
            "violations": self.broken,
            "rules": [report.data() for report in reports],
            "nodes": [
                {"node": name, "runs": each.runs, "events": each.frames, "log": False,
                 "log_from": 0, "log_commit": 0}
                for name, each in sorted(self.streams.items())
            ],
            "notes": [f"{text} ({n} times)" if n > 1 else text for text, n in self.notes.items()],
        }  # fmt: skip

    def _note(self, text: str) -> None:
        if text in self.notes or len(self.notes) < 50:
            self.notes[text] = self.notes.get(text, 0) + 1


__all__ = ["UNSEEN", "WINDOW_SLOTS", "Ballot", "LiveAudit"]
