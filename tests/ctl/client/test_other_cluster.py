"""A cluster was replaced by another one on the same endpoints: a client that began on the first one
writes nothing there, and says why."""

from paxosctl.client.client import Client
from paxosd.core.requests import WriteAnswer
from paxosd.wire import encode_client
from tests.ctl.client.test_shared import wait_until


def troubles(client):
    client.turn(1)
    return {each.code: each.message for each in client.troubles()}


def test_it_is_named(daemon):
    with Client([daemon.endpoint], timeout_s=3600) as client:
        client.put(b"k", b"1")
        writes = len(daemon.writes)
        client._connection.cluster = "before"
        call = client.submit([1, b"k", b"2"])
        wait_until(lambda: "other_cluster" in troubles(client))
        words = troubles(client)["other_cluster"]
        assert 'belongs to cluster "test"' in words
        assert 'began on "before"' in words
        assert not call.done
        assert len(daemon.writes) == writes


def test_of_another_answer_nothing_is_known(daemon):
    """Only that refusal says that nothing was done."""
    with Client([daemon.endpoint]) as client:
        frame = encode_client(WriteAnswer(1, 9, [5]), "test")
        assert client._connection._refusal_of_other(frame, daemon.endpoint) is None
