"""Everybody asks for everything, with rights required and without: what is allowed is done, what is
not is refused and changes nothing. Once as a request to the service, and once as if it had been
admitted by a node with an old table.

What is expected is written down here, and not taken from the code.
"""

from functools import partial

import pytest

from paxosd.core import commands as c
from paxosd.core import requests as r
from paxosd.core import transactions as t
from paxosd.core.admin_verbs import ADMIN_VERBS, COMMAND_PERMISSIONS, Permission
from paxosd.core.commands import Entry, prefix_end
from paxosd.core.effects import FORBIDDEN
from paxosd.wire import encode_entry
from tests.replica.rights_site import IN, KEYS, OUT, SEEN, Site, table_of

WHO = tuple(KEYS)
DENIED = (c.Status.MALFORMED, 0, c.Status.FORBIDDEN)
ZONES = {"in": IN, "seen": SEEN, "out": OUT}
HELD = {"in": "rw", "seen": "r", "out": ""}
"""What operator and client may do with the keys of a zone."""
NONE, READS, WRITES, BOTH = "", "r", "w", "rw"


def _around(key):
    prefix = key[:-1]
    return prefix, prefix_end(prefix)


# A command of a session, for a key → what it needs there.
COMMANDS = {
    "put": (lambda k: [c.PUT, k, b"new"], WRITES),
    "delete": (lambda k: [c.DELETE, k], WRITES),
    "delete_range": (lambda k: [c.DELETE_RANGE, *_around(k)], WRITES),
    "cas_value": (lambda k: [c.CAS_VALUE, k, b"1", b"new"], BOTH),
    "cas_revision": (lambda k: [c.CAS_REVISION, k, 1, b"new"], BOTH),
    "txn_put": (lambda k: [c.TXN, [], [[c.PUT, k, b"new"]], []], WRITES),
    "txn_delete": (lambda k: [c.TXN, [], [[c.DELETE, k]], []], WRITES),
    "txn_delete_range": (lambda k: [c.TXN, [], [[c.DELETE_RANGE, *_around(k)]], []], WRITES),
    "txn_add": (lambda k: [c.TXN, [], [[t.ADD, k, 1]], []], BOTH),
    "txn_get": (lambda k: [c.TXN, [], [[t.GET_KEY, k]], []], READS),
    "txn_range": (lambda k: [c.TXN, [], [[t.GET_RANGE, *_around(k), 0, False, False]], []], READS),
    "txn_compare": (lambda k: [c.TXN, [[t.VALUE, t.EQUAL, k, b"1"]], [], []], READS),
    "txn_every": (
        lambda k: [
            c.TXN,
            [[t.VERSION, t.GREATER, _around(k)[0], 0, _around(k)[1], t.EVERY]],
            [],
            [],
        ],
        READS,
    ),
    "txn_else": (lambda k: [c.TXN, [], [], [[c.PUT, k, b"new"]]], WRITES),
    "txn_nested": (lambda k: [c.TXN, [], [[c.TXN, [], [[c.PUT, k, b"n"]], []]], []], WRITES),
    "put_everywhere": (lambda _: [c.DELETE_RANGE, b"", b""], "all"),
}
LEASES = {
    "keepalive": lambda lease: [c.KEEPALIVE, [lease]],
    "revoke": lambda lease: [c.REVOKE, lease],
    "put_on_it": lambda lease: [c.PUT, IN, b"new", lease],
    "txn_on_it": lambda lease: [c.TXN, [], [[c.PUT, IN, b"new", lease]], []],
}
QUERIES = {
    "get": lambda k: [r.GET, k],
    "range": lambda k: [r.RANGE, *_around(k), 0, False, False],
    "range_back": lambda k: [r.RANGE, *_around(k), 5, True, True],
    "count": lambda k: [r.COUNT, *_around(k)],
    "newest": lambda k: [r.NEWEST, *_around(k), 99, 3],
    "at_a_revision": lambda k: [r.GET, k, 3],
}
OPERATORS = {"admin", "operator", "trusted"}
MAY = {
    Permission.OBSERVE: {"peer", "admin", "operator", "client", "trusted"},
    Permission.OPERATE: OPERATORS,
    Permission.SNAPSHOT: OPERATORS,
    Permission.FAULTS: OPERATORS,
    Permission.DATA: {"admin", "trusted"},
    Permission.MEMBERS: OPERATORS,
    Permission.SETTINGS: {"admin", "trusted"},
    Permission.RIGHTS: {"admin", "trusted"},
    Permission.SESSION: {"admin", "operator", "client"},
}
cases = 0


def _known(who):
    """Whether anything at all is done for a key while nothing is required."""
    return who not in ("revoked", "stranger")


def _keys_allowed(who, needs, zone):
    if who == "admin":
        return True
    return who in ("operator", "client") and needs != "all" and set(needs) <= set(HELD[zone])


def _check(site, who, allowed, ask):
    """Ask; returns the answer. What is not allowed is refused in words and changes nothing."""
    global cases  # noqa: PLW0603 - how many cases there were, which is printed
    cases += 1
    before = site.state()
    answer = ask()
    refused = isinstance(answer, r.RefusalAnswer)
    if refused:
        assert answer.code == FORBIDDEN, (who, answer)
        assert len(answer.message) > 20, answer
        assert site.state() == before
    assert refused != allowed, (who, answer)
    return answer


def _write(site, who, session, command):
    return site.ask(who, r.WriteRequest(1, encode_entry(Entry(session, 9, 0, [command]))))


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("who", WHO)
class TestMatrix:
    def test_commands_by_prefix(self, who, required):
        for make, needs in COMMANDS.values():
            for zone, key in ZONES.items():
                site = Site(required)
                session = site.sessions[who]
                allowed = _keys_allowed(who, needs, zone) if required else _known(who)
                _check(site, who, allowed, partial(_write, site, who, session, make(key)))

    def test_commands_by_prefix_that_an_old_table_admitted(self, who, required):
        global cases  # noqa: PLW0603 - see above
        for make, needs in COMMANDS.values():
            for zone, key in ZONES.items():
                site = Site(required)
                before = site.state()
                entry = Entry(site.sessions[who], 9, 0, [make(key), [c.PUT, IN, b"beside"]])
                found, beside = site.apply(entry)[1]
                cases += 1
                if not required or _keys_allowed(who, needs, zone):
                    assert DENIED not in (found, beside)
                    continue
                assert found == (DENIED if who != "none" else (c.Status.SESSION_UNKNOWN, 0, None))
                if who in ("operator", "client"):
                    assert type(beside) is int, "the others of its entry are done"
                    continue
                assert beside == found
                assert site.state()[1:] == before[1:]

    def test_leases(self, who, required):
        for make in LEASES.values():
            for owner in ("client", "operator", "admin"):
                site = Site(required)
                command = make(site.leases[owner])
                allowed = who in ("admin", owner)
                answer = _check(
                    site, who, _known(who) if not required else who in MAY[Permission.SESSION],
                    partial(_write, site, who, site.sessions[who], command),
                )  # fmt: skip
                if isinstance(answer, r.WriteAnswer) and required:
                    assert (answer.results == [DENIED]) != allowed, (who, owner, command)

    def test_grants_and_the_end_of_a_session(self, who, required):
        for command in ([c.GRANT, 5000, 0], [c.CLOSE]):
            site = Site(required)
            allowed = who in MAY[Permission.SESSION] if required else _known(who)
            _check(site, who, allowed, partial(_write, site, who, site.sessions[who], command))

    def test_sessions_of_others(self, who, required):
        for owner in ("admin", "client"):
            for session0 in (False, True):
                site = Site(required)
                number = site.sessions[owner]
                fence = (0, [c.FENCE, number, 77]) if session0 else (number, [c.PUT, IN, b"x"])
                # What a node does not vouch for is of somebody without a key.
                allowed = who == owner or (not required and who in ("none", "peer"))
                if session0 and not required:
                    allowed = _known(who)
                _check(site, who, allowed, partial(_write, site, who, *fence))

    def test_commands_of_session_0(self, who, required):
        for op, permission in COMMAND_PERMISSIONS.items():
            site = Site(required)
            document = table_of(required).to_command()
            settings = site.machine.settings._replace(leases_max=9).to_command()
            members = site.node.membership.to_command()
            command = {
                c.OPEN: [c.OPEN],
                c.FENCE: [c.FENCE, site.sessions[who], 50],
                c.CHECKSUM: [c.CHECKSUM],
                c.MEMBERS: [c.MEMBERS, 5, members],
                c.CLUSTER: [c.CLUSTER, 1, 0, settings],
                c.RIGHTS: [c.RIGHTS, 2, document, KEYS["admin"]],
            }[op]
            allowed = who in MAY[permission] if required or op == c.RIGHTS else _known(who)
            answer = _check(site, who, allowed, partial(_write, site, who, 0, command))
            if allowed and op in (c.CLUSTER, c.RIGHTS):
                assert answer.results[0][0] == c.Status.OK

    def test_reads(self, who, required):
        for make in QUERIES.values():
            for zone, key in ZONES.items():
                for mode in (r.LINEARIZABLE, r.STALE):
                    site = Site(required)
                    reads_all = who in ("admin", "trusted")
                    allowed = reads_all or _keys_allowed(who, READS, zone)
                    _check(
                        site, who, allowed if required else _known(who),
                        partial(site.ask, who, r.ReadRequest(1, mode, [[r.GET, IN], make(key)])),
                    )  # fmt: skip

    def test_reads_of_leases_and_history(self, who, required):
        site = Site(required)
        for owner in ("client", "admin"):
            query = [r.LEASE, site.leases[owner], True]
            allowed = who in ("admin", "trusted", owner) if required else _known(who)
            _check(site, who, allowed, partial(site.ask, who, r.ReadRequest(1, 0, [query])))
        allowed = who in ("admin", "trusted") if required else _known(who)
        _check(site, who, allowed, partial(site.ask, who, r.ReadRequest(1, 0, [[r.LEASES, 0, 9]])))
        for zone, key in ZONES.items():
            asked = r.HistoryRequest(1, key, key + b"\0", 1, 0)
            reads_all = who in ("admin", "trusted")
            allowed = reads_all or _keys_allowed(who, READS, zone) if required else _known(who)
            _check(site, who, allowed, partial(site.ask, who, asked))

    def test_admin_verbs(self, who, required):
        site = Site(required)
        for verb in ADMIN_VERBS.values():
            allowed = who in MAY[verb.permission] if required else _known(who)
            _check(site, who, allowed, partial(site.ask, who, r.AdminRequest(1, verb.name, {})))
            assert (site.verbs[-1:] == [verb.name]) == allowed

    def test_vouching_for_others(self, who, required):
        site = Site(required)
        entry = encode_entry(Entry(site.sessions["client"], 9, 0, [[c.PUT, IN, b"x"]]))
        asked = r.VouchedRequest(1, entry, KEYS["client"])
        allowed = who == "peer" or (who == "none" and not required)
        _check(site, who, allowed, partial(site.ask, who, asked))


def test_the_size_of_the_matrix(capsys):
    """Of what ran in this process."""
    with capsys.disabled():
        print(f"\n{cases} cases of the rights matrix")
