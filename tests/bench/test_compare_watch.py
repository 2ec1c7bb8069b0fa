"""The fan of watchers: every one of them counts, each change once."""

import pytest
import zmq

from tests.bench import compare_watch
from tests.bench.compare_watch import TOPIC, Fan


@pytest.fixture
def publisher():
    context = zmq.Context()
    socket = context.socket(zmq.PUB)
    socket.bind("tcp://127.0.0.1:*")
    yield socket
    context.destroy(0)


@pytest.fixture
def fan(publisher):
    fan = Fan(publisher.getsockopt_string(zmq.LAST_ENDPOINT), 3)
    yield fan
    fan.close()


def test_one_arrival_for_each_watcher(publisher, fan):
    def put():
        publisher.send_multipart([TOPIC, b"change"])

    fan.wait_subscribed(put)
    for _ in range(2):
        took_ms = fan.measure(put)
        assert len(took_ms) == 3
        assert min(took_ms) >= 0
    assert not list(fan.arrivals(0))


def test_a_watcher_that_gets_nothing_ends_it_with_words(fan, monkeypatch):
    monkeypatch.setattr(compare_watch, "ARRIVED_LIMIT_S", 0.0)
    with pytest.raises(SystemExit, match="a change reached 0 of 3"):
        fan.measure(lambda: None)
    monkeypatch.setattr(compare_watch, "SUBSCRIBED_LIMIT_S", 0.0)
    with pytest.raises(SystemExit, match="only 0 of 3 watchers"):
        fan.wait_subscribed(lambda: None)
