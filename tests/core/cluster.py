"""A small in-memory cluster for tests of the composed node: one seed decides everything.

Virtual time; a network that delays, loses, duplicates and so reorders; disks that make records
durable after a delay and lose what was not when their node crashes. The safety checks run all
the time: one value per slot, ballots promised never go down, applied logs are equal.
"""

import heapq
import pickle
import random
from collections.abc import Callable
from typing import Any

from paxosd.core.commands import OPEN, PUT, Batch, Entry
from paxosd.core.effects import (
    AcceptRecord,
    CommitRecord,
    DecisionRecord,
    PromiseRecord,
    ReadReady,
    Refusal,
    WriteReply,
)
from paxosd.core.machine import Machine
from paxosd.core.messages import Decisions
from paxosd.core.node import Node
from paxosd.core.options import NodeOptions
from paxosd.core.quorum import Quorums
from paxosd.core.types import NOOP, NULL_BALLOT


class PickleCodec:
    """Any encoding will do for the core; entries are kept by their pickled form."""

    def encode_batch(self, stamp_ms, entries):
        return pickle.dumps((stamp_ms, entries))

    def decode_batch(self, value):
        stamp_ms, entries = pickle.loads(value)
        return Batch(stamp_ms, [Entry(*pickle.loads(blob)) for blob in entries])


class Member:
    """A node with its disk; ``node`` is None while it is down."""

    def __init__(self, name):
        self.name = name
        self.incarnation = 0
        self.durable = []
        self.unsynced = []
        self.syncing = False
        self.node = None
        self.machine = None
        self.turn_at = None


class Cluster:
    """``size`` nodes n1…; ``loss`` and ``duplicate`` are probabilities per message."""

    def __init__(self, size=3, seed=1, *, loss=0.0, duplicate=0.0, delay_ms=(0.2, 2.0),
                 sync_ms=(0.2, 3.0), options=None):  # fmt: skip
        print(f"seed={seed}")
        self.rng = random.Random(seed)
        self.now = 0.0
        self.loss, self.duplicate, self.delay_ms, self.sync_ms = loss, duplicate, delay_ms, sync_ms
        self.options = options or {}
        names = [f"n{i + 1}" for i in range(size)]
        self.members = {name: Member(name) for name in names}
        self.quorums = Quorums(names)
        self.blocked: set[tuple[str, str]] = set()
        self.filter: Callable[[str, str, Any], bool] = lambda src, dst, msg: True
        self.chosen: dict[int, bytes] = {}
        self.promised = dict.fromkeys(names, NULL_BALLOT)
        self.replies: dict[Any, Any] = {}
        self.reads: dict[Any, Any] = {}
        self.on_reply: Callable[[Any, Any], None] = lambda token, reply: None
        self.sent: list[tuple[str, str, Any]] = []
        self.notices: list[tuple[float, str, Any]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._token = 0
        for name in names:
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
        member.incarnation += 1
        promised, accepted, commit, log = NULL_BALLOT, {}, 0, {}
        for record in member.durable:
            if isinstance(record, PromiseRecord):
                promised = record.ballot
            elif isinstance(record, AcceptRecord | DecisionRecord):
                log[record.slot] = (record.ballot, record.value)
            elif isinstance(record, CommitRecord):
                commit = record.slot
        accepted = {slot: held for slot, held in log.items() if slot > commit}
        codec = PickleCodec()
        member.machine = Machine()
        for slot in range(1, commit + 1):
            value = log[slot][1]
            self.check_chosen(slot, value)
            member.machine.apply(slot, None if value == NOOP else codec.decode_batch(value))
        member.log = log
        member.unsynced, member.syncing, member.turn_at = [], False, None
        member.node = Node(
            NodeOptions(node=name, quorums=self.quorums, **self.options),
            [other for other in self.members if other != name],
            member.machine, codec, random.Random(self.rng.random()),
            incarnation=member.incarnation, promised=promised, accepted=accepted, commit=commit,
            now_ms=self.now, wall_ms=int(self.now),
        )  # fmt: skip
        member.node.want_applied = True
        self.turn(name)

    def crash(self, name):
        """Power off: what was not synced is gone."""
        member = self.members[name]
        member.node = None
        member.unsynced = []

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
        self.sent.append((src, dst, message))
        for _ in range(2 if self.rng.random() < self.duplicate else 1):
            if self.rng.random() < self.loss:
                continue
            incarnation = self.members[src].incarnation
            self.at(self.rng.uniform(*self.delay_ms),
                    lambda: self._receive(src, incarnation, dst, message))  # fmt: skip

    def _receive(self, src, incarnation, dst, message):
        member = self.members[dst]
        if member.node is not None and incarnation == self.members[src].incarnation:
            member.node.set_time(self.now, int(self.now))
            member.node.step(src, incarnation, message)
            self.turn(dst)

    # -- one turn of a node's loop

    def turn(self, name):
        member = self.members[name]
        node = member.node
        if node is None:
            return
        node.tick(self.now, int(self.now))
        ready = node.ready()
        assert node.promised >= self.promised[name], "a promise went down"
        if ready.persist:
            member.unsynced.append((ready.ticket, ready.persist))
            self._sync(member)
        for to, message in ready.sends:
            self.deliver(name, to, message)
        for accepted in ready.publishes:
            for other in self.members:
                self.deliver(name, other, accepted)
        for applied in ready.applied:
            self.check_chosen(applied.slot, applied.value)
            member.log[applied.slot] = (applied.ballot, applied.value)
        for serve in ready.serves:
            values = []
            for slot in range(serve.first, serve.last + 1):
                values.append(member.log[slot])
            self.deliver(name, serve.to, Decisions(serve.first, tuple(values), serve.commit))
        for token, reply in ready.replies:
            if isinstance(reply, ReadReady):
                reply = (reply, member.machine.applied)
            self.replies[token] = reply
            self.on_reply(token, reply)
        for notice in ready.notices:
            self.notices.append((self.now, name, notice))
        self._wake(member)

    def _wake(self, member):
        due = max(member.node.next_due_ms(), self.now + 0.01)
        if member.turn_at is None or due < member.turn_at or member.turn_at <= self.now:
            member.turn_at = due
            node = member.node

            def wake():
                if member.node is node:
                    member.turn_at = None
                    self.turn(member.name)

            self.at(due - self.now, wake)

    def _sync(self, member):
        if member.syncing or not member.unsynced:
            return
        member.syncing = True
        group, member.unsynced = member.unsynced, []
        node = member.node

        def done():
            if member.node is not node:
                return  # it crashed before the sync was done: the group is lost
            member.syncing = False
            for _, records in group:
                member.durable.extend(records)
                for record in records:
                    if isinstance(record, PromiseRecord):
                        self.promised[member.name] = record.ballot
            node.synced(group[-1][0])
            self.turn(member.name)
            self._sync(member)

        self.at(self.rng.uniform(*self.sync_ms), done)

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
        self.members[name].node.set_time(self.now, int(self.now))
        self.members[name].node.submit(token, entry, pickle.dumps(tuple(entry)))
        self.turn(name)
        return token

    def call(self, entry, limit_ms=60_000):
        """Submit to whoever leads, again after refusals, until there is a write reply."""
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
        self.members[name].node.read(self._token)
        self.turn(name)
        return self._token
