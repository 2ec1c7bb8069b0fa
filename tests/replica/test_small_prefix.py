"""What a client with small prefixes gets out of a node, whatever it asks: nothing that depends on
what is outside its prefixes, in answers, refusals and their words; and nothing there is changed.

Where it may write and not read, that there are keys makes a difference, for a delete says how many
there were; their values make none.

Two clusters have had as many changes, and are alike where the client may look; outside they have
other keys, values and keys on leases. Whatever is asked of both is answered alike.
"""

import random
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paxosd.core import commands as c
from paxosd.core import requests as r
from paxosd.core import transactions as t
from paxosd.core.commands import Entry
from paxosd.replica.log_server import serve_history
from paxosd.wire import encode_entry
from tests.replica.rights_site import IN, OUT, READ, SEEN, WRITE, Site, table_of

SECRET = b"SECRET"
BLIND = b"/blind/"
"""What the client may write and not read."""
OTHERS = (
    [
        (b"/other/SECRET-1", b"1"), (b"/apples/SECRET", b"7" * 300), (b"/app", b"SECRET"),
        (OUT, b"1"), (BLIND + b"1", b"SECRET"),
    ],
    [
        (b"/other/SECRET-9", b"SECRET"), (b"/a/SECRET", b""), (b"/b/SECRET", b"x"),
        (OUT, b"SECRET"), (BLIND + b"1", b"123456"),
    ],
)  # fmt: skip
"""Of each of the two: what is outside; as many changes."""
ENDS = (
    b"", b"/", b"/app", b"/app/", b"/app/jobs", b"/app/jobs/", IN, IN + b"\0", b"/app/jobs/9",
    b"/app/jobs0", SEEN, b"/app/y", b"/app0", b"/apples/", b"/other/", OUT, b"/p", b"\xff",
)  # fmt: skip
keys = st.sampled_from(
    [IN, IN, IN, IN, SEEN, BLIND + b"1", BLIND + b"1", *[each for each in ENDS if each]]
)
ends = st.sampled_from(ENDS)
ranges = st.one_of(
    st.just((b"/app/jobs/", b"/app/jobs0")),
    st.just((b"/app/", b"/app0")),
    st.just((BLIND, b"/blind0")),
    st.tuples(ends, ends),
)
values = st.sampled_from([b"", b"1", b"new", b"123456"])
numbers = st.sampled_from([0, 1, 2, 3, 7, 10**6])
leases = st.sampled_from(["admin", "operator", "client", 5, 10**9])
flags = st.booleans()

targets = st.sampled_from([t.VERSION, t.CREATE_REVISION, t.MODIFY_REVISION, t.LEASE])
operators = st.sampled_from([t.EQUAL, t.NOT_EQUAL, t.LESS, t.GREATER])
compares = st.one_of(
    st.tuples(st.just(t.VALUE), operators, keys, values),
    st.tuples(targets, operators, keys, numbers),
    st.tuples(targets, operators, ranges, numbers, st.sampled_from([t.EVERY, t.SOME])).map(
        lambda of: (*of[:2], of[2][0], of[3], of[2][1], of[4])
    ),
)

operations = st.recursive(
    st.one_of(
        st.tuples(st.just(c.PUT), keys, values),
        st.tuples(st.just(c.PUT), keys, values, leases),
        st.tuples(st.just(c.DELETE), keys),
        ranges.map(lambda of: (c.DELETE_RANGE, *of)),
        st.tuples(st.just(t.ADD), keys, st.just(1)),
        st.tuples(st.just(t.GET_KEY), keys),
        st.tuples(ranges, st.sampled_from([0, 1]), flags, flags).map(
            lambda of: (t.GET_RANGE, *of[0], *of[1:])
        ),
    ),
    lambda inner: st.tuples(
        st.just(c.TXN), st.lists(compares, max_size=2), st.lists(inner, max_size=2),
        st.lists(inner, max_size=2),
    ),
    max_leaves=4,
)  # fmt: skip
transactions = st.one_of(
    # Its compares alone decide what is answered; its operations alone are not allowed.
    st.tuples(st.just(c.TXN), st.lists(compares, min_size=1, max_size=2), st.just([]), st.just([])),
    st.tuples(st.just(c.TXN), st.just([]), st.lists(operations, max_size=2), st.just([])),
    st.tuples(
        st.just(c.TXN),
        st.lists(compares, max_size=1),
        st.lists(operations, max_size=2),
        st.lists(operations, max_size=2),
    ),
)
commands = st.one_of(
    transactions,
    transactions,
    transactions,
    st.tuples(st.just(c.PUT), keys, values),
    st.tuples(st.just(c.PUT), keys, values, leases),
    st.tuples(st.just(c.DELETE), keys),
    ranges.map(lambda of: (c.DELETE_RANGE, *of)),
    st.tuples(st.just(c.CAS_VALUE), keys, values, values),
    st.tuples(st.just(c.CAS_REVISION), keys, numbers, values),
    st.tuples(st.just(c.GRANT), st.just(5000), numbers),
    st.tuples(st.just(c.KEEPALIVE), st.lists(leases, min_size=1, max_size=3)),
    st.tuples(st.just(c.REVOKE), leases),
)
revisions = st.integers(0, 12)
queries = st.one_of(
    st.tuples(st.just(r.GET), keys, revisions),
    st.tuples(ranges, st.integers(0, 2), flags, flags, revisions).map(
        lambda of: (r.RANGE, *of[0], *of[1:])
    ),
    st.tuples(ranges, revisions).map(lambda of: (r.COUNT, *of[0], of[1])),
    st.tuples(ranges, numbers, st.integers(1, 3)).map(lambda of: (r.NEWEST, *of[0], *of[1:])),
    st.tuples(st.just(r.LEASE), leases, flags),
    st.tuples(st.just(r.LEASES), numbers, st.integers(0, 2)),
)
sessions = st.sampled_from(["client"] * 5 + ["admin", "operator", "none", 0, 77])
asked = st.one_of(
    st.tuples(st.just("write"), sessions, st.lists(commands, min_size=1, max_size=3)),
    st.tuples(st.just("applied"), st.just("client"), st.lists(commands, min_size=1, max_size=3)),
    st.tuples(
        st.just("read"),
        st.sampled_from([r.LINEARIZABLE, r.STALE]),
        st.lists(queries, min_size=1, max_size=3),
    ),
    st.tuples(
        ranges, revisions, st.sampled_from([0, r.SPLIT, r.SPLIT | r.PREVIOUS, r.SPLIT + 40])
    ).map(lambda of: ("history", *of[0], *of[1:])),
)


class Asked:
    """One of the two clusters, and the client that asks it."""

    def __init__(self, others):
        self.site = Site(True)
        self.seq = 100
        site = self.site
        site.service._history = lambda request: serve_history(request, site.machine, {}.__getitem__)
        put = [[c.PUT, *each] for each in others]
        put += [[c.PUT, others[0][0], b"SECRET", site.leases["admin"]]]
        site.apply(Entry(site.sessions["admin"], 2, 0, put))
        table = table_of(True)
        those = [
            each._replace(write=(*WRITE, BLIND)) if each.name == "client" else each
            for each in table.principals
        ]
        document = replace(table, principals=tuple(those)).to_command()
        site.apply(Entry(0, 1, 0, [[c.RIGHTS, 2, document, b""]]))

    def _numbered(self, part):
        """With the numbers of leases for their owners' names, and lists as requests have them."""
        if type(part) is str:
            return self.site.leases[part]
        return list(map(self._numbered, part)) if type(part) in (tuple, list) else part

    def outside(self):
        """What the client may not write: keys, and the leases of others."""
        machine = self.site.machine
        rows = [row for row in machine.store.data.items() if not row[0].startswith((*WRITE, BLIND))]
        leases = [each for each in machine.leases.table.values() if each.owner != "client"]
        return rows, [(each.id, each.renewed_ms, dict(each.keys)) for each in leases]

    def ask(self, kind, *parts):
        site = self.site
        if kind == "read":
            mode, queries = parts
            return site.ask("client", r.ReadRequest(1, mode, self._numbered(queries)))
        if kind == "history":
            return site.ask("client", r.HistoryRequest(1, *parts))
        session, commands = parts
        self.seq += 10
        number = site.sessions.get(session, session)
        entry = Entry(number, self.seq, 0, self._numbered(commands))
        if kind == "applied":  # as if a node with an old table had admitted it
            return site.apply(entry)
        return site.ask("client", r.WriteRequest(1, encode_entry(entry)))


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(asked, min_size=1, max_size=5))
def test_nothing_outside_its_prefixes_makes_a_difference(questions):
    one, other = map(Asked, OTHERS)
    for question in questions:
        before = one.outside()
        found = one.ask(*question)
        assert found == other.ask(*question)
        assert SECRET not in repr(found).encode()
        assert one.outside() == before, "it changed what it may not"


def test_the_two_are_unlike_and_who_may_read_sees_it():
    """Else the test above says nothing."""
    one, other = map(Asked, OTHERS)
    assert one.site.machine.revision == other.site.machine.revision
    everything = r.ReadRequest(1, r.STALE, [[r.RANGE, b"", b"", 0, False, False]])
    answers = [each.site.ask("admin", everything) for each in (one, other)]
    assert answers[0] != answers[1]
    assert all(SECRET in repr(each).encode() for each in answers)
    assert random.choice(READ) == b"/app/"
