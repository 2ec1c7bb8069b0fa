"""A node that is cut off from the others cannot hear that a key was revoked: it serves for as long
as the rights table allows, refuses then, and is well again once it hears the others."""

import json
import signal

import pytest

from paxosd.core.effects import FORBIDDEN, UNCONFIRMED
from paxosd.core.requests import (
    GET,
    STALE,
    AdminAnswer,
    AdminRequest,
    HistoryRequest,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
)
from tests.processes.keyed import KeyedDaemons
from tests.processes.processes import wait_for
from tests.processes.test_keyed_clients import begin

BOUND_MS = 3000
KEY = b"/app/x"
READ = ReadRequest(1, STALE, [[GET, KEY]])
HISTORY = HistoryRequest(2, KEY, KEY + b"\0", 1, 0)
FILES = AdminRequest(3, "file_list", {})
ALIVE = AdminRequest(4, "alive", {})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with KeyedDaemons(tmp_path_factory.mktemp("cut")) as daemons:
        typed = begin(daemons)
        typed("auth", "require", "on", "--unconfirmed", f"{BOUND_MS}ms")
        typed("put", KEY.decode(), "before")
        yield daemons, typed


def value_of(answer):
    (found,) = answer.results
    return found.value if found else None


def wait_equal_to(raw, value):
    """Until the node of this connection has it."""

    def has_it():
        answer = raw.ask(READ)
        return isinstance(answer, ReadAnswer) and value_of(answer) == value

    wait_for(has_it, what="the value there")


def test_a_key_that_is_revoked_meanwhile_is_served_no_longer_than_the_bound(cluster):
    daemons, typed = cluster
    app = typed.new("app1", "--read", "/app/")
    leader = daemons.wait_leader()
    cut, _ = daemons.followers(leader)
    with (
        daemons.knock(cut, "client", app) as raw,
        daemons.knock(cut, "client", daemons.alice) as own,
    ):
        wait_for(lambda: isinstance(raw.ask(READ), ReadAnswer), what="an answer by the new key")
        wait_equal_to(raw, b"before")
        for name in daemons.names:
            daemons.admin(name, "fault_add", name="cut", kind="isolate", on=cut)
        typed("auth", "revoke", "app1")
        typed("put", KEY.decode(), "after")
        served = []

        def refused():
            answer = raw.ask(READ)
            if isinstance(answer, ReadAnswer):
                served.append(answer)
                return False
            return answer.code == UNCONFIRMED

        wait_for(refused, what="the end of what it serves")
        assert served, "until then it serves"
        assert {value_of(answer) for answer in served} == {b"before"}
        assert max(answer.age_ms for answer in served) <= BOUND_MS
        for asked, asks in ((READ, own), (HISTORY, raw), (HISTORY, own), (FILES, own)):
            answer = asks.ask(asked)
            assert isinstance(answer, RefusalAnswer), asked
            assert answer.code == UNCONFIRMED
            assert "heard of no quorum" in answer.message
        assert isinstance(own.ask(ALIVE), AdminAnswer)
        assert daemons.status(cut) is not None, "it still says how it is"
        with daemons.client(cut, key=daemons.alice) as elsewhere:
            assert elsewhere.get_stale(KEY).value.value == b"after", "from another node"

        daemons.heal()
        wait_equal_to(own, b"after")
        for asked in (READ, HISTORY):
            assert raw.ask(asked).code == FORBIDDEN, "it knows now whose key that was"
        assert not isinstance(own.ask(FILES), RefusalAnswer)
    daemons.check_equal()
    table_of_cut = typed("auth", "list")
    assert "app1" not in {each["name"] for each in table_of_cut["principals"]}


def test_paxosctl_says_so_and_ends_with_the_code_of_what_may_be_tried_again(cluster):
    """All others are stopped: there is no node to turn to."""
    daemons, typed = cluster
    leader = daemons.wait_leader()
    cut, *_ = daemons.followers(leader)
    others = [name for name in daemons.names if name != cut]
    ask = ("--timeout", "2s", "get", "--stale", KEY.decode())
    with daemons.knock(cut, "client", daemons.alice) as raw:
        wait_for(lambda: isinstance(raw.ask(READ), ReadAnswer), what="an answer")
        try:
            for name in others:
                daemons.signal(name, signal.SIGSTOP)
            wait_for(lambda: getattr(raw.ask(READ), "code", "") == UNCONFIRMED, what="the refusal")
            done = daemons.run(
                "paxosctl", "--endpoints", daemons.endpoint(cut), "--key-file",
                str(typed.path("alice")), "-o", "json", *ask,
            )  # fmt: skip
        finally:
            for name in others:
                daemons.signal(name, signal.SIGCONT)
    said = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, done.stdout) == (75, ""), said
    assert "who may read here" in done.stderr
    wait_for(
        lambda: daemons.run(
            "paxosctl", "--endpoints", daemons.endpoint(cut), "--key-file",
            str(typed.path("alice")), *ask,
        ).returncode == 0,
        what="an answer after the heal",
    )  # fmt: skip
