"""A silent target is not given up, and another endpoint is asked as well."""

from paxosd.core.client.calls import OutcomeUnknown
from paxosd.core.commands import PUT
from paxosd.core.effects import INTERRUPTED, NOT_LEADER
from paxosd.core.requests import AdminRequest, WriteRequest
from tests.core.client.protocol_desk import A, B, C, Desk

ONE = [PUT, b"k", b"v"]
TWO = [PUT, b"l", b"v"]
SCOUT_MS = 200


def silent(*commands, answers=(), **options):
    """A desk with commands under way at A, which answers nothing since. ``answers``: how long A
    took, in ms, for each of some puts before."""
    desk = Desk(scout_ms=SCOUT_MS, **options)
    if not answers:
        answers = (1,)
    for number, took_ms in enumerate(answers):
        desk.put([PUT, b"before", b""])
        if not number:
            desk.open(77)
        desk.wait(took_ms)
        where, message = desk.next()
        assert where == A
        desk.answer(message, [1])
        desk.sent.clear()
    calls = [desk.put(each)[0] for each in commands]
    sent = [desk.next()[1] for _ in commands]
    return desk, calls, sent


def test_one_frame_goes_elsewhere_too_with_the_same_numbers():
    desk, _, (first, _) = silent(ONE, TWO)
    desk.wait(SCOUT_MS - 1)
    assert not desk.sent
    desk.wait(1)
    where, scout = desk.next()
    assert where == B
    assert scout.entry == first.entry
    assert scout.request_id != first.request_id
    assert not desk.sent, "one scout at a time"


def test_the_first_target_may_still_answer():
    desk, (call,), (first,) = silent(ONE)
    desk.wait(SCOUT_MS)
    _, scout = desk.next()
    desk.answer(first, [5])
    assert call.result == 5
    desk.answer(scout, [5])  # it comes too late, and does no harm
    desk.put(TWO)
    assert desk.next()[0] == A


def test_who_answers_is_the_target_and_gets_all_that_waits():
    desk, (one, two), (_, second) = silent(ONE, TWO)
    desk.wait(SCOUT_MS)
    where, scout = desk.next()
    desk.answer(scout, [5])
    assert one.result == 5
    assert desk.protocol.endpoints.target == where == B
    where, again = desk.next()
    assert where == B
    assert again.entry.first_seq == second.entry.first_seq
    desk.answer(again, [6])
    assert two.result == 6
    desk.put(ONE)
    assert desk.next()[0] == B, "new commands go there, too"


def test_a_refusal_leads_to_the_leader_that_it_names_and_not_back():
    desk, (call,), _ = silent(ONE)
    desk.wait(SCOUT_MS)
    _, scout = desk.next()
    desk.refuse(scout, NOT_LEADER, C)
    desk.turn()
    where, again = desk.next()
    assert where == C, "at once"
    desk.refuse(again, NOT_LEADER, A)
    assert not desk.sent
    assert not call.done
    desk.wait(200)
    assert {where for where, _ in desk.sent} <= {B, C}, "to A it was sent before"
    assert desk.sent


def test_who_has_not_answered_a_scout_gets_no_other_for_a_while():
    desk, _, _ = silent(ONE, attempt_timeout_ms=1000)
    desk.wait(900)
    assert [where for where, _ in desk.sent] == [B, C]


def test_a_scout_counts_as_submitted():
    desk, _, _ = silent()
    (call,) = desk.put(ONE, timeout_ms=400)
    _, first = desk.next()
    desk.wait(SCOUT_MS)
    assert desk.sent
    desk.refuse(first, NOT_LEADER)
    desk.wait(400)
    assert isinstance(call.failure, OutcomeUnknown)


def test_what_a_scout_left_in_doubt_stays_in_doubt():
    desk, _, _ = silent()
    (call,) = desk.put(ONE, timeout_ms=400)
    _, first = desk.next()
    desk.wait(SCOUT_MS)
    desk.refuse(desk.next()[1], INTERRUPTED)
    desk.refuse(first, NOT_LEADER)
    desk.wait(400)
    assert isinstance(call.failure, OutcomeUnknown)


def test_a_cluster_that_is_slow_is_not_scouted():
    desk, _, _ = silent(ONE, answers=[600] * 40, attempt_timeout_ms=2000)
    desk.wait(590)
    assert not desk.sent


def test_a_target_that_answers_other_requests_is_not_silent():
    desk, _, (_, second) = silent(ONE, TWO)
    desk.wait(SCOUT_MS - 50)
    desk.answer(second, [6])
    desk.wait(100)
    assert not desk.sent
    desk.wait(100)
    assert desk.next()[0] == B


def test_what_must_go_to_one_node_or_only_once_does_not_scout():
    desk = Desk(scout_ms=SCOUT_MS)
    question = AdminRequest(0, "status", {})
    desk.protocol.ask(question, desk.now, 5000, endpoint=A)
    desk.protocol.ask(question, desk.now, 5000, repeatable=False)
    desk.turn()
    desk.sent.clear()
    desk.wait(900)
    assert not desk.sent


def test_a_large_entry_does_not_scout():
    desk = Desk(scout_ms=SCOUT_MS)
    desk.put(ONE)
    desk.open(77)
    desk.protocol._encode_entry = lambda entry: b"x" * 100_000
    desk.put(TWO)
    desk.sent.clear()
    desk.answer(WriteRequest(2, b""), [5])  # the first put
    desk.wait(900)
    assert not desk.sent
