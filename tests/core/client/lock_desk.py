"""A store of leases and keys, and the clients of one lock on it, without a network: each effect
waits at the desk until the test carries it out."""

from paxosd.core.client.calls import NotSubmitted, OutcomeUnknown, Refused
from paxosd.core.client.lock import Await, LockPlan, LockProtocol, Look, Submit
from paxosd.core.client.lock_look import Seen
from paxosd.core.commands import GRANT, KEEPALIVE, PUT, REVOKE, Status
from paxosd.core.requests import NEWEST, RANGE

UNKNOWN = (int(Status.LEASE_UNKNOWN), 0, None)


class Store:
    """The leases that live, and the keys."""

    def __init__(self):
        self.revision = 0
        self.leases = set()
        self.rows = {}
        self.made = 0

    def apply(self, command):
        op = command[0]
        if op == GRANT:
            self.made += 1
            self.leases.add(self.made)
            return (0, 0, self.made)
        if op == KEEPALIVE:
            return (0, 0, tuple(1000 * (each in self.leases) for each in command[1]))
        if op == PUT:
            _, key, _, lease = command
            if lease not in self.leases:
                return UNKNOWN
            self.revision += 1
            create, _ = self.rows.get(key, (self.revision, lease))
            self.rows[key] = create, lease
            return self.revision
        assert op == REVOKE
        return self.expire(command[1])

    def read(self, query, page_rows):
        """(rows, where the next page begins), of a RANGE or a NEWEST."""
        start, end = query[1:3]
        rows = [
            (key, create) for key, (create, _) in sorted(self.rows.items()) if start <= key < end
        ]
        rows, rest = rows[:page_rows], rows[page_rows:]
        if query[0] == NEWEST:
            _, _, _, below, limit = query
            rows = [row for row in rows if row[1] < below]
            rows = sorted(rows, key=lambda row: -row[1])[:limit]
        else:
            assert query[0] == RANGE
        return rows, rest[0][0] if rest else None

    def expire(self, lease):
        if lease not in self.leases:
            return UNKNOWN
        self.leases.discard(lease)
        gone = [key for key, (_, its) in self.rows.items() if its == lease]
        self.revision += bool(gone)
        for key in gone:
            del self.rows[key]
        return (0, self.revision, len(gone))


class Desk:
    """One client. ``waiting``: effects that are not carried out yet. ``page_rows``: so many keys
    are looked at for one answer. ``old``: its nodes do not know NEWEST."""

    def __init__(self, store, *, now_ms=0.0, page_rows=100, old=False, **plan):
        self.store = store
        self.old = old
        self.most_rows = 0
        self.page_rows = page_rows
        self.lock = LockProtocol(LockPlan(**{"name": b"l", "ttl_ms": 3000} | plan))
        self.now_ms = now_ms
        self.waiting = []
        self.awaited = []
        self.take(self.lock.start(now_ms))

    def take(self, effects):
        for effect in effects:
            if isinstance(effect, Await):
                self.awaited.append(effect)
            elif isinstance(effect, Submit | Look):
                self.waiting.append(effect)

    def carry_out(self):
        """The first effect that waits reaches the store, and its end is known at once."""
        effect = self.waiting.pop(0)
        if isinstance(effect, Submit):
            result = self.store.apply(effect.command)
            self.take(self.lock.on_result(effect.tag, result, None, self.now_ms))
        elif self.old and any(query[0] == NEWEST for query in effect.queries):
            self.take(self.lock.on_rows(effect.tag, Refused("invalid", "?", 0), self.now_ms))
        else:
            pages = [self.store.read(query, self.page_rows) for query in effect.queries]
            rows = [row for page, _ in pages for row in page]
            self.most_rows = max(self.most_rows, len(rows))
            seen = Seen(rows, self.store.revision, pages[-1][1])
            self.take(self.lock.on_rows(effect.tag, seen, self.now_ms))

    def settle(self):
        while self.waiting:
            self.carry_out()
        return self.lock.state.value

    def fail(self, *, unknown=False, applied=False):
        """The first effect that waits fails; ``applied``: it took effect nevertheless."""
        effect = self.waiting.pop(0)
        if isinstance(effect, Look):
            failure = NotSubmitted("no_leader", "?")
            return self.take(self.lock.on_rows(effect.tag, failure, self.now_ms))
        if applied:
            self.store.apply(effect.command)
        failure = OutcomeUnknown(1, 1, "?") if unknown else NotSubmitted("no_leader", "?")
        return self.take(self.lock.on_result(effect.tag, None, failure, self.now_ms))

    def wait(self, ms):
        """Time passes, and the timers fire."""
        end_ms = self.now_ms + ms
        while self.lock.next_due_ms() <= end_ms:
            self.now_ms = max(self.now_ms, self.lock.next_due_ms())
            self.take(self.lock.on_tick(self.now_ms))
            if self.waiting:
                break
        else:
            self.now_ms = end_ms

    def gone(self, key):
        self.take(self.lock.on_gone(key, self.now_ms))
