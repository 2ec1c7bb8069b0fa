"""Reads that go to the nearest node: which one that is, and what happens if it does not answer."""

import random
from collections import Counter

import pytest

from paxosd.core.client.calls import Call, Frame
from paxosd.core.client.endpoints import Endpoints, EndpointState
from paxosd.core.client.read_spread import AVOID_MS, LOOK_MS, TRIES, ReadSpread
from paxosd.core.commands import PUT
from paxosd.core.requests import GET, LINEARIZABLE, ReadAnswer, ReadRequest, RefusalAnswer

NAMES = ("a", "b", "c")


class Site:
    """A client's reads of nodes that answer after so many ms; ``now_ms`` goes on as they do."""

    def __init__(self, seed=0, read_from="nearest", **took_ms):
        self.took_ms = took_ms or dict.fromkeys(NAMES, 5)
        self.now_ms = 1000
        self.endpoints = Endpoints(NAMES, connect_timeout_ms=500, count_max=8)
        self.reads = ReadSpread(self.endpoints, random.Random(seed), read_from)
        for name in NAMES:
            self.endpoints.get(name, self.now_ms).enter(EndpointState.UP, self.now_ms)

    def frame(self, request=None, **given):
        return Frame([Call(request or ReadRequest(0, LINEARIZABLE, [[GET, b"k"]]), 1 << 62, None)],
                     None, 0, **given)  # fmt: skip

    def send(self, frame):
        endpoint = self.reads.endpoint_for(frame, self.now_ms)
        frame.endpoint, frame.sent_ms, frame.request_id = endpoint.name, self.now_ms, 7
        return endpoint.name

    def read(self):
        """The node that answered."""
        frame = self.frame()
        name = self.send(frame)
        self.now_ms += self.took_ms[name]
        self.reads.heard(frame, ReadAnswer(7, 1, 1, 0, [None]), self.now_ms)
        return name

    def settle(self):
        """The node that is kept, after all were tried."""
        tried = Counter(self.read() for _ in range(TRIES * len(NAMES)))
        assert tried == dict.fromkeys(NAMES, TRIES)
        return self.read()


def test_the_quickest_is_kept_and_another_once_it_is_slower():
    site = Site(a=50, b=4, c=50)
    assert site.settle() == "b"
    assert {site.read() for _ in range(100)} == {"b"}
    site.took_ms |= {"b": 90, "a": 3}
    site.now_ms += 2 * LOOK_MS
    looked = Counter(site.read() for _ in range(20))
    site.now_ms += 2 * LOOK_MS
    looked += Counter(site.read() for _ in range(60))
    assert looked["a"] > 50, looked
    assert site.reads.answered.total() == 10 + 100 + 80


def test_those_that_are_about_as_near_share_the_clients():
    kept = Counter(Site(seed, a=4, b=5, c=50).settle() for seed in range(60))
    assert set(kept) == {"a", "b"}
    assert min(kept.values()) > 10, kept


def test_who_refuses_or_breaks_is_left_for_a_while():
    site = Site(a=1, b=40, c=40)
    assert site.settle() == "a"
    frame = site.frame()
    site.send(frame)
    site.reads.heard(frame, RefusalAnswer(7, "busy", "", "", "", 0), site.now_ms)
    assert site.read() != "a"
    site.now_ms += AVOID_MS
    kept = site.read()
    site.endpoints.find(kept).enter(EndpointState.DOWN, site.now_ms)
    assert site.read() not in ("", kept)


@pytest.mark.parametrize("fault", ["refusals", "timeouts"])
def test_a_second_try_goes_to_the_target(fault):
    site = Site(a=40, b=1, c=40)
    assert site.settle() == "b"
    frame = site.frame()
    setattr(frame, fault, 1)
    assert site.send(frame) == "a"
    assert not frame.is_spread


def test_what_is_no_read_or_names_a_node_goes_where_it_must():
    site = Site(a=40, b=1, c=40)
    assert site.settle() == "b"
    assert site.send(site.frame([PUT, b"k", b"v"])) == "a"
    assert site.send(site.frame(pinned="c")) == "c"


def test_a_read_waits_for_no_connection():
    site = Site(a=1, b=1, c=1)
    for each in site.endpoints:
        each.enter(EndpointState.CONNECTING, site.now_ms)
    assert site.send(site.frame()) == "a"
    site.endpoints.find("c").enter(EndpointState.UP, site.now_ms)
    assert site.send(site.frame()) == "c"


def test_by_default_all_goes_to_the_target():
    site = Site(read_from="leader", a=40, b=1, c=1)
    assert {site.read() for _ in range(20)} == {"a"}
    with pytest.raises(ValueError, match="leader, nearest"):
        Site(read_from="anywhere")
