"""Rights where commands are applied: by the table in force at the slot, whoever admitted what."""

import pytest

from paxosd.core.cluster_settings import LEVEL_COORDINATION, LEVEL_KEYS, ClusterSettings
from paxosd.core.commands import (
    CLUSTER,
    FENCE,
    GRANT,
    KEEPALIVE,
    MEMBERS,
    OPEN,
    PUT,
    REVOKE,
    RIGHTS,
    TXN,
    Batch,
    Entry,
    Reign,
    Status,
)
from paxosd.core.requests import LEASE, LEASES
from paxosd.core.rights import Principal, RightsTable, admin_of
from paxosd.core.state.lease_walk import LeaseRow, lease_pieces, row_fault
from paxosd.core.state.machine import Machine
from paxosd.snapshot.file import encode_leases
from paxosd.wire.fields import pack
from tests.core.state.parts import fingerprint

ROOT, APP, APP_NEW, WEB, OPS, NODE = (bytes([number]) * 32 for number in range(1, 7))
DENIED = (Status.MALFORMED, 0, Status.FORBIDDEN)
MALFORMED = (Status.MALFORMED, 0, None)
UNKNOWN = (Status.SESSION_UNKNOWN, 0, None)
MINE, OTHER = b"/app/1", b"/web/1"


def table_of(*, app=(APP,), required=True, revoked=(), read=(b"/app/",), write=(b"/app/",)):
    return RightsTable(
        1,
        required,
        (
            Principal("app", "client", read, write, tuple(app)),
            Principal("n1", "peer", keys=(NODE,)),
            Principal("ops", "operator", (), (), (OPS,)),
            admin_of("root", (ROOT,)),
            Principal("web", "client", (b"/web/",), (b"/web/",), (WEB,)),
        ),
        frozenset(revoked),
    )


class Log:
    """A machine and its log."""

    def __init__(self, level=LEVEL_KEYS, table=None):
        self.machine = Machine()
        self.machine.settings = ClusterSettings(1, level)
        self.elapsed_ms = 0
        if table is not None:
            self.rights(table)

    def apply(self, *entries):
        self.elapsed_ms += 1
        batch = Batch(0, list(entries), Reign(1, "n1", self.elapsed_ms))
        return self.machine.apply(self.machine.applied + 1, batch)

    def control(self, *commands):
        return self.apply(Entry(0, 1, 0, list(commands)))[0]

    def rights(self, table, key=b""):
        version = self.machine.rights.version
        return self.control([RIGHTS, version, table.to_command(), key])[0]

    def open(self, key, number=1):
        return self.apply(Entry(0, number, 0, [[OPEN, "", key]]))[0][0]

    def do(self, session, seq, *commands):
        return self.apply(Entry(session, seq, 0, list(commands)))[0]


@pytest.fixture
def log():
    return Log(table=table_of())


def test_a_change_is_in_force_from_the_next_slot_on(log):
    session = log.open(APP)[2]
    put, gone = [PUT, MINE, b"1"], table_of(app=(), revoked=[APP])
    change = Entry(0, 1, 0, [[RIGHTS, 1, gone.to_command(), ROOT]])
    changed, beside = log.apply(change, Entry(session, 1, 0, [put]))
    assert changed == [(Status.OK, 2, log.machine.applied + 1)]
    assert beside == [1]
    assert log.do(session, 2, put) == [DENIED]


def test_of_two_changes_in_one_slot_the_second_does_nothing(log):
    change = [RIGHTS, 1, table_of().to_command(), ROOT]
    done, late = log.control(change, change)
    assert done == (Status.OK, 2, log.machine.applied + 1)
    assert late == (Status.CAS_MISS, 2, None)


def test_what_is_not_allowed_is_denied_in_place_and_the_rest_is_done(log):
    session = log.open(APP)[2]
    mine, other = [PUT, MINE, b"1"], [PUT, OTHER, b"1"]
    assert log.do(session, 1, mine, other, mine, other) == [1, DENIED, 2, DENIED]
    assert list(log.machine.store.data) == [MINE]
    assert log.do(session, 2, other) == [DENIED], "the answer is kept"
    log.rights(table_of(write=(b"",)), ROOT)
    assert log.do(session, 2, other) == [DENIED], "it is, also once the right is there"
    assert log.do(session, 5, other) == [3]


def test_a_revoked_key_gets_not_even_the_answers_that_are_kept(log):
    session = log.open(APP)[2]
    assert log.do(session, 1, [PUT, MINE, b"1"]) == [1]
    log.rights(table_of(app=(APP_NEW,), revoked=[APP]), ROOT)
    assert log.do(session, 1, [PUT, MINE, b"1"]) == [DENIED]
    assert log.machine.sessions.table[session].acked == 0


def test_a_session_without_a_key_is_unknown_once_rights_are_required():
    log = Log(table=table_of(required=False))
    session = log.open(b"")[2]
    assert log.do(session, 1, [PUT, OTHER, b"1"]) == [1]
    log.rights(table_of(), ROOT)
    assert log.do(session, 2, [PUT, OTHER, b"1"]) == [UNKNOWN]
    assert log.control([FENCE, session, 2, APP]) == [UNKNOWN]
    log.rights(table_of(required=False), ROOT)
    assert log.do(session, 2, [PUT, OTHER, b"1"]) == [2]


@pytest.mark.parametrize(("key", "opens"), [(ROOT, True), (APP, True), (OPS, True), (NODE, False),
                                            (APP_NEW, False), (b"", False)])  # fmt: skip
def test_who_has_a_principal_that_is_no_node_opens_a_session(log, key, opens):
    assert (log.open(key) == DENIED) != opens


def test_the_number_of_an_open_is_that_keys_own(log):
    first = log.open(APP, 1 << 40)
    assert log.open(APP, 1 << 40) == first
    assert log.open(WEB, 1 << 40) != first
    assert log.open(APP, 1 << 40) == first


def test_a_fence_is_for_the_key_that_opened_the_session(log):
    session = log.open(APP)[2]
    fence = [FENCE, session, 5]
    assert log.control([*fence, WEB], [*fence, ROOT], fence, [*fence, b""]) == [DENIED] * 4
    assert log.control([*fence, APP]) == [(Status.FENCED, 0, None)]
    log.rights(table_of(app=(), revoked=[APP]), ROOT)
    assert log.control([*fence, APP]) == [DENIED]


@pytest.mark.parametrize(
    ("command", "may"),
    [
        ([MEMBERS, 7, b"{}"], {ROOT, OPS}),
        ([CLUSTER, 7, 0, b"{}"], {ROOT}),
        ([RIGHTS, 7, b"{}"], {ROOT}),
    ],
)
def test_control_commands_need_their_role_unless_a_node_vouches(log, command, may):
    for key in (ROOT, OPS, APP, NODE, APP_NEW):
        (result,) = log.control([*command, key])
        assert (result != DENIED) == (key in may), key
    assert log.control([*command, b""])[0][0] == Status.CAS_MISS


def test_a_lease_is_its_owners_by_name(log):
    app, web, root = (log.open(key, n)[2] for n, key in enumerate((APP, WEB, ROOT), 1 << 40))
    lease = log.do(app, 1, [GRANT, 60_000, 0])[0][2]
    put = [PUT, OTHER, b"", lease]
    tries = [[KEEPALIVE, [lease]], [REVOKE, lease], put, [TXN, [], [put], []]]
    assert log.do(web, 1, *tries) == [DENIED] * 4
    assert log.do(root, 1, [KEEPALIVE, [lease]])[0][0] == Status.OK
    log.rights(table_of(app=(APP_NEW,), revoked=[APP]), ROOT)
    again = log.open(APP_NEW, 7 << 40)[2]
    assert log.do(again, 1, [PUT, MINE, b"", lease]) == [1]
    assert log.do(again, 2, [REVOKE, lease])[0][0] == Status.OK


def test_whose_a_lease_is_can_be_asked_for(log):
    log.do(log.open(APP)[2], 1, [GRANT, 5000, 7])
    one, row = log.machine.query([[LEASE, 7, True, True], [LEASE, 7, True]], 1000)
    page, rows = log.machine.query([[LEASES, 0, 0, True], [LEASES, 0, 0]], 1000)
    assert (one.id, one.owner, page.rows[0].owner) == (7, "app", "app")
    assert row == one[:-1]  # what clients of before can read
    assert rows.rows[0] == page.rows[0][:-1]


def test_a_lease_without_an_owner_is_theirs_who_may_write_its_keys():
    log = Log(table=table_of(required=False))
    plain = log.open(b"")[2]
    mine, other = (log.do(plain, seq, [GRANT, 60_000, 0])[0][2] for seq in (1, 2))
    log.do(plain, 3, [PUT, MINE, b"", mine], [PUT, OTHER, b"", other])
    log.rights(table_of(), ROOT)
    app = log.open(APP)[2]
    assert log.do(app, 1, [REVOKE, other], [REVOKE, mine]) == [DENIED, (Status.OK, 3, 1)]


def test_a_transaction_is_judged_as_a_whole(log):
    session = log.open(APP)[2]
    both = [TXN, [], [[PUT, MINE, b"1"]], [[PUT, OTHER, b"1"]]]
    assert log.do(session, 1, both) == [DENIED]
    assert not len(log.machine.store)


def test_what_is_no_command_is_denied_to_who_has_prefixes_and_malformed_to_who_may_all(log):
    app, root = log.open(APP, 1 << 40)[2], log.open(ROOT, 2 << 40)[2]
    wrong = [[99], [PUT], [PUT, 1, 2], 5, [[]], [PUT, MINE, b"v", b"x"]]
    assert log.do(app, 1, *wrong) == [DENIED] * 5 + [MALFORMED]
    assert log.do(root, 1, *wrong) == [MALFORMED] * 6
    assert not len(log.machine.store)


def test_below_the_level_there_are_neither_rights_nor_keys():
    log = Log(LEVEL_COORDINATION)
    assert log.rights(table_of()) == MALFORMED
    assert log.open(APP) == MALFORMED
    assert log.control([FENCE, 1, 1, APP], [MEMBERS, 7, b"{}", APP]) == [MALFORMED] * 2


@pytest.mark.parametrize("key", [b"short", 5, None, "a" * 32, b"x" * 33])
def test_a_key_has_32_bytes_or_is_none(log, key):
    assert log.open(key) == MALFORMED
    assert log.control([RIGHTS, 1, table_of().to_command(), key]) == [MALFORMED]


def test_the_checksum_covers_rights_keys_and_owners():
    def sums(table, key):
        log = Log(table=table_of(required=False))
        session = log.open(key)[2]
        log.do(session, 1, [GRANT, 60_000, 0])
        log.rights(table, ROOT)
        log.machine.chain = 0  # which covers them as well
        log.machine.sum_up()
        while not log.machine.advance_checksum(10):
            pass
        return log.machine.checksums[log.machine.applied]

    found = {sums(table_of(), APP), sums(table_of(), WEB), sums(table_of(write=()), APP)}
    assert len(found) == 3
    assert sums(table_of(), APP) in found


def test_a_change_without_the_field_of_who_asks_is_none(log):
    document = table_of().to_command()
    assert log.control([RIGHTS, 1, document]) == [MALFORMED]
    assert log.machine.rights.version == 1


def test_nodes_that_differ_in_rights_keys_or_owners_alone_see_it():
    free, other = Log(table=table_of()), Log(table=table_of(write=(b"/app/", b"/web/")))
    assert free.machine.chain != other.machine.chain
    one, two = Log(table=table_of(required=False)), Log(table=table_of(required=False))
    for each, key in ((one, APP), (two, WEB)):
        assert each.do(each.open(key)[2], 1, [GRANT, 60_000, 7]) == [(Status.OK, 0, 7)]
    assert fingerprint(one.machine.sessions) != fingerprint(two.machine.sessions)
    pieces = [b"".join(lease_pieces(each.machine.leases)) for each in (one, two)]
    assert pieces[0] != pieces[1]


@pytest.mark.parametrize("owner", ["no name", b"app", None, 7])
def test_a_snapshot_of_an_impossible_owner_is_not_taken(owner):
    row = LeaseRow(7, 60_000, 0, 1, "", (), "app")
    assert row_fault(row, 1 << 62, 0, 0) == ""
    assert "owner" in row_fault(row._replace(owner=owner), 1 << 62, 0, 0)


def test_a_lease_without_an_owner_is_written_as_before_there_were_any():
    row = LeaseRow(7, 60_000, 0, 1, "", ())
    assert encode_leases([row]) == pack((tuple(row)[:-1],))
    assert encode_leases([row._replace(owner="app")]) == pack(((*tuple(row)[:-1], "app"),))
