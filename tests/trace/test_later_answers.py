"""Requests for files are answered in a later turn, and what the answer says is not compared."""

from paxosd.core.requests import AdminAnswer, AdminRequest
from paxosd.replica.deferred_answers import Deferred, DeferredJob
from paxosd.trace import operations as op
from paxosd.trace.encoding import Operators
from paxosd.trace.feed import Feed
from paxosd.trace.surroundings import NoFiles, ReplayedFileHelper

WHO, OTHER = b"client", b"other"


def test_the_answer_of_a_later_turn_is_an_operators():
    operators = Operators()
    operators.note([(WHO, AdminRequest(7, "file_list", {}), b"")])
    operators.note([(OTHER, AdminRequest(1, "status", {}), b"")])
    answer = AdminAnswer(7, {"files": []})
    assert operators.answer(WHO, answer) == (op.OPERATOR, WHO, 7)
    assert operators.answer(WHO, answer) == (op.ANSWER, WHO, answer), "it is answered once"


def test_a_replay_gives_it_in_the_turn_in_which_it_was_given():
    feed = Feed()
    helper = ReplayedFileHelper(feed)
    job = DeferredJob(WHO, Deferred(7, "file_list", NoFiles().listed))
    feed.begin([])
    helper.start(job)
    assert helper.finished() == []
    feed.begin([[op.OPERATOR, OTHER, 7]])
    assert helper.finished() == []
    feed.begin([[op.OPERATOR, WHO, 7]])
    assert helper.finished() == [job]
