"""The rules that every simulated run must keep, checked at every step on all nodes at once.

    one-value        one slot has one chosen value, on every node and for ever
    one-proposal     under one ballot a slot is proposed with one value, and once a majority has
                     voted for a value, no other is proposed at a higher ballot
    quorum           a majority has promised its ballot to a leader; a majority has voted, under
                     one ballot, for what is applied
    promise          a node's promised ballot never goes down, not across restarts either; a node
                     never accepts a lower ballot; it starts with the promise that its log holds
    memory           after a restart a node still has every promise and every vote that it sent,
                     and no vote that it never cast
    proposed         every applied value is a NOOP, or holds only what clients have sent
    order            each life of a node applies slots 1, 2, 3 … without gaps or repeats
    equal-states     after the same slot all nodes have the same state (chain, revision)
    log              a node's log gives back for a slot what the node applied
    watch            each watcher gets every change once and in order (``watch_truth.py``)
    epoch            one epoch has one membership; a node promises and accepts only ballots of
                     epochs that it has reached
    founding         all nodes that act do so in one cluster, which was founded once
    named            a node promises, votes or leads only with the data directory that votes in its
                     name in that epoch
    level            the feature level is raised only to what every member's program understands
    turn             no turn of a node's loop does more than TURN_UNITS_MAX (``core/work.py``)
    log-time, session    see ``clock_checks.py``
    lease            see ``lease_checks.py``
    quota            see ``quota_checks.py``
    rights           see ``rights_checks.py``

A breach raises :class:`Violation`. The steps are reported by ``watched.py``.
"""

from collections.abc import Callable, Sequence

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings, SettingsError
from paxosd.core.commands import changes_members, changes_settings, with_requester
from paxosd.core.effects import AcceptRecord, PromiseRecord, Ready
from paxosd.core.genesis import Record
from paxosd.core.membership import UNKNOWN, Membership
from paxosd.core.messages import Accept, Accepted, Nack, PeerMessage, Prepare, Promise, Votes
from paxosd.core.node import Node
from paxosd.core.state.machine import Machine
from paxosd.core.types import NOOP, NULL_BALLOT, Ballot, NodeId, Slot
from paxosd.core.work import TURN_UNITS_MAX
from paxosd.sim.cluster.ballot_box import BallotBox
from paxosd.sim.cluster.clock_checks import ClockChecks
from paxosd.sim.cluster.lease_checks import LeaseChecks
from paxosd.sim.cluster.rights_checks import RightsChecks
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.cluster.watch_truth import WatchTruth
from paxosd.sim.cluster.witnesses import Witnesses
from paxosd.storage.wal import Recovered, Wal
from paxosd.wire import EntryLimits, WireError, decode_entry, encode_entry, unpack

_OF_AN_EPOCH = frozenset({AcceptRecord, PromiseRecord})
_PROMISING = frozenset({Promise, Prepare, Nack})
"""Messages that leave only once the sender's promise is durable."""


class _SentMemory:
    """The promises and votes that one node has sent: its memory must never fall behind them."""

    __slots__ = ("promised", "votes")

    def __init__(self) -> None:
        self.promised = NULL_BALLOT
        self.votes: dict[Slot, Ballot] = {}

    def vote(self, ballot: Ballot, first: Slot, last: Slot) -> None:
        """It sent votes for these slots."""
        for slot in range(first, last + 1):
            if ballot > self.votes.get(slot, NULL_BALLOT):
                self.votes[slot] = ballot


class Invariants:
    """The checks of one run. ``chosen``: slot → value as the nodes have it; ``proposed``: every
    entry ever sent; ``box``: the promises and votes as they were really made."""

    def __init__(self, names: Sequence[NodeId] = (), clock: ClockChecks | None = None) -> None:
        """``names``: the voters of epoch 0. ``clock``: None if log time is not checked."""
        self.box = BallotBox(names)
        self._first = list(names)
        self.understood: dict[NodeId, int] = {}
        """Node → the highest feature level that its present program understands; 0 if it is not
        there. Nodes learn it from here, in place of the handshake."""
        self.level = 0
        """The feature level that the log has raised the cluster to."""
        self.clock = clock
        self.chosen: dict[Slot, bytes] = {}
        self.proposed: set[bytes] = set()
        """As encoded. Only used for lookups, never iterated: its order is that of hashes."""
        self.leaders: dict[Ballot, NodeId] = {}
        """Every reign that began, in order."""
        self.memberships: dict[int, bytes] = {}
        """Epoch → the membership, as JSON."""
        self.witnesses: Witnesses | None = None
        """Which node heard which vote; None if the run needs no witnesses."""
        self.watch: WatchTruth | None = None
        """The changes that watchers must get; None if there are no watchers."""
        self.leases: LeaseChecks | None = None
        """None if nobody holds leases."""
        self.rights: RightsChecks | None = None
        """None if nobody has a key."""
        self.turn_units_max = 0
        """The work of the longest turn so far, in units of ``core/work.py``."""
        self._members: dict[int, Membership] = {}
        self._founding: Record | None = None
        """The founding record of the first node that acted."""
        self._named: set[tuple[NodeId, int, int]] = set()
        """(name, directory_id, epoch) of those known to be named. Only used for lookups."""
        self._settings: dict[int, bytes] = {}
        """Version → the replicated settings, as JSON."""
        self._states: dict[Slot, tuple[int, int, int]] = {}
        self._history: tuple[int, int] | None = None
        """How many revisions are kept at least, and the revision from which on; None: none yet."""
        self._sent: dict[NodeId, _SentMemory] = {}
        self._cast: set[tuple[NodeId, Slot, Ballot]] = set()
        """Every vote that a node was about to make durable. Only used for lookups."""
        self._set_aside: set[tuple[NodeId, int]] = set()
        """(name, directory_id) of nodes whose logs were damaged. Only used for lookups."""

    def watch_changes(self) -> WatchTruth:
        """Collect, from now on, the changes that watchers must get."""
        self.watch = WatchTruth()
        return self.watch

    def watch_leases(self, now_ms: Callable[[], float]) -> LeaseChecks:
        """Check, from now on, when leases end. ``now_ms()``: true time."""
        self.leases = LeaseChecks(now_ms)
        return self.leases

    def call_witnesses(self, now_ms: Callable[[], float]) -> None:
        """Note, from now on, which node heard which vote. ``now_ms()``: true time."""
        self.witnesses = Witnesses(now_ms)

    # -- a node's life

    def recovered(self, name: NodeId, recovered: Recovered) -> None:
        """A node has read its log."""
        for slot, (ballot, value) in recovered.accepted.items():
            if (name, slot, ballot) not in self._cast:
                raise Violation(
                    "memory",
                    f"{name} takes for its own a vote for {tuple(ballot)} in slot {slot}, which it "
                    "never cast",
                )
            # It is durable, though perhaps it was never sent: from now on it counts.
            self._raise("one-proposal", self.box.propose(slot, ballot, value))
            self._raise("one-value", self.box.vote(name, ballot, slot))
        sent = self._sent.get(name)
        if sent is None:
            return
        if recovered.promised < sent.promised:
            raise Violation(
                "promise",
                f"{name} promised {tuple(sent.promised)}, but after a restart knows only of "
                f"{tuple(recovered.promised)}",
            )
        for slot, ballot in sent.votes.items():
            if slot <= recovered.commit:
                continue
            held = recovered.accepted.get(slot)
            if held is None or held[0] < ballot:
                raise Violation(
                    "memory",
                    f"{name} voted for {tuple(ballot)} in slot {slot}, but after a restart its "
                    f"log has {tuple(held[0]) if held is not None else 'nothing'} there",
                )
        sent.votes = {slot: b for slot, b in sent.votes.items() if slot > recovered.commit}

    def started(self, name: NodeId, promised: Ballot, recovered: Recovered) -> None:
        """A node has what it read. What it promised beyond that, from memory alone, the next start
        would not know of."""
        if promised != recovered.promised:
            raise Violation(
                "promise",
                f"{name} starts with a promise of {tuple(promised)}, but its log holds one of "
                f"{tuple(recovered.promised)}",
            )

    def forgive(self, name: NodeId, directory_id: int = 0) -> None:
        """The node has lost its memory in a way that the product is allowed to: what it has sent
        before no longer counts. ``directory_id``: the identity under which a node goes on that has
        set its damaged log aside; 0: its disk was replaced."""
        self._sent.pop(name, None)
        if directory_id:
            self._set_aside.add((name, directory_id))

    def adopt(self, name: NodeId, node: Node, machine: Machine, wal: Wal) -> None:
        """A node is here that lived before anything was checked: what it has done is taken for
        what it remembers. Its machine was a WatchedMachine."""
        promised = node.promised
        sent = self._sent[name] = _SentMemory()
        sent.promised = promised
        self.box.promise(name, promised)
        if node.leading:
            self.leaders[promised] = name
        for slot in range(wal.first_slot, wal.last_slot + 1):
            try:
                ballot, value = wal.read(slot)
            except KeyError:
                continue
            self._cast.add((name, slot, ballot))
            if slot <= node.applied:
                self.chosen.setdefault(slot, value)
                continue
            self.box.propose(slot, ballot, value)
            self.box.vote(name, ballot, slot)
            sent.vote(ballot, slot, slot)
            if value != NOOP:
                self.proposed.update(unpack(value)[1])
        self._founding = self._founding or node.record
        self.on_state(name, machine.applied, machine)

    # -- what a node does

    def on_ready(self, name: NodeId, node: Node, ready: Ready) -> None:
        """One batch of effects, before it is performed."""
        sent = self._sent.get(name)
        if sent is None:
            sent = self._sent[name] = _SentMemory()
        epoch = node.membership.epoch
        for record in ready.persist:
            kind = type(record)
            if kind in _OF_AN_EPOCH and record.ballot.epoch > epoch:  # type: ignore[union-attr]  # by its type
                raise Violation(
                    "epoch",
                    f"{name} takes {tuple(record.ballot)} at epoch {epoch}",  # type: ignore[union-attr]  # the same
                )
            if kind in _OF_AN_EPOCH:
                self._check_named(name, node, record.ballot.epoch)  # type: ignore[union-attr]  # the same
            if kind is AcceptRecord:
                slot, ballot, value = record  # type: ignore[misc]  # by its type
                if ballot < sent.promised:
                    raise Violation(
                        "promise",
                        f"{name} accepts {tuple(ballot)} in slot {slot}, though it promised "
                        f"{tuple(sent.promised)}",
                    )
                self._raise("one-proposal", self.box.propose(slot, ballot, value))
                self._cast.add((name, slot, ballot))
                if self.witnesses is not None:
                    self.witnesses.cast(name, slot, ballot)
                if self.clock is not None:
                    self.clock.on_proposed(slot, value)
            elif kind is PromiseRecord and record.ballot < sent.promised:  # type: ignore[union-attr]  # by its type
                raise Violation("promise", f"{name} promises {record} after {tuple(sent.promised)}")
        promised = node.promised
        if promised < sent.promised:
            raise Violation(
                "promise", f"{name} went from {tuple(sent.promised)} down to {tuple(promised)}"
            )
        for _, message in ready.sends:
            if type(message) in _PROMISING:
                ballot = message.promised if type(message) is Nack else message.ballot  # type: ignore[union-attr]  # by its type
                if ballot > promised:
                    raise Violation("promise", f"{name} sends {ballot}, promised {promised}")
                sent.promised = max(sent.promised, ballot)
                if type(message) is not Nack:
                    self.box.promise(name, ballot)
            elif type(message) is Accept:
                if self.clock is not None:
                    self.clock.on_proposed(message.slot, message.value)
            elif type(message) is Votes:
                for ballot, first, last in message.votes:
                    self._voted(name, sent, ballot, first, last)
        for ballot, ranges, _ in ready.publishes:
            sent.promised = max(sent.promised, ballot)
            for first, last in ranges:
                self._voted(name, sent, ballot, first, last)
        for slot, _, value, batch in ready.applied:
            if slot not in self.chosen and self.clock is not None:
                wrong = self.clock.on_chosen(slot, value, batch)
                self._raise("session" if wrong.startswith("session") else "log-time", wrong)
            self.on_chosen(name, slot, value)

    def _voted(
        self, name: NodeId, sent: _SentMemory, ballot: Ballot, first: Slot, last: Slot
    ) -> None:
        sent.vote(ballot, first, last)
        for slot in range(first, last + 1):
            wrong = self.box.vote(name, ballot, slot)
            if wrong:
                raise Violation("one-value", wrong)

    def _check_named(self, name: NodeId, node: Node, epoch: int) -> None:
        """A node acts under a ballot of this epoch: its directory must be the one that votes in
        its name then, and the cluster the one that was founded. This is decided from what was
        founded and chosen, not from what the node believes."""
        key = (name, node.directory_id, epoch)
        if key in self._named:
            return
        if epoch:
            membership = self._members[epoch]
            entry = membership.members.get(name)
            directory_id = entry.directory_id if entry is not None and entry.voter else 0
        else:
            record = node.record
            self._founding = self._founding or record
            if record is None or record != self._founding:
                raise Violation("founding", f"{name} acts in a cluster of its own: {record}")
            founder = record.members.get(name)
            directory_id = founder.directory_id if founder is not None and founder.voter else 0
        if directory_id != node.directory_id:
            raise Violation(
                "named",
                f"{name} acts in epoch {epoch} out of directory {node.directory_id}; the one that "
                f"votes in its name then is {directory_id or 'none'}",
            )
        self._named.add(key)

    def _raise(self, kind: str, wrong: str) -> None:
        if wrong:
            raise Violation(kind, wrong)

    def heard(self, by: NodeId, name: NodeId, message: PeerMessage) -> None:
        """A node receives a message of another: note the votes in it."""
        witnesses = self.witnesses
        assert witnesses is not None
        if isinstance(message, Accepted):
            votes = [(message.ballot, first, last) for first, last in message.ranges]
        elif isinstance(message, Votes):
            votes = list(message.votes)
        else:
            return
        for ballot, first, last in votes:
            for slot in range(first, last + 1):
                witnesses.heard(by, name, slot, ballot)

    def on_chosen(self, name: NodeId, slot: Slot, value: bytes) -> None:
        """A node learns that this value is chosen."""
        known = self.chosen.get(slot)
        if known is None:
            if not self.box.has_chosen(slot, value):
                raise Violation(
                    "quorum", f"{name} applies a value to slot {slot} that no majority voted for"
                )
            self.chosen[slot] = value
            self._check_proposed(slot, value)
        elif known != value:
            raise Violation("one-value", f"{name} has another value for slot {slot} than others")

    def _check_proposed(self, slot: Slot, value: bytes) -> None:
        if value == NOOP:
            return
        _, blobs, *_ = unpack(value)
        for blob in blobs:
            if blob not in self.proposed and not (
                self._is_leaders_own(blob) or (self.rights is not None and self._is_named(blob))
            ):
                raise Violation("proposed", f"slot {slot} holds an entry that no client sent")

    def _is_named(self, blob: bytes) -> bool:
        """Whether a client has sent it, and a node has written into it whose key that was."""
        try:
            entry = decode_entry(blob, EntryLimits(client_names=True, coordination=True, keys=True))
        except WireError:
            return False
        return not entry.session and encode_entry(with_requester(entry, b"")) in self.proposed

    def _is_leaders_own(self, blob: bytes) -> bool:
        """Whether a leader may have proposed this by itself: a leader lets a node that has set its
        log aside vote again, and it raises the feature level."""
        try:
            entry = decode_entry(blob)
        except WireError:
            return False
        if len(entry.commands) != 1:
            return False
        if changes_settings(entry):
            return self._is_raise(*entry.commands[0][1:])
        return changes_members(entry) and self._is_rejoin(*entry.commands[0][1:])

    def _is_raise(self, version: int, _epoch: int, document: bytes) -> bool:
        """Whether it changes nothing but the level, once there are settings."""
        before = ClusterSettings.from_json(self._settings.get(version, b""))
        try:
            after = before.follow(document)
        except SettingsError:
            return False
        rest = after._replace(version=before.version, level=before.level)
        return after.level > before.level and (not version or rest == before)

    def _is_rejoin(self, epoch: int, document: bytes) -> bool:
        members = Membership.from_command(document, epoch + 1, 1).members
        return any(
            name in members and members[name].directory_id == directory_id
            for name, directory_id in self._set_aside
        )

    @property
    def newest_membership(self) -> Membership:
        """The latest one that any node has applied, also one that is down by now; without members
        at epoch 0."""
        return self._members[max(self._members)] if self._members else UNKNOWN

    def on_turn(self, name: NodeId, units: int) -> None:
        """A node's turn is over, and did so many units of work."""
        self.turn_units_max = max(self.turn_units_max, units)
        if units > TURN_UNITS_MAX:
            raise Violation("turn", f"a turn of {name} did {units} units of work")

    def is_new(self, slot: Slot) -> bool:
        """Whether no node has applied this slot before."""
        return slot not in self._states

    def on_applied(self, name: NodeId, slot: Slot, before: Slot, machine: Machine) -> None:
        """A node has applied a slot, ``before`` was the last one."""
        if slot != before + 1:
            raise Violation("order", f"{name} applied slot {slot} after slot {before}")
        if self.clock is not None and self.is_new(slot):
            self.clock.on_applied(slot, machine)
        if self.leases is not None and self.is_new(slot):
            self.leases.on_applied(slot, machine)
        self.on_state(name, slot, machine)

    def on_state(self, name: NodeId, slot: Slot, machine: Machine) -> None:
        """A node has this state after a slot, by applying it or from a snapshot."""
        membership = machine.membership
        if membership.epoch and membership.epoch not in self.memberships:
            self.memberships[membership.epoch] = membership.to_json()
            self._members[membership.epoch] = membership
            self.box.change(membership)
        elif membership.epoch and membership.slot == slot + 1:
            known = self.memberships[membership.epoch]
            if known != membership.to_json():
                raise Violation("epoch", f"{name} has another membership {membership.epoch}")
        self._on_settings(name, machine)
        state = (machine.chain, machine.store.revision, machine.kept_from_revision)
        if self._states.setdefault(slot, state) != state:
            other = self._states[slot]
            raise Violation(
                "equal-states",
                f"after slot {slot} {name} has chain {state[0]:08x} at revision {state[1]}, and "
                f"history from {state[2]} on; another node {other[0]:08x}, {other[1]}, {other[2]}",
            )

    def floor_max(self, revision: int) -> int:
        """Where the history may begin at most, when the cluster has come to this revision."""
        if self._history is None:
            return revision
        kept, began = self._history
        return max(began, revision - kept)

    def _on_settings(self, name: NodeId, machine: Machine) -> None:
        settings = machine.settings
        if settings.version and settings.version not in self._settings:
            self._settings[settings.version] = settings.to_json()
            self._check_genesis(name, settings.genesis)
        if settings.level > self.level:
            members = machine.membership.members or self._first
            old = [each for each in members if self.understood.get(each, 0) < settings.level]
            if old:
                raise Violation(
                    "level",
                    f"{name} has the feature level raised to {settings.level}, which the programs "
                    f"of {', '.join(old)} do not know",
                )
            self.level = settings.level
        if settings.level >= LEVEL_COORDINATION and self._history is None:
            self._history = settings.history_revisions, machine.revision

    def _check_genesis(self, name: NodeId, genesis: str) -> None:
        """The cluster's number in the log is that of its founding."""
        founded = "" if self._founding is None else f"{self._founding.hash:016x}"
        if genesis and founded and genesis != founded:
            raise Violation(
                "founding",
                f"the cluster was founded as {founded}, but the log that {name} applied calls it "
                f"{genesis}",
            )

    def check_log(self, name: NodeId, slot: Slot, value: bytes) -> None:
        """What a node's log gives back for a slot that it applied."""
        if self.chosen.get(slot) != value:
            raise Violation("log", f"the log of {name} has another value for slot {slot}")

    def on_leader(self, name: NodeId, ballot: Ballot) -> None:
        """A reign begins: one ballot has one leader. Its own promise was checked before."""
        if self.leaders.setdefault(ballot, name) != name:
            raise Violation("one-leader", f"{name} leads with {tuple(ballot)} of another node")
        self.box.promise(name, ballot)  # its own, which it sends to no one if it is alone
        if not self.box.is_won(ballot):
            raise Violation(
                "quorum", f"{name} leads with {tuple(ballot)}, which no majority promised"
            )
