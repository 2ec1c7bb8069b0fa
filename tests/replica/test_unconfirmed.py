"""A node that is cut off does not know who lost his rights: it hands out nothing until it does."""

import pytest

from paxosd.core.commands import FENCE, OPEN, PUT, Entry
from paxosd.core.effects import BUSY, FORBIDDEN, UNCONFIRMED, ReadReady, Refusal
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
    WriteAnswer,
    WriteRequest,
)
from paxosd.core.state.sessions import SESSION_UNKNOWN_RESULT
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


@pytest.mark.parametrize("required", [True, False])
class TestASessionThatIsNotOpenedYet:
    """As far as this leader has applied the log: it may have led for a moment only."""

    @staticmethod
    def requests(required):
        number = Site(required).machine.sessions.next_id
        yield Entry(number, 1, 0, [[PUT, IN, b"x"], [PUT, IN, b"y"]])
        if required:  # before that, anybody may ask what became of anything
            yield Entry(0, 1, 0, [[FENCE, number, 1]])

    def site(self, required):
        """Its reads wait in ``tokens``."""
        site, tokens = Site(required), []
        site.node.read = tokens.append
        return site, tokens

    def begin(self, site, tokens, entry):
        """Ask for that: nothing is answered or proposed before the read is ready."""
        before = site.state()
        site.service.receive(b"c", WriteRequest(7, encode_entry(entry)), KEYS["client"])
        assert not site.answers
        assert site.state() == before
        (token,) = tokens
        return token

    def go_on(self, site, token):
        site.service.reply(token, ReadReady(site.machine.applied))
        site.service.answer_waiting()
        (answer,) = site.answers
        assert site.service.waiting_bytes == 0
        assert answer.request_id == 7
        return answer

    def test_is_unknown_if_nobody_has_it_once_all_is_applied(self, required):
        for entry in self.requests(required):
            site, tokens = self.site(required)
            token = self.begin(site, tokens, entry)
            before = site.state()
            assert self.go_on(site, token).results == [SESSION_UNKNOWN_RESULT] * len(entry.commands)
            assert site.state() == before, "it is not proposed: the number may be another's by then"

    @pytest.mark.parametrize("owner", ["client", "admin"])
    def test_is_its_openers_and_no_others_if_it_was_opened(self, required, owner):
        for entry in self.requests(required):
            site, tokens = self.site(required)
            token = self.begin(site, tokens, entry)
            opened = site.apply(Entry(0, 9, 0, [[OPEN, "", KEYS[owner]]]))[1]
            assert opened[0][2] == site.machine.sessions.next_id - 1
            answer = self.go_on(site, token)
            if owner == "client":
                assert isinstance(answer, WriteAnswer)
                assert SESSION_UNKNOWN_RESULT not in answer.results
            else:
                assert answer.code == FORBIDDEN

    def test_is_asked_for_elsewhere_if_no_leader_says_so(self, required):
        for entry in self.requests(required):
            site, tokens = self.site(required)
            site.service.reply(self.begin(site, tokens, entry), Refusal(BUSY, "later", ""))
            assert site.answers[0].code == BUSY
            assert site.service.waiting_bytes == 0


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
