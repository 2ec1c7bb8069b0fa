"""A watcher, the nodes that it watches, and what is lost between them.

The publisher, the history server, the state machine and the codec are the real ones; sockets are
modelled, with the losses that ZeroMQ really has.
"""

import random
from collections import deque

import pytest

from paxosd.core.client.watch_effects import Connect, Deliver, Pull
from paxosd.core.commands import (
    CAS_REVISION,
    DELETE,
    DELETE_RANGE,
    OPEN,
    PUT,
    Batch,
    Entry,
    each_change,
    prefix_end,
)
from paxosd.core.events import ChangeEvent, ProgressEvent
from paxosd.core.state.machine import Machine
from paxosd.replica.log_server import serve_history
from paxosd.replica.watch_publisher import EventPublisher
from paxosd.wire.events import decode_event

CLUSTER = "c1"


class Link:
    """One watcher's SUB and DEALER to one node, as the network sees them."""

    def __init__(self, node, topics):
        self.node = node
        self.topics = topics
        self.events = deque()
        self.answers = deque()


class NodeModel:
    """A daemon's read side: applies the shared log, publishes, serves history."""

    def __init__(self, name, world):
        self.name = name
        self.world = world
        self.boot_count = 0
        self.links = []
        self.again = deque()
        self.start(0)

    def start(self, applied, wiped=False):
        """A (re)start: state is rebuilt up to ``applied``; connected SUBs subscribe again. One
        that was wiped counts its starts anew."""
        self.boot_count = 1 if wiped else self.boot_count + 1
        self.machine = Machine()
        self.notices = deque()
        self.publisher = EventPublisher(
            self.publish,
            self.machine,
            cluster=CLUSTER,
            node=self.name,
            boot_count=self.boot_count,
            subscriptions_max=100,
        )
        self.apply(applied)
        for link in self.links:
            link.events.clear()
            self.notices.extend((True, topic) for topic in link.topics)

    def apply(self, slots):
        for _ in range(slots):
            if self.machine.applied < len(self.world.log):
                slot = self.machine.applied + 1
                self.machine.apply(slot, self.world.log[slot - 1])

    def jump(self, slots, in_order):
        """Take in a snapshot so far ahead, and apply a slot more; say so before or after."""
        other = Machine()
        ahead = min(self.machine.applied + slots, len(self.world.log))
        for slot in range(1, ahead + 1):
            other.apply(slot, self.world.log[slot - 1])
        if ahead > self.machine.applied:
            self.machine.adopt(other)
            if in_order:
                self.publisher.jumped()
            self.apply(1)
            self.publisher.jumped()

    def attach(self, link):
        self.links.append(link)
        self.notices.extend((True, topic) for topic in link.topics)

    def detach(self, link):
        """XPUB reports an unsubscription only when the topic's last subscriber leaves."""
        self.links.remove(link)
        for topic in link.topics:
            if not any(topic in other.topics for other in self.links):
                self.notices.append((False, topic))

    def publish(self, topic, payload):
        for link in self.links:
            if any(topic.startswith(wanted) for wanted in link.topics):
                if self.world.loses():
                    continue
                link.events.append((topic, payload))
                if self.world.loses():  # and comes again, at once or among later ones
                    self.again.append((topic, payload))
                if self.again and self.world.loses():
                    link.events.append(self.again.popleft())

    def loop(self, now_ms):
        self.apply(self.world.random.randrange(4))
        self.publisher.flush()
        self.publisher.pump(self.world.random.randrange(4))
        while self.notices:
            subscribe, topic = self.notices.popleft()
            self.publisher.on_subscription(subscribe, topic, now_ms)
        due = self.publisher.next_due_ms()
        if due is not None and due <= now_ms:
            self.publisher.tick(now_ms)

    def ask(self, link, request):
        answer = serve_history(request, self.machine, lambda slot: self.world.log[slot - 1])
        link.answers.append(answer)


class World:
    """A log that grows, some nodes, one watcher, and a hostile network in between."""

    def __init__(self, seed, watch, nodes=2, loss=0.2, understood=ChangeEvent | ProgressEvent):
        self.random = random.Random(seed)
        self.loss = loss
        self.understood = understood
        self.log = [Batch(1, [Entry(0, 1, 0, [[OPEN]])])]
        self.next_seq = 1
        self.now_ms = 1000
        self.watch = watch
        self.link = None
        self.first_complete_to = -1
        self.delivered = []
        self.reasons = []
        self.nodes = [NodeModel(f"n{i + 1}", self) for i in range(nodes)]

    def loses(self):
        return self.random.random() < self.loss

    def write(self):
        rng = self.random
        commands = []
        for _ in range(rng.randint(1, 4)):
            key = bytes(rng.choices(b"abc", k=rng.randint(1, 3)))
            kind = rng.random()
            if kind < 0.6:
                commands.append([PUT, key, b"v%d" % len(self.log)])
            elif kind < 0.75:
                commands.append([DELETE, key])
            elif kind < 0.9:
                commands.append([DELETE_RANGE, key[:1], prefix_end(key[:1])])
            else:
                commands.append([CAS_REVISION, key, 0, b"created"])
        entry = Entry(1, self.next_seq, self.next_seq - 1, commands)
        self.next_seq += len(commands)
        entries = [entry, entry] if rng.random() < 0.1 else [entry]  # a client's retry
        self.log.append(Batch(len(self.log), entries) if rng.random() < 0.9 else None)

    def carry_out(self, effects):
        for effect in effects:
            if isinstance(effect, Connect):
                self.reasons.append(effect.reason)
                if self.link is not None:
                    self.link.node.detach(self.link)
                node = self.nodes[effect.attempt % len(self.nodes)]
                self.link = Link(node, self.watch.topics)
                node.attach(self.link)
            elif isinstance(effect, Pull):
                if not self.loses():
                    self.link.node.ask(self.link, effect.request)
            elif isinstance(effect, Deliver):
                assert effect.changes
                self.delivered += effect.changes
            else:
                pytest.fail(f"the watch failed: {effect}")

    def flap(self):
        """The TCP connection breaks and libzmq makes it again; the watcher is not informed."""
        link = self.link
        link.node.detach(link)
        link.events.clear()
        if self.random.random() < 0.5:
            link.node.loop(self.now_ms)
        link.node.attach(link)

    def step(self, writes=True, faults=True):
        rng = self.random
        self.now_ms += rng.randint(1, 120)
        if writes and rng.random() < 0.5:
            self.write()
        if faults and rng.random() < 0.02:
            self.flap()
        if faults and rng.random() < 0.01:
            node = rng.choice(self.nodes)
            node.start(rng.randint(0, node.machine.applied), wiped=rng.random() < 0.3)
        if faults and rng.random() < 0.02:
            rng.choice(self.nodes).jump(rng.randint(1, 20), in_order=rng.random() < 0.5)
        for node in self.nodes:
            node.loop(self.now_ms)
        link = self.link
        while link is self.link and link.events and rng.random() < 0.8:
            cluster, event = decode_event(*link.events.popleft())
            attempt = self.watch.attempt
            if isinstance(event, self.understood):
                self.carry_out(self.watch.on_event(attempt, cluster, event, self.now_ms))
            if self.first_complete_to < 0:
                self.first_complete_to = self.watch.complete_to
        while link is self.link and link.answers and rng.random() < 0.6:
            answer = link.answers.popleft()
            self.carry_out(self.watch.on_answer(self.watch.attempt, answer, self.now_ms))
        if self.watch.next_due_ms() <= self.now_ms:
            self.carry_out(self.watch.on_tick(self.now_ms))

    def expected(self, after, start, end):
        truth = Machine()
        truth.collect_changes = True
        for slot, batch in enumerate(self.log, 1):
            truth.apply(slot, batch)
        return [
            change
            for change in each_change(truth.recent_changes)
            if change.revision > after and start <= change.key and (not end or change.key < end)
        ], truth.revision

    def run(self, steps):
        self.carry_out(self.watch.start(self.now_ms))
        for _ in range(steps):
            self.step()
        self.loss = 0.0
        _, newest = self.expected(0, b"", b"")
        for _ in range(2000):
            if self.watch.complete_to >= newest:
                break
            self.step(writes=False, faults=False)
        assert self.watch.complete_to == newest, "the watch did not catch up"
        return newest


def check(world, after, newest):
    start, end = world.watch.key, prefix_end(world.watch.key)
    if not world.watch.prefix:
        end = start + b"\0"
    wanted, _ = world.expected(after, start, end)
    assert world.delivered == wanted
    assert newest > 20, "a run in which little was written proves little"
