"""Which address of an endpoint is connected to, and when another one is."""

import pytest

from paxosd.net.resolver import RETRY_MS, RETRY_MS_MAX, Resolver
from paxosd.net.routes import CHECK_MS, PATIENCE_MS, PATIENCE_MS_MAX, Route
from tests.net.name_server import NameServer
from tests.net.test_resolver import Time
from tests.processes.processes import wait_for


class Stage:
    """One route, its name server and its clock."""

    def __init__(self, *addresses):
        self.server = NameServer(db_example=list(addresses))
        self.now_ms = Time()
        self.resolver = Resolver(self.server.lookups, self.now_ms)
        self.route = Route("tcp://db.example:7411", lambda: self.resolver)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.__exit__()
        self.resolver.close()

    def settle(self):
        """Until no lookup is under way."""
        name = self.route.name
        wait_for(lambda: self.resolver.poll() or not name.pending, what="an answer")

    def tick(self, after_ms=0):
        self.now_ms.ms += after_ms
        return self.route.tick(self.now_ms.ms)

    def up(self):
        self.settle()
        self.tick()
        self.route.on_up()
        return self

    def down(self, *, refused=False):
        self.route.on_down(self.now_ms.ms, refused=refused)

    def say(self, *addresses):
        """From now on the name server says this."""
        self.server.addresses["db.example"] = list(addresses)


def test_an_address_stays_and_nobody_is_asked():
    with Stage() as stage:
        for endpoint in ("tcp://127.0.0.1:7411", "tcp://[::1]:7411"):
            route = Route(endpoint, lambda: stage.resolver)
            assert route.target == endpoint
            assert not route.tick(0)
            route.on_down(0, refused=True)
            assert route.exhausted
            assert not route.tick(RETRY_MS_MAX)
        assert set(stage.server.asked) <= {"db.example"}


def test_what_is_no_endpoint():
    with Stage() as stage, pytest.raises(ValueError, match="reads tcp://HOST:PORT"):
        Route("nonsense", lambda: stage.resolver)


def test_no_target_before_the_first_answer():
    with Stage("192.0.2.1") as stage:
        stage.server.hang("db.example")
        assert not stage.tick()
        assert stage.route.target == ""
        stage.server.answer("db.example")
        stage.settle()
        assert stage.tick()
        assert stage.route.target == "tcp://192.0.2.1:7411"
        assert not stage.tick()


def test_an_ipv6_address_of_a_name():
    with Stage("2001:db8::1") as stage:
        assert stage.up().route.target == "tcp://[2001:db8::1]:7411"


def test_one_that_refuses_is_left_at_once_each_of_them_once():
    with Stage("::1", "192.0.2.1", "192.0.2.2") as stage:
        stage.settle()
        stage.tick()
        seen = []
        for _ in range(3):
            assert not stage.tick(), "it has not refused yet"
            seen.append(stage.route.address)
            assert not stage.route.exhausted
            stage.down(refused=True)
            stage.down(refused=True)  # ZeroMQ tries the same address again and again
            stage.tick()
        assert seen == ["::1", "192.0.2.1", "192.0.2.2"]
        assert stage.route.exhausted
        assert stage.route.address == "192.0.2.2"
        assert not stage.tick(PATIENCE_MS - 1)
        assert stage.tick(1), "and from then on at leisure"
        assert stage.route.address == "::1"


def test_one_that_does_not_answer_is_left_after_a_while():
    with Stage("192.0.2.1", "192.0.2.2") as stage:
        stage.settle()
        stage.tick()
        assert not stage.tick(PATIENCE_MS - 1)
        assert stage.tick(1)
        assert stage.route.address == "192.0.2.2"


def test_silent_ones_are_given_more_and_more_time():
    # Three round trips of a long way must fit in, or it would never be connected.
    with Stage("192.0.2.1", "192.0.2.2") as stage:
        stage.settle()
        stage.tick()
        pauses = []
        for _ in range(5):
            began_ms = stage.now_ms.ms
            while not stage.tick(50):
                assert stage.now_ms.ms - began_ms <= PATIENCE_MS_MAX
            pauses.append(stage.now_ms.ms - began_ms)
        assert pauses == [PATIENCE_MS, 2 * PATIENCE_MS, *[PATIENCE_MS_MAX] * 3]
        stage.down(refused=True)
        stage.tick()
        stage.down(refused=True)
        assert stage.tick(PATIENCE_MS), "those that refuse are asked as often as before"


def test_one_that_stands_is_not_left_for_another():
    with Stage("192.0.2.1", "192.0.2.2") as stage:
        stage.up()
        assert not stage.tick(10 * PATIENCE_MS)
        stage.say("192.0.2.2", "192.0.2.1")
        stage.tick(CHECK_MS)
        stage.settle()
        assert not stage.tick()


def test_an_address_that_changed_under_a_connection_that_stands():
    with Stage("192.0.2.1") as stage:
        stage.up()
        asked = len(stage.server.asked)
        stage.tick(CHECK_MS // 2)
        assert len(stage.server.asked) == asked, "that is no reason to ask often"
        stage.say("192.0.2.9")
        stage.tick(CHECK_MS)
        stage.settle()
        assert stage.tick()
        assert stage.route.target == "tcp://192.0.2.9:7411"
        assert not stage.route.up


def test_an_address_that_changed_after_the_connection_broke():
    with Stage("192.0.2.1") as stage:
        stage.up()
        stage.say("192.0.2.9")
        stage.tick(PATIENCE_MS)
        stage.down()
        stage.tick()
        stage.settle()
        assert stage.tick()
        assert stage.route.target == "tcp://192.0.2.9:7411"


@pytest.mark.parametrize("silent", [False, True])
def test_a_name_server_that_fails_changes_nothing(silent):
    with Stage("192.0.2.1") as stage:
        stage.up()
        stage.say()
        if silent:
            stage.server.hang("db.example")
        stage.down()
        for _ in range(100):
            stage.resolver.poll()
            assert not stage.tick(PATIENCE_MS)
        assert stage.route.target == "tcp://192.0.2.1:7411"


def test_a_preferred_address():
    with Stage("::1", "192.0.2.1") as stage:
        stage.settle()
        stage.tick()
        assert not stage.route.prefer("192.0.2.77", 0), "the name does not have it"
        assert stage.route.prefer("192.0.2.1", 0)
        assert stage.route.address == "192.0.2.1"
        assert not stage.route.prefer("192.0.2.1", 0)
        stage.route.on_up()
        assert not stage.route.prefer("::1", 0)


def test_a_connection_that_breaks_has_the_name_looked_up_soon():
    """The pause between lookups has grown to its longest by then."""
    with Stage("192.0.2.1").up() as stage:
        name = stage.route.name
        name.wait_ms, name.ask_due_ms = RETRY_MS_MAX, name.asked_ms + RETRY_MS_MAX
        asked = len(stage.server.asked)
        stage.say("192.0.2.2")
        stage.tick(RETRY_MS)
        assert len(stage.server.asked) == asked, "not while it stands"
        stage.down()
        stage.tick()
        stage.settle()
        stage.tick()
        assert stage.route.target == "tcp://192.0.2.2:7411"
