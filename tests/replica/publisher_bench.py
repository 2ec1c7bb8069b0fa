"""A publisher of changes with a source in the hands of the test."""

from paxosd.core.commands import Change, KeysChanged
from paxosd.core.state.key_index import KeyRun
from paxosd.replica.watch_publisher import EventPublisher
from paxosd.wire.events import decode_event


class Source:
    def __init__(self, revision=10):
        self.revision = revision
        self.collect_changes = False
        self.recent_changes = []

    def write(self, *keys, value=b"v", slot=5):
        """One revision that changes all of them."""
        self.revision += 1
        if self.collect_changes:
            if len(keys) == 1:
                self.recent_changes.append(Change(self.revision, slot, keys[0], value))
            else:
                run = KeyRun([[key] for key in sorted(keys)])
                self.recent_changes.append(KeysChanged(self.revision, slot, run))


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, event, **fields):
        self.lines.append((event, fields))


class Bench:
    def __init__(self, **options):
        self.sent = []
        self.source = Source()
        self.log = Log()
        self.publisher = EventPublisher(
            lambda topic, payload: self.sent.append(decode_event(topic, payload)[1]),
            self.source,
            cluster="c1",
            node="n1",
            boot_count=3,
            log=self.log,
            **{"subscriptions_max": 10} | options,
        )

    def subscribe(self, topic, now_ms=0):
        self.publisher.on_subscription(True, topic, now_ms)

    def unsubscribe(self, topic, now_ms=0):
        self.publisher.on_subscription(False, topic, now_ms)

    def watch(self, prefix, now_ms=0):
        self.subscribe(b"kv/" + prefix, now_ms)
        self.subscribe(b"progress/" + prefix, now_ms)
        self.sent.clear()

    def write(self, *keys):
        for key in keys:
            self.source.write(key)
        self.publisher.flush()
        return self.take()

    def take(self):
        sent, self.sent = self.sent, []
        return sent


def places(events):
    return [tuple(map(tuple, event.places)) for event in events]
