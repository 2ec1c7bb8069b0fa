"""A node that is cut off does not know who lost his rights: it hands out nothing until it does."""

import pytest

from paxosd.core.commands import PUT, Entry
from paxosd.core.effects import BUSY, FORBIDDEN, UNCONFIRMED
from paxosd.core.requests import (
    GET,
    LINEARIZABLE,
    STALE,
    AdminAnswer,
    AdminRequest,
    HistoryAnswer,
    HistoryRequest,
    ReadAnswer,
    ReadRequest,
    VouchedRequest,
    WriteRequest,
)
from paxosd.faults.plan import FaultPlan
from paxosd.replica.ports import Ports, ReplicaOptions
from paxosd.wire import EntryLimits, encode_entry
from tests.replica import test_assembly as assembling
from tests.replica.rights_site import IN, KEYS, Site, table_of

STALE_READ = ReadRequest(1, STALE, [[GET, IN]])
HISTORY = HistoryRequest(1, IN, IN + b"\0", 1, 0)
FILES = AdminRequest(1, "file_list", {})


@pytest.mark.parametrize("age_ms", [60_001, -1])
@pytest.mark.parametrize("asked", [STALE_READ, HISTORY, FILES])
def test_it_is_refused_to_everybody_for_now(age_ms, asked):
    site = Site(required=True)
    site.node.age = age_ms
    assert site.ask("admin", asked).code == UNCONFIRMED


@pytest.mark.parametrize(
    ("asked", "kind"), [(STALE_READ, ReadAnswer), (HISTORY, HistoryAnswer), (FILES, AdminAnswer)]
)
def test_it_is_there_while_a_quorum_is_heard_of(asked, kind):
    site = Site(required=True)
    site.node.age = 60_000
    assert isinstance(site.ask("admin", asked), kind)


def test_what_shows_no_data_and_what_a_quorum_confirms_is_answered():
    site = Site(required=True)
    site.node.age = -1
    assert isinstance(site.ask("client", AdminRequest(1, "status", {})), AdminAnswer)
    assert isinstance(site.ask("client", ReadRequest(1, LINEARIZABLE, [[GET, IN]])), ReadAnswer)


def test_without_rights_nothing_is_refused():
    site = Site(required=False)
    site.node.age = -1
    for asked in (STALE_READ, HISTORY, FILES):
        assert not hasattr(site.ask("client", asked), "code")


def test_a_session_that_this_leader_has_not_seen_opened_is_to_be_asked_for_again():
    """It may be another's."""
    site = Site(required=True)
    number = site.machine.sessions.next_id
    entry = encode_entry(Entry(number, 1, 0, [[PUT, IN, b"x"]]))
    assert site.ask("client", WriteRequest(1, entry)).code == BUSY


def test_a_key_that_another_node_vouches_for_may_be_new_here_but_not_revoked():
    site = Site(required=True)
    entry = encode_entry(Entry(site.sessions["client"], 1, 0, [[PUT, IN, b"x"]]))
    asked = VouchedRequest(1, entry, KEYS["stranger"])
    assert site.ask("peer", asked).code == BUSY
    assert site.ask("peer", asked._replace(key=KEYS["revoked"])).code == FORBIDDEN


def test_it_goes_by_the_time_of_the_question_and_not_by_that_of_the_turn():
    """The process was stopped in the middle of a turn, for an hour, and somebody asks meanwhile:
    the turn goes on to take the question in."""
    disks, clock = assembling.Site(), [5.0]
    parts = disks.start()
    parts.memory.machine.rights = table_of(True)
    ports = Ports(
        bus=assembling.Bus().take_on(parts), committer=assembling.Idle(), helper=assembling.Idle(),
        log=disks.lines, plan=FaultPlan(), faults_enabled=False, now_ms=lambda: 5.0,
        status=dict, crash=lambda: None, precise_now_ms=lambda: clock[0],
    )  # fmt: skip
    options = ReplicaOptions(
        cluster="c", node="n1", boot_count=1, contacts=assembling.CONTACTS,
        entry_limits=EntryLimits(), read_bytes_max=1 << 20, catch_up_bytes_max=1 << 20,
        subscriptions_max=1,
    )  # fmt: skip
    service = assembling.make_replica(parts, options, None, ports).service
    parts.node.set_time(5.0, 0)
    parts.node._reads._freshness.confirmed(5.0, 0)
    permissions = service._permissions
    assert permissions.unconfirmed() is None
    clock[0] += 60_000
    assert permissions.unconfirmed() is None
    clock[0] += 1
    assert permissions.unconfirmed().code == UNCONFIRMED
    parts.memory.wal.close()
