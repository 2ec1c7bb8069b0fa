"""A small in-memory cluster for tests of the composed node: one seed decides everything.

Virtual time; a network that delays, loses, duplicates and so reorders; disks that make records
durable after a delay and lose what was not when their node crashes. What a process sent before
it crashed still arrives, and ``replay`` repeats frames of any age. The safety checks run all the
time: one value per slot, ballots promised never go down, applied logs are equal, and the newest
record of an applied slot holds the applied value (the log is what peers are served from).
"""

import heapq
import pickle
import random
from collections.abc import Callable
from typing import Any

from paxosd.core.commands import OPEN, PUT, Entry
from paxosd.core.effects import (
    PromiseRecord,
    ReadReady,
    Refusal,
    WriteReply,
)
from paxosd.core.membership import UNKNOWN
from paxosd.core.messages import Decisions
from paxosd.core.node import Node
from paxosd.core.options import NodeOptions
from paxosd.core.quorum import NOBODY, Quorums
from paxosd.core.run_id import RUN_BITS
from paxosd.core.types import NULL_BALLOT
from tests.core.member import Member, PickleCodec, is_value, make, take


class Cluster:
    """``size`` nodes n1…; ``loss`` and ``duplicate`` are probabilities per message."""

    def __init__(self, size=3, seed=1, *, loss=0.0, duplicate=0.0, delay_ms=(0.2, 2.0),
                 sync_ms=(0.2, 3.0), options=None):  # fmt: skip
        print(f"seed={seed}")
        self.rng = random.Random(seed)
        self.now = 0.0
        self.loss, self.duplicate, self.delay_ms, self.sync_ms = loss, duplicate, delay_ms, sync_ms
        self.replays = 0.0
        """How probably a delivery is followed, much later, by a repeat of it."""
        self.lazy = 0.0
        """How probably a node reads on before it takes its turn: many messages per turn."""
        self.options = options or {}
        names = [f"n{i + 1}" for i in range(size)]
        self.members = {name: Member(name) for name in names}
        self.quorums = Quorums(names)
        self.blocked: set[tuple[str, str]] = set()
        self.filter: Callable[[str, str, Any], bool] = lambda src, dst, msg: True
        self.chosen: dict[int, bytes] = {}
        self.promised = dict.fromkeys(names, NULL_BALLOT)
        self.replies: dict[Any, Any] = {}
        self.on_reply: Callable[[Any, Any], None] = lambda token, reply: None
        self.sent: list[tuple[str, int, str, Any]] = []
        """Every frame that left: source, its incarnation, destination, message."""
        self.installed: list[tuple[float, str, int]] = []
        """When a node jumped to a peer's snapshot: time, name, slot."""
        self.notices: list[tuple[float, str, Any]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._token = 0
        self.first = names
        """The members of epoch 0."""
        for name in names:
            self.start(name)

    def join(self, name, directory_id=0):
        """Start a node that is to become a member; it knows those of epoch 0."""
        member = self.members[name] = Member(name)
        member.joins, member.directory_id = True, directory_id
        self.promised[name] = NULL_BALLOT
        self.start(name)

    # -- time

    def at(self, delay_ms, action):
        self._count += 1
        heapq.heappush(self._events, (self.now + delay_ms, self._count, action))

    def run(self, duration_ms):
        end = self.now + duration_ms
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = end

    def run_until(self, condition, limit_ms=60_000):
        """Run until the condition holds; fails if it does not within ``limit_ms``."""
        end = self.now + limit_ms
        while not condition():
            assert self._events, "nothing is left to happen"
            assert self.now <= end, "the condition did not come true in time"
            self.now, _, action = heapq.heappop(self._events)
            action()

    # -- processes

    def start(self, name):
        member = self.members[name]
        assert member.node is None
        if member.departed:
            return
        member.run_id += 1 << RUN_BITS  # a run_id without random bits
        restart = member.recover(self.check_chosen, now_ms=self.now)
        member.node = Node(
            NodeOptions(
                node=name, quorums=NOBODY if member.joins else self.quorums,
                bootstrap=UNKNOWN if member.joins else None, **self.options,
            ),
            [o for o in (self.members if member.joins or member.machine.membership.epoch
                         else self.first) if o != name],
            PickleCodec(), random.Random(self.rng.random()), restart,
        )  # fmt: skip
        member.node.want_applied = True
        self.turn(name)

    def crash(self, name):
        """Power off: what was not synced is gone; of the group on its way to the disk a prefix
        may have come there, the whole of it even."""
        member = self.members[name]
        member.node = None
        written = [record for _, records in member.group for record in records]
        self._durable(member, written[: self.rng.randint(0, len(written))])
        member.unsynced, member.group = [], []

    def pause(self, name):
        """SIGSTOP: it does nothing, and what arrives waits in its sockets."""
        self.members[name].paused = True

    def resume(self, name):
        member = self.members[name]
        if not member.paused:
            return
        member.paused = False
        inbox, member.inbox = member.inbox, []
        if member.node is not None:
            member.node.set_time(self.now, int(self.now))
            for action in inbox:
                action(member.node)
            self.turn(name)

    def up(self):
        return [m for m in self.members.values() if m.node is not None]

    # -- network

    def block(self, *pairs):
        self.blocked.update(pairs)

    def isolate(self, name):
        for other in self.members:
            self.block((name, other), (other, name))

    def heal(self):
        self.blocked.clear()

    def deliver(self, src, dst, message):
        if src == dst or (src, dst) in self.blocked or not self.filter(src, dst, message):
            return
        run_id = self.members[src].run_id
        self.sent.append((src, run_id, dst, message))
        for _ in range(2 if self.rng.random() < self.duplicate else 1):
            if self.rng.random() < self.loss:
                continue
            self.at(self.rng.uniform(*self.delay_ms),
                    lambda: self.receive(src, run_id, dst, message))  # fmt: skip
        if self.replays and self.rng.random() < self.replays:
            self.at(self.rng.uniform(100, 8000),
                    lambda: self.receive(src, run_id, dst, message))  # fmt: skip

    def receive(self, src, run_id, dst, message):
        """A frame arrives, whatever has become of its sender and of the link meanwhile."""
        member = self.members[dst]
        if member.node is None:
            return
        if member.paused:
            member.inbox.append(lambda node: node.step(src, run_id, message))
            return
        member.node.set_time(self.now, int(self.now))
        member.node.step(src, run_id, message)
        if self.lazy and self.rng.random() < self.lazy:
            self._wake(member, self.now + self.rng.uniform(0.0, 5.0))
        else:
            self.turn(dst)

    def replay(self, frames, within_ms=100.0):
        """Frames of ``sent`` arrive once more, in random order."""
        for src, run_id, dst, message in frames:
            self.at(self.rng.uniform(0, within_ms),
                    lambda f=(src, run_id, dst, message): self.receive(*f))  # fmt: skip

    # -- one turn of a node's loop

    def turn(self, name):
        member = self.members[name]
        node = member.node
        if node is None or member.paused:
            return
        node.tick(self.now, int(self.now))
        ready = node.ready()
        assert node.promised >= self.promised[name], "a promise went down"
        if ready.persist:
            member.unsynced.append((ready.ticket, ready.persist))
            for record in ready.persist:
                if is_value(record, member.floor):
                    member.log[record.slot] = (record.ballot, record.value)
            self._sync(member)
        for to, message in ready.sends:
            self.deliver(name, to, message)
        for accepted in ready.publishes:
            for other in self.members:
                self.deliver(name, other, accepted)
        for applied in ready.applied:
            self.check_chosen(applied.slot, applied.value)
            held = member.log.get(applied.slot)
            if held is None:  # the log already begins above, for a snapshot is about to be taken in
                assert applied.slot < member.floor
            else:
                assert held[1] == applied.value, "the log disagrees with itself"
        for serve in ready.serves:
            values = []
            if serve.first < member.floor:
                self._offer(name, serve.to, serve.first)
                continue
            for slot in range(serve.first, serve.last + 1):
                values.append(member.log[slot])
            message = Decisions(serve.first, tuple(values), serve.commit, serve.before)
            self.deliver(name, serve.to, message)
        for token, answer in ready.replies:
            is_read = isinstance(answer, ReadReady)
            reply = (answer, member.machine.applied) if is_read else answer
            self.replies[token] = reply
            self.on_reply(token, reply)
        for notice in ready.notices:
            self.notices.append((self.now, name, notice))
        if node.removed is not None:
            member.departed = True
            self.crash(name)
            return
        self._wake(member)

    def _wake(self, member, at_ms=float("inf")):
        due = max(min(member.node.next_due_ms(), at_ms), self.now + 0.01)
        if member.turn_at is None or due < member.turn_at or member.turn_at <= self.now:
            member.turn_at = due
            node = member.node

            def wake():
                if member.node is node and member.turn_at == due:
                    member.turn_at = None
                    self.turn(member.name)

            self.at(due - self.now, wake)

    def _sync(self, member):
        if member.syncing or not member.unsynced:
            return
        member.syncing = True
        member.group, member.unsynced = member.unsynced, []
        node = member.node

        def done():
            if member.node is node and member.paused:
                self.at(50, done)
                return
            if member.node is not node:
                return  # it crashed before the sync was done: the group is lost
            member.syncing = False
            group, member.group = member.group, []
            for _, records in group:
                self._durable(member, records)
            node.synced(group[-1][0])
            self.turn(member.name)
            self._sync(member)

        self.at(self.rng.uniform(*self.sync_ms), done)

    def _durable(self, member, records):
        member.append(records)
        for record in records:
            if isinstance(record, PromiseRecord):
                assert record.ballot >= self.promised[member.name]
                self.promised[member.name] = record.ballot

    # -- snapshots

    def compact(self, name, margin=0):
        """Take a snapshot at once, and give back the log up to it, less a margin. A newer one, a
        peer's that is about to be installed, stays: the log's part before it has gone."""
        member = self.members[name]
        if member.node is not None and member.machine.applied:
            held = member.snapshot
            if held is None or held[0].slot < member.machine.applied:
                member.snapshot = take(member.machine)
            member.give_back(member.machine.applied + 1 - margin)

    def _offer(self, src, dst, first):
        """Instead of slots that are gone the donor's snapshot travels, as a whole."""
        snapshot = self.members[src].snapshot
        if snapshot[0].slot >= first and (src, dst) not in self.blocked:
            delay_ms = self.rng.uniform(*self.delay_ms)
            self.at(delay_ms, lambda: self._keep(self.members[dst], snapshot))

    def _keep(self, member, snapshot):
        """It is durable, then the log's record of it is, then the node jumps; a crash may come
        in between."""
        node, slot = member.node, snapshot[0].slot
        if node is None or member.paused or node.applied >= slot:
            return
        if member.snapshot is not None and member.snapshot[0].slot >= slot:
            return
        member.snapshot = snapshot
        member.give_back(slot + 1)
        self.at(self.rng.uniform(*self.sync_ms), lambda: self._jump(member, node, snapshot))

    def _jump(self, member, node, snapshot):
        if member.node is not node:
            return
        if member.paused:
            self.at(50, lambda: self._jump(member, node, snapshot))
        elif node.applied < snapshot[0].slot:
            self.installed.append((self.now, member.name, snapshot[0].slot))
            node.set_time(self.now, int(self.now))
            member.machine.adopt(make(snapshot))
            node.install(snapshot[0].slot)
            self.turn(member.name)

    # -- checks

    def check_chosen(self, slot, value):
        known = self.chosen.setdefault(slot, value)
        assert known == value, f"two values were learned for slot {slot}"

    def check_equal(self):
        """All nodes that are up have applied equal states for equal slots."""
        by_slot = {}
        for member in self.up():
            machine = member.machine
            state = (machine.chain, machine.revision)
            assert by_slot.setdefault(machine.applied, state) == state, "states differ"

    # -- clients

    def leader(self):
        leaders = [m for m in self.up() if m.node.leading]
        return max(leaders, key=lambda m: m.node.promised).name if leaders else ""

    def elect(self):
        """Run until one leader is there that all nodes that are up agree on."""
        self.run_until(lambda: self.leader() != "" and all(
            m.node.leader == self.leader() for m in self.up()))  # fmt: skip
        return self.leader()

    def submit(self, name, entry):
        self._token += 1
        token = self._token
        self._client(name, lambda node: node.submit(token, entry, pickle.dumps(tuple(entry))))
        return token

    def _client(self, name, request):
        """A client's request arrives; one to a stopped process waits in its socket."""
        member = self.members[name]
        if member.paused:
            member.inbox.append(request)
            return
        member.node.set_time(self.now, int(self.now))
        request(member.node)
        self.turn(name)

    def call(self, entry, limit_ms=60_000):
        """Submit to the leader, again after refusals, until there is a write reply."""
        end = self.now + limit_ms
        while self.now < end:
            name = self.leader()
            if name:
                token = self.submit(name, entry)
                self.run_until_or(lambda: token in self.replies, 2_000)  # noqa: B023 - used at once
                reply = self.replies.get(token)
                if isinstance(reply, WriteReply):
                    return reply
                assert reply is None or isinstance(reply, Refusal)
            self.run(50)
        raise AssertionError("no reply in time")

    def run_until_or(self, condition, limit_ms):
        end = self.now + limit_ms
        while not condition() and self._events and self.now <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()

    def open_session(self):
        return self.call(Entry(0, 1, 0, [[OPEN]])).results[0][2]

    def put(self, session, seq, key, value):
        return self.call(Entry(session, seq, seq - 1, [[PUT, key, value]]))

    def read(self, name):
        self._token += 1
        token = self._token
        self._client(name, lambda node: node.read(token))
        return token
