"""What is said of a failed call is true: not submitted, or unknown, and never both at once."""

import re

import pytest

from paxosctl.cli.app import headline
from paxosctl.cli.diagnose import _of_status
from paxosctl.client.errors import (
    EXIT_NOT_SUBMITTED,
    EXIT_UNKNOWN,
    NotSubmittedError,
    OutcomeUnknownError,
    error_of,
)
from paxosctl.client.results import MembersResult
from paxosctl.member.change import Progress, StepError, Steps
from paxosd.core.client.calls import NotSubmitted, OutcomeUnknown
from paxosd.core.commands import CHECKSUM, FENCE, MEMBERS, OPEN, PUT, Status
from paxosd.core.effects import (
    BUSY,
    INTERRUPTED,
    INVALID,
    NO_LEADER,
    NOT_LEADER,
    REFUSALS,
    STOPPING,
)
from paxosd.core.membership import Member, Membership
from paxosd.core.requests import STALE, AdminRequest, ReadRequest, RefusalAnswer
from tests.core.client.protocol_desk import NO_SCOUT_MS, A, Desk
from tests.ctl.cli.test_health import status

ONE = [PUT, b"k", b"v"]
CLAIMS = re.compile(r"nothing was|not submitted|not sent|safe to try|was not done")
OLD_WORDS = "no leader is known; nothing was submitted"
"""As daemons said before: they knew of one try."""


def refuse(desk, code, words):
    request_id = desk.next()[1].request_id
    desk.protocol.on_answer(RefusalAnswer(request_id, code, words, "", "", 0), desk.now)
    desk.turn()


def said(call):
    error = error_of(call.failure, ())
    return error, headline(error, [])


class TestRefusals:
    @pytest.mark.parametrize("code", REFUSALS)
    def test_a_daemon_does_not_speak_of_tries_that_it_has_not_seen(self, code):
        assert not CLAIMS.search(REFUSALS[code])


class TestUnknown:
    @pytest.mark.parametrize("words", [OLD_WORDS, *REFUSALS.values()])
    @pytest.mark.parametrize("code", [NO_LEADER, NOT_LEADER, BUSY, STOPPING, INTERRUPTED])
    def test_sent_once_without_an_answer_and_then_refused_again_and_again(self, code, words):
        desk = Desk()
        (call,) = desk.put(ONE, timeout_ms=2500)
        desk.open()
        desk.next()  # never answered
        while not call.done:
            while desk.sent:
                refuse(desk, code, words)
            desk.wait(1)
        error, text = said(call)
        assert isinstance(error, OutcomeUnknownError)
        assert error.exit_code == EXIT_UNKNOWN
        assert text.startswith("the outcome is unknown: it was sent, and no answer came in time")
        assert not CLAIMS.search(text)

    def test_a_later_try_that_is_refused_for_good(self):
        desk = Desk(scout_ms=NO_SCOUT_MS)
        (call,) = desk.put(ONE, timeout_ms=9000)
        desk.open()
        desk.next()
        while not desk.sent:
            desk.wait(10)
        refuse(desk, INVALID, f"{REFUSALS[INVALID]}; nothing was submitted")
        error, text = said(call)
        assert error.exit_code == EXIT_UNKNOWN
        assert not CLAIMS.search(text)

    def test_some_of_a_frame_are_late(self):
        desk = Desk()
        soon = desk.protocol.submit(ONE, desk.now, 1500)
        desk.protocol.submit([PUT, b"l", b"w"], desk.now, 9000)
        desk.turn()
        desk.open()
        desk.next()
        while not soon.done:
            while desk.sent:
                refuse(desk, NO_LEADER, OLD_WORDS)
            desk.wait(1)
        error, text = said(soon)
        assert error.exit_code == EXIT_UNKNOWN
        assert not CLAIMS.search(text)

    @pytest.mark.parametrize("command", [[FENCE, 7, 1], [CHECKSUM], [OPEN], [MEMBERS, 0, b"m"]])
    def test_a_command_of_no_session_that_was_sent(self, command):
        """An outcome query that was sent may rule its command out yet: it said "not submitted"."""
        desk = Desk()
        call = desk.protocol.submit_alone(command, desk.now, 1500)
        desk.turn()
        desk.next()
        while not call.done:
            while desk.sent:
                refuse(desk, NO_LEADER, OLD_WORDS)
            desk.wait(1)
        assert isinstance(call.failure, OutcomeUnknown)
        error, text = said(call)
        assert error.exit_code == EXIT_UNKNOWN
        assert not CLAIMS.search(text)
        assert ("does no harm" in text) is (command[0] != MEMBERS)


class TestNotSubmitted:
    def test_each_try_was_refused(self):
        desk = Desk()
        (call,) = desk.put(ONE, timeout_ms=1500)
        desk.open()
        while not call.done:
            while desk.sent:
                refuse(desk, NO_LEADER, REFUSALS[NO_LEADER])
            desk.wait(1)
        error, text = said(call)
        assert error.exit_code == EXIT_NOT_SUBMITTED
        assert text == "no leader; not submitted, safe to try again"

    def test_a_write_whose_session_was_never_opened(self):
        """The OPEN was sent, and nobody knows of it; the write itself never was."""
        desk = Desk()
        (call,) = desk.put(ONE, timeout_ms=1500)
        while not call.done:
            desk.sent.clear()
            desk.wait(1)
        assert isinstance(call.failure, NotSubmitted)
        assert said(call)[0].exit_code == EXIT_NOT_SUBMITTED

    def test_a_command_of_no_session_that_was_only_refused(self):
        desk = Desk()
        call = desk.protocol.submit_alone([FENCE, 7, 1], desk.now, 1500)
        desk.turn()
        while not call.done:
            while desk.sent:
                refuse(desk, NO_LEADER, OLD_WORDS)
            desk.wait(1)
        assert said(call)[0].exit_code == EXIT_NOT_SUBMITTED

    @pytest.mark.parametrize(
        "question", [ReadRequest(0, STALE, [[1, b"k"]]), AdminRequest(0, "status", {})]
    )
    def test_a_question_changes_nothing(self, question):
        desk = Desk(endpoints=(A,))
        call = desk.protocol.ask(question, desk.now, 1500)
        desk.turn()
        desk.wait(1500)
        assert isinstance(call.failure, NotSubmitted)

    def test_what_was_ruled_out_had_been_submitted(self):
        error = NotSubmittedError("fenced", "an outcome query ruled it out: it can never commit")
        assert headline(error, []).endswith("it can never commit; safe to try again")

    def test_sessions_full(self):
        text = headline(NotSubmittedError("sessions_full", "every session is in use"), [])
        assert text == "every session is in use; not submitted, safe to try again"


class TestHeadline:
    CUT_OFF = _of_status(status("n1", heard=()))
    LEADS = _of_status(status("n2", role="leader", leader="n2"))
    FOLLOWS = _of_status(status("n3", leader="n2"))

    def test_nobody_has_a_quorum(self):
        error = NotSubmittedError(NO_LEADER, "no leader is known")
        lines = [("a", self.CUT_OFF), ("b", "connection refused: no daemon listens there")]
        assert headline(error, lines).startswith("no quorum; ")

    @pytest.mark.parametrize("other", [LEADS, FOLLOWS])
    def test_one_that_is_cut_off_does_not_speak_for_the_others(self, other):
        error = NotSubmittedError(NO_LEADER, "no leader is known")
        assert headline(error, [("a", self.CUT_OFF), ("b", other)]).startswith("no leader; ")


class _Client:
    """Answers a change of the membership, and who is a member then."""

    def __init__(self, found):
        self._found = found

    def change_members(self, epoch, document):
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def _members(epoch, *names):
    made = {name: Member(f"{name}:1", f"{name}:2", f"{name}:3", voter=True) for name in names}
    return Membership(made, epoch=epoch, slot=epoch)


class TestAChangeOfMembers:
    BEFORE = _members(3, "n1", "n2")
    AFTER = _members(4, "n1", "n2", "n3")
    LOST = OutcomeUnknownError(0, 0, "the outcome is unknown: it was sent, and no answer came")
    MISSED = MembersResult(int(Status.CAS_MISS), 5, 0)

    def settle(self, monkeypatch, found, now):
        class Seen:
            membership = now

        monkeypatch.setattr("paxosctl.member.change.look", lambda client: Seen)
        steps = Steps(_Client(found), Progress(False))
        return steps.submit(self.BEFORE, self.AFTER)

    @pytest.mark.parametrize("found", [LOST, MISSED])
    def test_another_has_its_epoch(self, monkeypatch, found):
        with pytest.raises(StepError, match="nothing was done, for another change was faster"):
            self.settle(monkeypatch, found, _members(4, "n1"))

    @pytest.mark.parametrize("found", [LOST, MISSED])
    def test_others_followed_so_that_it_may_have_been_made(self, monkeypatch, found):
        """It said "nothing was done"."""
        with pytest.raises(OutcomeUnknownError, match="the outcome is unknown, for other") as info:
            self.settle(monkeypatch, found, _members(5, "n1"))
        assert not CLAIMS.search(str(info.value))

    def test_not_made_yet(self, monkeypatch):
        with pytest.raises(OutcomeUnknownError, match="member list` shows whether it was made"):
            self.settle(monkeypatch, self.LOST, self.BEFORE)

    @pytest.mark.parametrize("found", [LOST, MISSED])
    def test_it_is_in_force(self, monkeypatch, found):
        assert self.settle(monkeypatch, found, self.AFTER).epoch == 4
