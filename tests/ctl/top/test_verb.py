"""paxosctl top --once, and the poller, against daemons in threads: one of them says nothing."""

import json
import threading
import time

import pytest

from paxosctl.client.client import Client
from paxosctl.top.poller import Poller
from tests.ctl.fake_daemon import FakeDaemon, closed_port
from tests.processes.processes import wait_for


def test_once_prints_a_screen_as_text(ctl):
    code, out, err = ctl("top", "--once", "--interval", "50ms")
    assert (code, err) == (0, "")
    assert "cluster test   n1 leads" in out
    assert "last events" in out or "no event" in out
    assert "\x1b" not in out
    assert "quit" not in out


def test_a_pipe_gets_the_same(ctl):
    code, out, _ = ctl("top", "--interval", "50ms")
    assert code == 0
    assert out.splitlines()[3].split()[:2] == ["NODE", "ROLE"]


def test_for_programs(ctl):
    code, out, _ = ctl("top", "--once", "--interval", "50ms", "-o", "json")
    found = json.loads(out)
    assert (code, found["leader"]) == (0, "n1")
    assert found["nodes"][0]["node"] == "n1"
    assert found["nodes"][0]["writes_per_s"] == 0
    code, out, _ = ctl("top", "--once", "--interval", "50ms", "-o", "plain")
    assert out.split("\t")[0] == "n1"


def test_a_fault_is_shown(ctl):
    assert ctl("fault", "add", "late", "--kind", "drop")[0] == 0
    found = json.loads(ctl("top", "--once", "--interval", "50ms", "-o", "json")[1])
    assert [each["fault"] for each in found["nodes"][0]["faults"]] == ["late"]


class Collected:
    """What a poller reports, by node."""

    def __init__(self):
        self.seen, self.rules, self.notices = {}, {}, []
        self._lock = threading.Lock()

    def take(self, seen):
        with self._lock:
            name = seen.status.node if seen.status is not None else seen.name
            self.seen.setdefault(name, []).append(seen)

    def looks(self, name):
        with self._lock:
            return list(self.seen.get(name, ()))


@pytest.fixture
def polled():
    """``polled(endpoint, …)``: a poller of these, and what it reports."""
    from contextlib import ExitStack

    with ExitStack() as opened:

        def make(*endpoints):
            client = opened.enter_context(Client(list(endpoints), timeout_s=1.0))
            found = Collected()
            poller = Poller(
                client,
                0.05,
                on_sighting=found.take,
                on_rules=lambda name, rules: found.rules.update({name: rules}),
                on_notice=found.notices.append,
            )
            opened.enter_context(poller)
            return poller, found

        yield make


def test_a_silent_node_delays_nobody(polled):
    with FakeDaemon("n1") as n1, FakeDaemon("n2", follows=n1, member=True) as n2:
        n2.silent = True
        began_s = time.monotonic()
        _, found = polled(n1.endpoint, n2.endpoint)
        wait_for(lambda: found.looks(n2.endpoint) or found.looks("n2"), what="the silence")
        passed_s = time.monotonic() - began_s
        silence = (found.looks(n2.endpoint) or found.looks("n2"))[0]
        assert silence.status is None
        # While the silent one was waited for once, the other was asked again and again.
        assert len(found.looks("n1")) >= 3, passed_s
        assert [each.status for each in found.looks("n1") if each.status is None] == []


def test_members_are_found_and_a_name_takes_the_place_of_an_endpoint(polled):
    with FakeDaemon("n1") as n1, FakeDaemon("n2", follows=n1, member=True) as n2:
        _, found = polled(n1.endpoint)
        wait_for(lambda: found.looks("n2"), what="a look at the other member")
        assert found.looks("n2")[0].endpoint == n2.endpoint
        assert set(found.seen) == {"n1", "n2"}


def test_an_endpoint_where_nobody_is(polled):
    endpoint = closed_port()
    _, found = polled(endpoint)
    wait_for(lambda: len(found.looks(endpoint)) > 1, what="two looks")
    assert found.looks(endpoint)[0].status is None


def test_a_fault_is_listed_and_ended(polled, ctl, daemon):
    assert ctl("fault", "add", "late", "--kind", "drop")[0] == 0
    poller, found = polled(daemon.endpoint)
    wait_for(lambda: found.rules.get("n1"), what="the rules")
    assert found.rules["n1"][0]["name"] == "late"
    poller.end_fault("late", {"n1": daemon.endpoint})
    wait_for(lambda: found.notices, what="the notice")
    assert found.notices == ["fault late ended on n1"]
    poller.end_fault("late", {"n1": daemon.endpoint})
    wait_for(lambda: len(found.notices) > 1, what="the second")
    assert "fault late not ended on n1" in found.notices[1]
