"""How nodes that did not answer come into the evidence."""

from types import SimpleNamespace

from paxosctl.client.errors import HandshakeError
from paxosctl.doctor import gathering
from paxosd.core.client.endpoints import KEY_UNKNOWN, UNREACHABLE, EndpointState, Trouble

PLACES = ("tcp://h1:1", "tcp://h2:1", "tcp://h3:1")


def test_where_no_node_takes_the_key_each_endpoint_has_its_own_words(monkeypatch):
    first = HandshakeError(KEY_UNKNOWN, f"n1 at {PLACES[0]} does not know the key of app1")

    def survey(_client):
        raise first

    troubles = [
        Trouble(PLACES[1], EndpointState.DOWN, KEY_UNKNOWN, f"n2 at {PLACES[1]} does not know it"),
        Trouble(PLACES[2], EndpointState.DOWN, UNREACHABLE, "the connection was refused"),
    ]
    monkeypatch.setattr(gathering, "survey", survey)
    client = SimpleNamespace(endpoints=PLACES, troubles=lambda: troubles)
    views = gathering._views(client)
    assert [view.why for view in views][:2] == [
        "n1 does not know the key of app1", "n2 does not know it"
    ]  # fmt: skip
    assert [view.refused_a_key for view in views] == [True, True, False]
    monkeypatch.setattr(gathering, "unreachable_words", lambda *_: "tried once more")
    assert gathering._silent(views) == {
        PLACES[0]: "n1 does not know the key of app1",
        PLACES[1]: "n2 does not know it",
        PLACES[2]: "tried once more",
    }
