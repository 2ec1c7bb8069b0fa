"""A watch asks the cluster that its events come from, and believes no other."""

import pytest

from paxosctl.client import watch_session
from paxosctl.client.watch_nodes import WatchNodes
from paxosctl.client.watch_session import WatchSession
from paxosd.core.commands import Change
from paxosd.core.events import ProgressEvent
from paxosd.core.requests import HistoryAnswer
from paxosd.wire import WireError, decode_request, encode_client


class Transport:
    """Sockets that go nowhere."""

    def socket(self, kind):
        return self

    def setsockopt(self, option, value):
        pass

    def connect(self, endpoint):
        pass

    def register(self, socket, on_readable):
        pass


class Link:
    """The client endpoint, as the test plays it."""

    made: "Link"

    def __init__(self, transport, endpoint, *, on_frame, on_up, on_down):
        self.on_frame = on_frame
        self.sent = []
        Link.made = self
        self.on_up = on_up

    def send(self, frame):
        self.sent.append(frame)
        return True


@pytest.fixture
def pulling(monkeypatch):
    """A watch of cluster c1 that has just asked for what it missed."""
    monkeypatch.setattr(watch_session, "Link", Link)
    watcher = WatchSession(Transport(), WatchNodes(["client"]), b"a", from_revision=1)
    state = watcher._state
    watcher._perform(state.start(0))
    Link.made.on_up()
    watcher._perform(state.on_event(1, "c1", ProgressEvent("n1", 1, b"a", 1, 1, 1, 0), 0))
    return watcher, Link.made


def test_the_question_is_for_no_other_cluster(pulling):
    _, link = pulling
    question, frame = link.sent
    assert decode_request(question, "c2").verb == "status"  # whichever cluster it is of
    assert decode_request(frame, "c1").from_revision == 1
    with pytest.raises(WireError, match="c2"):
        decode_request(frame, "c2")


def test_the_answer_of_another_cluster_is_none(pulling):
    watcher, link = pulling
    change = Change(1, 1, b"a", b"v")
    answer = HistoryAnswer(decode_request(link.sent[1], "c1").request_id, [change], 2, 1)
    link.on_frame(encode_client(answer, "c2"))
    assert not watcher.waiting_bytes
    link.on_frame(encode_client(answer, "c1"))
    assert [watcher.take()] == [change]
