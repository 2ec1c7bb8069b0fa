"""One suite for all dresses of a client: the blocking one, the asynchronous one, and the command
line where it has the same; and that the two clients do not drift apart."""

import inspect
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from paxosctl.client import (
    AsyncClient,
    AsyncWatcher,
    CasResult,
    Client,
    NotSubmittedError,
    OutcomeUnknownError,
    Pipeline,
    RefusedError,
    UnreachableError,
    Watcher,
)
from paxosctl.client.operations import Dress
from paxosctl.client.writes import WriteMethods
from paxosd.core.requests import GET, LINEARIZABLE, STALE, ReadAnswer
from tests.ctl.client.dresses import Awaited, Typed
from tests.ctl.fake_daemon import FakeDaemon, closed_port

CLIENTS = {"Client": Client, "AsyncClient": Awaited}


@pytest.fixture(params=[*CLIENTS, "paxosctl"])
def anyone(request, daemon, ctl):
    """A client in any dress, for what all have."""
    if request.param == "paxosctl":
        yield Typed(ctl, daemon.endpoint)
    else:
        with CLIENTS[request.param]([daemon.endpoint], timeout_s=30) as made:
            yield made


@pytest.fixture(params=CLIENTS)
def dress(request):
    """Makes a client for a program."""
    return CLIENTS[request.param]


@pytest.fixture
def client(dress, daemon):
    with dress([daemon.endpoint], timeout_s=30) as made:
        yield made


class TestKeys:
    def test_put_and_get(self, anyone):
        assert anyone.get(b"k") is None
        assert anyone.put(b"k", b"v") == 1
        assert anyone.put(b"k", b"w") == 2
        assert anyone.get(b"k") == (b"k", b"w", 1, 2, 2)

    def test_delete(self, anyone):
        assert anyone.delete(b"k") is None
        anyone.put(b"k", b"v")
        assert anyone.delete(b"k") == 2
        assert anyone.get(b"k") is None

    def test_delete_prefix(self, anyone):
        for key in (b"a/1", b"a/2", b"b"):
            anyone.put(key, b"v")
        assert anyone.delete_prefix(b"a/") == 2
        assert anyone.delete_prefix(b"a/") == 0
        assert anyone.get(b"b") is not None

    def test_cas(self, anyone):
        assert anyone.cas_value(b"k", None, b"1") == CasResult(True, 1)
        assert anyone.cas_value(b"k", None, b"2") == CasResult(False, 1)
        assert anyone.cas_value(b"k", b"1", b"2") == CasResult(True, 2)
        assert anyone.cas_revision(b"k", 1, b"3") == CasResult(False, 2)
        assert anyone.cas_revision(b"k", 2, b"3") == CasResult(True, 3)
        assert anyone.cas_revision(b"new", 0, b"4") == CasResult(True, 4)

    def test_scan(self, anyone):
        for key in (b"a/1", b"a/2", b"a/3", b"b"):
            anyone.put(key, b"v" + key)
        rows = list(anyone.scan(b"a/"))
        assert [(row.key, row.value) for row in rows] == [
            (key, b"v" + key) for key in (b"a/1", b"a/2", b"a/3")
        ]
        assert [row.key for row in anyone.scan(b"a/", limit=2)] == [b"a/1", b"a/2"]
        assert list(anyone.scan(b"none")) == []


class TestCalls:
    def test_a_scan_of_many_pages(self, client):
        for number in range(60):
            client.put(b"k/%03d" % number, b"x" * 100)
        keys = [b"k/%03d" % number for number in range(60)]
        assert [row.key for row in client.scan(b"k/")] == keys
        assert [row.key for row in client.scan(b"k/", reverse=True)] == keys[::-1]
        assert {row.value for row in client.scan(b"k/", keys_only=True)} == {b""}
        assert [row.key for row in client.range(b"k/010", b"k/013")] == keys[10:13]
        assert [row.key for row in client.scan(b"k/", limit=33, stale=True)] == keys[:33]
        assert len(list(client.pages(b""))) > 1

    def test_a_scan_that_is_not_read_to_its_end(self, client):
        for number in range(60):
            client.put(b"k/%03d" % number, b"x" * 100)
        rows = client.scan(b"k/")
        assert next(rows).key == b"k/000"
        rows.close()
        assert client.get(b"k/001") is not None

    def test_reads_beside_the_leader(self, client):
        client.put(b"k", b"v")
        found = client.get_stale(b"k")
        assert (found.value.value, found.revision) == (b"v", 1)
        answer = client.read([[GET, b"k"], [GET, b"no"]])
        assert (answer.results[0].value, answer.results[1]) == (b"v", None)

    def test_a_stale_read_is_never_older_than_is_wanted(self, client, daemon, monkeypatch):
        """What is older, or of an unknown age, is read from a quorum, or not at all."""
        client.put(b"k", b"v")
        modes, real = [], daemon._answer
        ages = {STALE: 0, LINEARIZABLE: 0}

        def aged(request):
            answer = real(request)
            if not isinstance(answer, ReadAnswer):
                return answer
            modes.append(request.mode)
            return answer._replace(age_ms=ages[request.mode])

        monkeypatch.setattr(daemon, "_answer", aged)
        for age_ms, expected in ((500, [STALE]), (501, [STALE, LINEARIZABLE]),
                                 (-1, [STALE, LINEARIZABLE])):  # fmt: skip
            ages[STALE] = age_ms
            modes.clear()
            found = client.get_stale(b"k", max_age_ms=500)
            assert found.value.value == b"v"
            assert 0 <= found.age_ms <= 500
            assert modes == expected
        daemon.refusal = "no_leader"
        with pytest.raises(NotSubmittedError):
            client.get_stale(b"k", max_age_ms=500, timeout_s=0.3)
        assert client.get_stale(b"k").value.value == b"v"
        with pytest.raises(TypeError):
            client.get_stale(b"k", max_age_ms="500")

    def test_the_cluster(self, client, daemon):
        assert client.status()["node"] == "n1"
        assert client.status(daemon.endpoint)["node"] == "n1"
        assert client.admin("status")["node"] == "n1"
        assert client.health().slot > 0
        assert client.start_checksum() > 0
        assert client.cluster == "test"
        assert client.endpoints == [daemon.endpoint]
        assert [each.code for each in client.troubles()] == [""]
        with pytest.raises(RefusedError):
            client.admin("no such verb")

    def test_an_outcome(self, client):
        client.put(b"k", b"v")
        assert client.outcome(client.session, 2).state == "fenced"
        assert client.outcome(999, 1).state == "session_unknown"

    def test_what_is_no_key_is_refused_before_it_is_sent(self, client, daemon):
        for use in (client.get, client.delete, lambda key: client.put(key, b"v")):
            with pytest.raises(TypeError, match="are bytes"):
                use("text")
        with pytest.raises(TypeError, match="are bytes"):
            list(client.scan("text"))
        assert daemon.writes == []

    def test_reads_from_the_nearest_go_to_all_nodes(self, dress, daemon):
        with (
            FakeDaemon("n2", follows=daemon) as second,
            FakeDaemon("n3", follows=daemon) as third,
            dress(
                [each.endpoint for each in (daemon, second, third)],
                timeout_s=30,
                read_from="nearest",
            ) as client,
        ):
            client.put(b"k", b"v")
            until = time.monotonic() + 60
            while len(client.reads_by_endpoint) < 3:
                assert client.get(b"k").value == b"v"
                assert time.monotonic() < until, client.reads_by_endpoint
            assert {len(each.writes) for each in (second, third)} == {0}
        with pytest.raises(ValueError, match="read_from is one of leader, nearest"):
            dress([daemon.endpoint], read_from="anywhere")


class TestFailures:
    def test_nobody_is_there(self, dress):
        with (
            dress([closed_port()], timeout_s=0.2) as client,
            pytest.raises(UnreachableError) as failed,
        ):
            client.put(b"k", b"v")
        assert failed.value.code == "unreachable"

    def test_no_answer(self, client, daemon):
        client.put(b"k", b"v")
        daemon.deaf_writes = True
        with pytest.raises(OutcomeUnknownError) as failed:
            client.put(b"k", b"w", timeout_s=0.2)
        daemon.deaf_writes = False
        assert client.outcome(failed.value.session, failed.value.seq).state == "fenced"
        assert client.put(b"k", b"w") == 2

    def test_a_refusal_that_passes(self, client, daemon):
        daemon.refusal = "no_leader"
        with pytest.raises(NotSubmittedError, match="no_leader"):
            client.get(b"k", timeout_s=0.2)
        daemon.refusal = ""
        assert client.get(b"k") is None

    def test_a_hint_is_followed(self, dress):
        with FakeDaemon("n1") as leader, FakeDaemon("n2", follows=leader) as follower:
            follower.refusal, follower.hint = "not_leader", leader.endpoint
            with dress([follower.endpoint], timeout_s=30) as client:
                assert client.put(b"k", b"v") == 1

    def test_it_goes_on_with_another_node(self, dress):
        with (
            FakeDaemon("n1") as first,
            FakeDaemon("n2", follows=first) as second,
            dress([first.endpoint, second.endpoint], timeout_s=30) as client,
        ):
            client.put(b"k", b"v")
            first.silent_writes = True
            assert client.put(b"k", b"w") == 2
            first.stop()
            assert client.get(b"k").value == b"w"

    def test_after_close(self, dress, daemon):
        with dress([daemon.endpoint], timeout_s=30) as client:
            client.put(b"k", b"v")
            client.close()
            client.close()
            with pytest.raises(RuntimeError, match="the client is closed"):
                client.get(b"k")

    def test_bad_arguments(self, dress):
        with pytest.raises(TypeError, match="list of strings"):
            dress("tcp://127.0.0.1:1")
        with pytest.raises(ValueError, match="timeout_s"):
            dress(timeout_s=0)


class TestWatch:
    def test_every_change(self, client):
        client.put(b"k", b"0")
        watcher = client.watch(b"k", from_revision=1)
        for number in range(1, 50):
            client.put(b"k", b"%d" % number)
        client.delete(b"k")
        changes = [next(watcher) for _ in range(51)]
        assert [change.revision for change in changes] == list(range(1, 52))
        assert [change.value for change in changes] == [*(b"%d" % n for n in range(50)), None]
        assert watcher.resume_revision == 52
        watcher.close()
        assert list(watcher) == []

    def test_of_a_prefix_and_none_within_the_time(self, client):
        watcher = client.watch(b"a/", prefix=True, from_revision=1)
        client.put(b"b", b"v")
        assert watcher.poll(10) is None
        client.put(b"a/1", b"v")
        assert watcher.poll(30_000).key == b"a/1"

    def test_a_key_above_the_limit(self, client):
        with pytest.raises(RefusedError, match="key is 100000 bytes"):
            next(client.watch(b"k" * 100_000))

    def test_it_goes_on_after_its_node(self, dress):
        with FakeDaemon("n1") as first, FakeDaemon("n2", follows=first) as second:
            troubles = []
            with dress([first.endpoint, second.endpoint], timeout_s=30) as client:
                watcher = client.watch(b"k", from_revision=1, on_trouble=troubles.append)
                client.put(b"k", b"0")
                assert next(watcher).value == b"0"
                first.stop()
                client.put(b"k", b"1")
                assert next(watcher).value == b"1"
                assert len(troubles) >= 1


# -- the two do not drift apart

ONLY_BLOCKING = {
    "pipeline": "tasks are what a pipeline is for",
    "submit": "what a pipeline and some verbs of paxosctl are made of: calls not waited for",
    "begin": "the same",
    "finish": "the same",
    "cancel": "a task is cancelled",
    "turn": "an event loop does it",
    "pause": "asyncio.sleep does it",
    "wait": "of the driver's seat, which tasks do not need",
    "alone": "the same",
    "start_admin": "several nodes are asked at a time by tasks",
    "admin_result": "the same",
}
ONLY_AWAITED = {
    "begin": "what a call is made of",
    "news": "what a watch is made of",
    "end": "the same",
}


UNTIMED = {"begin", "close", "troubles", "failure_of",
           "election", "barrier", "counter", "registry", "config"}  # fmt: skip
"""The recipes: what is awaited are the methods of what they give."""


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


def signature(function):
    return [
        (each.name, each.kind, each.default, each.annotation)
        for each in inspect.signature(function).parameters.values()
    ]


class TestParity:
    def test_each_method_is_in_both_or_has_a_reason(self):
        assert public(Client) - public(AsyncClient) == set(ONLY_BLOCKING) - set(ONLY_AWAITED)
        assert public(AsyncClient) - public(Client) == set(ONLY_AWAITED) - set(ONLY_BLOCKING)
        assert public(Watcher) == public(AsyncWatcher)

    @pytest.mark.parametrize("name", sorted(public(Client) & public(AsyncClient)))
    def test_signature_and_docstring_agree(self, name):
        blocking, awaited = getattr(Client, name), getattr(AsyncClient, name)
        if not callable(blocking) or name in {"begin", "close"}:
            return
        assert signature(blocking) == signature(awaited)
        assert blocking.__doc__ == awaited.__doc__
        assert blocking.__doc__

    def test_each_method_has_a_time(self):
        for name in public(Client) & public(AsyncClient):
            made = inspect.getattr_static(Client, name)
            if callable(made) and name not in UNTIMED:
                assert "timeout_s" in inspect.signature(made).parameters, name

    def test_what_they_return(self):
        assert inspect.signature(Client.put).return_annotation is int
        assert inspect.iscoroutinefunction(AsyncClient.put)
        assert not inspect.iscoroutinefunction(Client.put)
        scan = inspect.signature(Client.scan).return_annotation
        assert scan.__origin__ is Iterator
        assert inspect.signature(AsyncClient.scan).return_annotation.__origin__ is AsyncIterator

    def test_a_pipeline_has_each_method_that_changes_keys(self):
        writes = public(WriteMethods)
        assert len(writes) >= 6
        for name in writes:
            assert signature(getattr(Pipeline, name)) == signature(getattr(Client, name))

    def test_a_method_that_is_added_is_in_all_dresses(self):
        from paxosctl.client.operations import Steps, operation
        from paxosctl.client.runner import CallRunner

        class More:
            @operation
            def twice(self, number: int, *, timeout_s: float | None = None) -> Steps[int]:
                """Twice."""
                yield from ()
                return 2 * number

        class Both(More, CallRunner):
            pass

        assert issubclass(Both, Dress)
        with Both([closed_port()]) as client:
            assert client.twice(4) == 8
        assert inspect.signature(Both.twice).return_annotation is int
        assert Both.twice.__doc__ == "Twice."
