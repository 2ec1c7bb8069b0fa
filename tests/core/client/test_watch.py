"""The watch protocol as a whole: whatever the PUB stream loses, the watcher ends with exactly
the full sequence of changes. The publisher, the history server, the state machine and the codec
are the real ones; sockets are modelled, with the losses that ZeroMQ really has."""

import random
from collections import deque

import pytest

from paxosd.core.client.watch import Connect, Deliver, Fail, Pull, WatchOptions, WatchState
from paxosd.core.commands import (
    CAS_REVISION,
    DELETE,
    DELETE_RANGE,
    OPEN,
    PUT,
    Batch,
    Change,
    Entry,
    each_change,
    prefix_end,
)
from paxosd.core.effects import BUSY, COMPACTED
from paxosd.core.events import ChangeEvent, NumberedChangeEvent, Place, ProgressEvent
from paxosd.core.requests import SPLIT, HistoryAnswer, RefusalAnswer
from paxosd.core.state.machine import Machine
from paxosd.replica import watch_publisher as events
from paxosd.replica.log_server import serve_history
from paxosd.replica.watch_publisher import EventPublisher
from paxosd.wire.events import decode_event

CLUSTER = "c1"


@pytest.fixture(autouse=True)
def removed_ranges_go_out_key_by_key(monkeypatch):
    monkeypatch.setattr(events, "PIECE_KEYS", 1)


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
        """XPUB tells of an unsubscription only when the topic's last subscriber leaves."""
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
        """The TCP connection breaks and libzmq makes it again; the watcher is not told."""
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


class TestWholeProtocol:
    @pytest.mark.parametrize("seed", range(20))
    @pytest.mark.parametrize(("key", "prefix"), [(b"", True), (b"a", True), (b"ab", False)])
    def test_losses_flaps_and_restarts_end_with_the_exact_sequence(self, seed, key, prefix):
        watch = WatchState(key, prefix=prefix, from_revision=1)
        world = World(seed, watch)
        newest = world.run(300)
        check(world, 0, newest)
        assert watch.pulls > 0

    @pytest.mark.parametrize("seed", range(20))
    def test_a_tiny_buffer_and_tiny_pages_lose_nothing_either(self, seed):
        options = WatchOptions(buffer_messages_max=2, page_bytes=100)
        watch = WatchState(b"a", prefix=True, from_revision=1, options=options)
        world = World(seed, watch, loss=0.4)
        check(world, 0, world.run(300))

    @pytest.mark.parametrize("seed", range(10))
    def test_a_watcher_that_does_not_know_the_changes_pulls_them_all(self, seed):
        """As one of version 0.1 that meets a newer node: it has the progress messages alone."""
        watch = WatchState(b"a", prefix=True, from_revision=1)
        world = World(seed, watch, understood=ProgressEvent)
        check(world, 0, world.run(300))

    @pytest.mark.parametrize("seed", range(10))
    def test_without_losses_the_stream_alone_suffices(self, seed):
        watch = WatchState(b"a", prefix=True, from_revision=1)
        world = World(seed, watch, nodes=1, loss=0.0)
        world.carry_out(watch.start(world.now_ms))
        for _ in range(300):
            world.step(faults=False)
        assert watch.gaps <= 1  # the first contact, if something was written before it
        assert world.reasons == [""]

    @pytest.mark.parametrize("seed", range(10))
    def test_a_watch_from_now_begins_at_its_first_contact(self, seed):
        watch = WatchState(b"", prefix=True)
        world = World(seed, watch)
        for _ in range(20):
            world.write()
        world.carry_out(watch.start(world.now_ms))
        while watch.complete_to < 0:
            world.step()
        after = world.first_complete_to
        for _ in range(100):
            world.step()
        world.loss = 0.0
        _, newest = world.expected(0, b"", b"")
        for _ in range(2000):
            if watch.complete_to >= newest:
                break
            world.step(writes=False, faults=False)
        check(world, after, newest)


def change(previous, revision, key=b"a", ordinal=0, total=1, boot_count=1, node="n1", length=1):
    place = Place(length, previous, ordinal, total)
    return ChangeEvent(node, boot_count, revision, revision, key, b"v", (place,))


def numbered(seq, revision, key=b"a", boot_count=1, node="n1", length=1):
    chain = ((length, seq),)
    return NumberedChangeEvent(node, boot_count, revision, revision, key, b"v", chain)


def progress(seq, revision, last_revision=None, boot_count=1, prefix=b"a", age_ms=0):
    last = revision if last_revision is None else last_revision
    return ProgressEvent("n1", boot_count, prefix, revision, seq, last, age_ms)


class Driver:
    """A watch of prefix a from revision 11 on, connected and fed by hand."""

    def __init__(self, **options):
        self.watch = WatchState(
            b"a", prefix=True, from_revision=11, options=WatchOptions(**options)
        )
        self.now_ms = 0
        assert self.watch.start(0) == [Connect(1, "")]

    def event(self, event, cluster=CLUSTER):
        return self.watch.on_event(self.watch.attempt, cluster, event, self.now_ms)

    def answer(self, answer):
        return self.watch.on_answer(self.watch.attempt, answer, self.now_ms)

    def tick(self, ms):
        self.now_ms += ms
        return self.watch.on_tick(self.now_ms)


def revisions(effects):
    return [
        change.revision
        for effect in effects
        if isinstance(effect, Deliver)
        for change in effect.changes
    ]


class TestLive:
    def test_changes_that_name_each_other_are_delivered_at_once(self):
        d = Driver()
        assert d.event(progress(0, 10)) == []
        assert revisions(d.event(change(10, 11))) == [11]
        assert revisions(d.event(change(11, 14))) == [14]
        assert d.watch.complete_to == 14
        assert d.event(progress(2, 20, 14)) == []
        assert d.watch.resume_revision == 21
        assert d.watch.live

    def test_the_first_contact_may_be_a_change(self):
        d = Driver()
        assert revisions(d.event(change(9, 11))) == [11]
        assert d.watch.complete_to == 11

    def test_a_change_that_names_one_not_delivered_starts_a_pull_from_the_last_whole_revision(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(change(10, 12))
        (pull,) = d.event(change(15, 20))
        assert isinstance(pull, Pull)
        assert pull.request.from_revision == 13
        assert (pull.request.start, pull.request.end) == (b"a", b"b")
        assert d.event(change(20, 21)) == []  # held
        page = [Change(r, r, b"a", b"v") for r in (15, 20)]
        got = d.answer(HistoryAnswer(pull.request.request_id, page, 21, 20))
        assert revisions(got) == [15, 20, 21]

    def test_a_lost_last_message_is_found_by_progress(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(change(10, 11))
        (pull,) = d.event(progress(2, 12))
        assert isinstance(pull, Pull)

    def test_a_lost_last_message_is_found_though_the_numbers_agree(self):
        """Another life of the node, in a directory that was wiped: its counts begin anew."""
        d = Driver()
        d.event(progress(1, 10))
        d.event(change(10, 11))
        (pull,) = d.event(progress(1, 14))
        assert isinstance(pull, Pull)

    def test_a_removal_of_many_keys_interrupted_half_way_gives_each_key_once(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(change(10, 11, b"a1", 0, 4))
        d.event(change(10, 11, b"a2", 1, 4))
        assert d.watch.complete_to == 10
        (pull,) = d.event(progress(4, 11))
        assert (pull.request.start, pull.request.from_revision) == (b"a2\0", 11)
        page = [Change(11, 11, b"a%d" % i, None) for i in (3, 4)]
        (delivered,) = d.answer(HistoryAnswer(pull.request.request_id, page, 12, 11))
        assert [c.key for c in delivered.changes] == [b"a3", b"a4"]

    def test_a_removal_comes_in_pages_that_end_within_it(self):
        d = Driver()
        (pull,) = d.event(progress(9, 12, 12))
        assert pull.request.limit_bytes & SPLIT
        page = [Change(11, 11, b"a1", None), Change(12, 12, b"a1", None)]
        first = d.answer(HistoryAnswer(pull.request.request_id, page, 12, 12))
        assert revisions(first) == [11, 12]
        assert (d.watch.complete_to, d.watch.resume_revision) == (11, 12)
        request = first[-1].request
        assert (request.start, request.end, request.from_revision) == (b"a1\0", b"b", 12)
        page = [Change(12, 12, b"a2", None), Change(12, 12, b"a3", None)]
        second = d.answer(HistoryAnswer(request.request_id, page, 12, 12))
        assert revisions(second) == [12, 12]
        request = second[-1].request
        assert request.start == b"a3\0"
        # The last page of it goes beyond it, but of what follows it has not all.
        page = [Change(12, 12, b"a4", None), Change(13, 13, b"a4", b"")]
        assert revisions(d.answer(HistoryAnswer(request.request_id, page, 14, 13))) == [12]
        assert d.watch.complete_to == 12

    def test_live_messages_go_on_where_a_page_ended(self):
        d = Driver()
        (pull,) = d.event(change(10, 11, b"a1", 1, 3))
        page = [Change(11, 11, b"a0", None)]
        first = d.answer(HistoryAnswer(pull.request.request_id, page, 11, 11))
        assert revisions(first) == [11]
        assert d.event(change(10, 11, b"a2", 2, 3)) == []  # held: a pull is under way
        request = first[-1].request
        page = [Change(11, 11, b"a1", None)]
        d.answer(HistoryAnswer(request.request_id, page, 11, 11))
        assert d.watch.complete_to == 10
        d.watch.on_disconnect(1, "broken", 0)
        d.tick(100)
        assert revisions(d.event(change(10, 11, b"a2", 2, 3))) == [11]
        assert d.watch.complete_to == 11

    def test_a_removal_of_many_keys_is_whole_with_its_last_one(self):
        d = Driver()
        for ordinal in range(3):
            assert d.watch.complete_to == 10
            (delivered,) = d.event(change(10, 11, b"a%d" % ordinal, ordinal, 3))
            assert [c.key for c in delivered.changes] == [b"a%d" % ordinal]
        assert d.watch.complete_to == 11

    def test_one_missing_of_the_keys_of_one_removal_is_seen(self):
        d = Driver()
        d.event(change(10, 11, b"a0", 0, 3))
        (pull,) = d.event(change(10, 11, b"a2", 2, 3))
        assert pull.request.from_revision == 11
        page = [Change(11, 11, b"a%d" % i, None) for i in (1, 2)]
        got = d.answer(HistoryAnswer(pull.request.request_id, page, 12, 11))
        assert [c.key for effect in got for c in effect.changes] == [b"a1", b"a2"]

    def test_the_first_missing_of_the_keys_of_one_removal_is_seen(self):
        d = Driver()
        (pull,) = d.event(change(10, 11, b"a1", 1, 3))
        assert isinstance(pull, Pull)

    def test_what_comes_once_more_is_not_delivered_again(self):
        d = Driver()
        d.event(change(10, 11))
        assert d.event(change(10, 11)) == []
        d.event(change(11, 12, b"a0", 0, 3))
        d.event(change(11, 12, b"a1", 1, 3))
        assert d.event(change(11, 12, b"a0", 0, 3)) == []
        assert d.event(change(10, 11)) == []
        assert revisions(d.event(change(11, 12, b"a2", 2, 3))) == [12]
        assert d.watch.gaps == 0

    def test_another_node_goes_on_in_the_middle_of_a_removal_of_many_keys(self):
        d = Driver()
        d.event(change(10, 11, b"a0", 0, 3))
        d.watch.on_disconnect(1, "broken", 0)
        d.tick(100)
        assert d.event(progress(70, 10)) == []
        assert d.event(change(10, 11, b"a0", 0, 3, node="n2")) == []
        assert revisions(d.event(change(10, 11, b"a1", 1, 3, node="n2"))) == [11]

    def test_a_page_that_lacks_what_was_delivered_of_a_revision_is_not_believed(self):
        d = Driver()
        d.event(change(10, 11, b"a0", 0, 3))
        (pull,) = d.event(progress(4, 12))
        page = [Change(12, 12, b"a", None)]
        assert d.answer(HistoryAnswer(pull.request.request_id, page, 13, 12)) == []
        assert isinstance(d.tick(100)[0], Connect)

    def test_one_key_takes_nothing_from_the_others_of_its_prefix(self):
        watch = WatchState(b"a", from_revision=11)
        watch.start(0)
        effects = []
        for ordinal, key in enumerate((b"a", b"ab", b"ac")):
            effects += watch.on_event(1, CLUSTER, change(10, 11, key, ordinal, 3), 0)
        effects += watch.on_event(1, CLUSTER, change(11, 12, b"ab"), 0)
        effects += watch.on_event(1, CLUSTER, change(12, 13, b"a"), 0)
        assert revisions(effects) == [11, 13]
        assert watch.complete_to == 13

    def test_progress_of_a_longer_prefix_is_another_watchers(self):
        d = Driver()
        assert d.event(progress(9, 50, prefix=b"ab")) == []
        assert d.watch.complete_to == 10

    def test_a_message_that_is_not_placed_for_this_prefix_is_ignored(self):
        d = Driver()
        d.event(progress(0, 10))
        assert d.event(change(7, 11, b"ab", length=2)) == []
        assert d.watch.complete_to == 10
        assert isinstance(d.event(change(11, 12))[0], Pull)

    def test_another_node_or_life_needs_no_trust_in_numbers(self):
        d = Driver()
        d.event(progress(5, 10))
        assert revisions(d.event(change(10, 11, boot_count=2))) == [11]
        assert revisions(d.event(change(11, 12, node="n2"))) == [12]

    def test_progress_that_everything_delivered_covers_needs_no_pull(self):
        d = Driver()
        assert d.event(progress(70, 30, last_revision=9)) == []
        assert d.watch.complete_to == 30


class TestNodesOfVersion01:
    """They number their messages."""

    def test_contiguous_messages_are_delivered_at_once(self):
        d = Driver()
        assert d.event(progress(0, 10)) == []
        assert revisions(d.event(numbered(1, 11))) == [11]
        assert revisions(d.event(numbered(2, 14))) == [14]
        assert d.watch.complete_to == 13
        assert d.event(progress(2, 20, 14)) == []
        assert d.watch.resume_revision == 21
        assert d.watch.live

    def test_a_skipped_number_starts_a_pull_from_the_last_whole_revision(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(numbered(1, 12))
        (pull,) = d.event(numbered(3, 20))
        assert isinstance(pull, Pull)
        assert pull.request.from_revision == 12
        # 12 was delivered, and is perhaps not whole: first what may be left of it alone.
        assert (pull.request.start, pull.request.end) == (b"a\0", b"b")
        assert d.event(numbered(4, 21)) == []  # held
        page = [Change(15, 15, b"ab", b"v")]
        (pull,) = d.answer(HistoryAnswer(pull.request.request_id, page, 21, 20))
        assert (pull.request.start, pull.request.from_revision) == (b"a", 13)
        page = [Change(15, 15, b"ab", b"v"), Change(20, 20, b"a", b"v")]
        got = d.answer(HistoryAnswer(pull.request.request_id, page, 21, 20))
        assert revisions(got) == [15, 20, 21]

    def test_a_lost_last_message_is_found_by_progress(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(numbered(1, 11))
        (pull,) = d.event(progress(2, 12))
        assert isinstance(pull, Pull)

    def test_a_removal_of_many_keys_interrupted_half_way_gives_each_key_once(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(numbered(1, 11, b"a1"))
        d.event(numbered(2, 11, b"a2"))
        (pull,) = d.event(progress(4, 11))
        assert (pull.request.start, pull.request.from_revision) == (b"a2\0", 11)
        page = [Change(11, 11, b"a%d" % i, None) for i in (3, 4)]
        (delivered,) = d.answer(HistoryAnswer(pull.request.request_id, page, 12, 11))
        assert [c.key for c in delivered.changes] == [b"a3", b"a4"]

    def test_a_message_that_is_not_numbered_for_this_prefix_is_ignored(self):
        d = Driver()
        d.event(progress(0, 10))
        assert d.event(numbered(7, 11, b"ab", length=2)) == []

    def test_another_incarnation_distrusts_the_numbers(self):
        d = Driver()
        d.event(progress(5, 10))
        (pull,) = d.event(numbered(6, 11, boot_count=2))
        assert isinstance(pull, Pull)

    def test_what_comes_once_more_in_the_middle_of_a_removal_is_not_delivered_again(self):
        """The next node is behind, and removes the same keys later."""
        d = Driver()
        d.event(progress(0, 10))
        d.event(numbered(1, 11, b"a0"))
        d.event(numbered(2, 11, b"a1"))
        d.watch.on_disconnect(1, "broken", 0)
        d.tick(100)
        d.event(progress(70, 10))
        assert d.event(numbered(71, 11, b"a0")) == []
        assert d.event(numbered(72, 11, b"a1")) == []
        (delivered,) = d.event(numbered(73, 11, b"a2"))
        assert [c.key for c in delivered.changes] == [b"a2"]
        assert d.event(progress(73, 11)) == []
        assert d.watch.complete_to == 11

    def test_a_number_that_comes_again_delivers_nothing(self):
        d = Driver()
        d.event(progress(0, 10))
        d.event(numbered(1, 11))
        assert revisions(d.event(numbered(1, 11))) == []


class TestPulls:
    def pulling(self, **options):
        d = Driver(**options)
        (pull,) = d.event(progress(3, 20))
        return d, pull.request

    def test_pages_follow_each_other_until_the_target(self):
        d, request = self.pulling()
        got = d.answer(HistoryAnswer(request.request_id, [Change(12, 1, b"a", b"")], 15, 20))
        assert revisions(got) == [12]
        assert got[-1].request.from_revision == 15
        assert d.answer(HistoryAnswer(got[-1].request.request_id, [], 21, 20)) == []
        assert d.watch.live  # by the held progress message, which is now covered
        assert revisions(d.event(change(20, 21))) == [21]

    def test_compacted_history_ends_the_watch_and_says_what_is_left(self):
        d, request = self.pulling()
        refusal = RefusalAnswer(request.request_id, COMPACTED, "gone", "", "", 17)
        assert d.answer(refusal) == [Fail(COMPACTED, "gone", 17)]
        assert d.watch.next_due_ms() is None
        assert d.event(progress(4, 30)) == []
        assert d.tick(60_000) == []

    def test_a_busy_node_is_left_for_the_next_after_a_pause(self):
        d, request = self.pulling()
        assert d.answer(RefusalAnswer(request.request_id, BUSY, "later", "", "", 0)) == []
        (connect,) = d.tick(100)
        assert connect == Connect(2, "missed changes were refused: later")

    def test_no_answer_leaves_the_node(self):
        d, _ = self.pulling(silence_ms=60_000)
        (connect,) = d.tick(3000)
        assert isinstance(connect, Connect)

    def test_an_answer_to_an_earlier_question_is_ignored(self):
        d, request = self.pulling()
        assert d.answer(HistoryAnswer(request.request_id + 7, [], 21, 20)) == []
        assert d.watch.complete_to == 10

    def test_a_node_that_has_not_applied_that_far_again_is_asked_again(self):
        d, request = self.pulling()
        assert d.answer(HistoryAnswer(request.request_id, [], 11, 5)) == []
        assert d.watch.next_due_ms() == 100
        (pull,) = d.tick(100)
        assert pull.request.from_revision == 11
        assert pull.request.request_id != request.request_id

    @pytest.mark.parametrize(
        ("changes", "next_revision"),
        [
            ([], 10),
            ([Change(10, 1, b"a", b"")], 21),
            ([Change(22, 1, b"a", b"")], 21),
            ([Change(12, 1, b"ab", b""), Change(12, 1, b"aa", b"")], 21),
            ([Change(13, 1, b"a", b""), Change(12, 1, b"a", b"")], 21),
            ([Change(12, 1, b"b", b"")], 21),
        ],
        ids=["back", "below", "above", "disorder of keys", "disorder", "foreign key"],
    )
    def test_a_page_that_breaks_the_protocol_is_not_delivered(self, changes, next_revision):
        d, request = self.pulling()
        got = d.answer(HistoryAnswer(request.request_id, changes, next_revision, 20))
        assert revisions(got) == []
        assert isinstance(d.tick(100)[0], Connect)


class TestConnections:
    def test_silence_leads_to_the_next_node_and_says_so(self):
        d = Driver()
        assert d.watch.next_due_ms() == 3000
        assert d.tick(2999) == []
        (connect,) = d.tick(1)
        assert connect.attempt == 2
        assert "no progress message for 3 s" in connect.reason

    def test_inputs_of_a_closed_attempt_are_ignored(self):
        d = Driver()
        d.tick(3000)
        assert d.watch.on_event(1, CLUSTER, progress(5, 30), d.now_ms) == []
        assert d.watch.on_disconnect(1, "late", d.now_ms) == []
        assert d.watch.complete_to == 10

    def test_refused_connections_back_off_doubling_up_to_a_bound(self):
        d = Driver()
        pauses = []
        for _ in range(8):
            assert d.watch.on_disconnect(d.watch.attempt, "refused", d.now_ms) == []
            pause = d.watch.next_due_ms() - d.now_ms
            assert isinstance(d.tick(pause)[0], Connect)
            pauses.append(pause)
        assert pauses == [100, 200, 400, 800, 1600, 3000, 3000, 3000]
        assert d.watch.failures == 8
        d.event(progress(0, 10))
        assert d.watch.failures == 0

    def test_a_node_that_stays_behind_is_left(self):
        d = Driver()
        d.event(progress(0, 10, age_ms=10_000))
        assert d.watch.live
        d.tick(2000)
        assert d.event(progress(0, 10, age_ms=10_001)) == []
        d.tick(1000)
        assert d.event(progress(0, 10, age_ms=9_000)) == []
        assert d.event(progress(0, 10, age_ms=12_000)) == []
        d.tick(2499)
        assert d.event(progress(0, 10, age_ms=14_499)) == []
        d.tick(1)
        (connect,) = d.event(progress(0, 10, age_ms=14_500))
        assert "14.5 s old" in connect.reason

    def test_a_node_that_does_not_know_its_age_yet_is_given_time(self):
        """Its first watcher makes it ask."""
        d = Driver()
        assert d.event(progress(0, 10, age_ms=-1)) == []
        assert d.watch.live
        d.tick(1000)
        assert d.event(progress(0, 10, age_ms=40)) == []
        assert d.event(progress(0, 10, age_ms=-1)) == []
        d.tick(2500)
        (connect,) = d.event(progress(0, 10, age_ms=-1))
        assert "of unknown age" in connect.reason

    def test_a_node_of_another_cluster_ends_the_watch(self):
        d = Driver()
        d.event(progress(0, 10))
        (fail,) = d.event(progress(0, 10), cluster="other")
        assert isinstance(fail, Fail)
        assert "'other'" in fail.message
