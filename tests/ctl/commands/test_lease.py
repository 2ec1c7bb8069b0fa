"""lease and put --lease: what each does, prints and ends with; and the methods behind them."""

import json

import pytest

from paxosctl.client import Client, LeaseUnknownError, RefusedError
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.lease_bounds import FIRST_ID, IDS_PER_KEEPALIVE_MAX, KEYS_MAX
from paxosd.core.requests import LEASES_PER_PAGE_MAX, RefusalAnswer


@pytest.fixture
def ctl(daemon, ctl):
    daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)
    return ctl


@pytest.fixture
def client(daemon):
    daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)
    with Client([daemon.endpoint], name="anna") as client:
        yield client


def test_a_life_in_each_format(ctl):
    assert ctl("lease", "grant", "10s") == (0, f"lease {FIRST_ID}, 10 s\n", "")
    lease = f"{FIRST_ID}"
    assert ctl("put", "k", "v", "--lease", lease)[0] == 0
    code, out, _ = ctl("lease", "ttl", lease, "--keys", "-o", "json")
    found = json.loads(out)
    assert (code, found["lease"], found["ttl_ms"], found["keys"]) == (0, FIRST_ID, 10_000, ["k"])
    assert set(found) == {"lease", "ttl_ms", "remaining_ms", "session", "client", "owner", "keys"}
    assert 9000 < int(ctl("lease", "ttl", lease, "-o", "plain")[1]) <= 10_000
    assert "k" in ctl("lease", "ttl", lease, "--keys")[1].splitlines()
    assert ctl("lease", "keepalive", lease, "-o", "plain") == (0, f"{lease}\t10000\n", "")
    assert ctl("lease", "list", "-o", "plain")[1].startswith(f"{lease}\t10000\t")
    assert lease in ctl("lease", "list")[1]
    out = ctl("lease", "revoke", lease, "-o", "json")[1]
    assert json.loads(out) == {"lease": FIRST_ID, "deleted": 1, "revision": 2}
    assert ctl("get", "k")[0] == 1
    assert ctl("lease", "list") == (0, "there are no leases\n", "")
    assert json.loads(ctl("lease", "list", "-o", "json")[1]) == {"leases": []}


def test_one_that_is_not_there_is_a_negative_answer(ctl):
    for words in (["ttl", "7"], ["revoke", "7"]):
        code, out, err = ctl("lease", *words)
        assert (code, out) == (1, "")
        assert "there is no lease 7" in err
        assert json.loads(ctl("lease", *words, "-o", "json")[1])["lease"] == 7
    code, out, err = ctl("lease", "keepalive", "7", "8", "-o", "json")
    assert code == 1
    assert json.loads(out) == {
        "leases": [{"lease": 7, "ttl_ms": None}, {"lease": 8, "ttl_ms": None}]
    }
    assert "not there any more: 7, 8" in err
    code, out, err = ctl("put", "k", "v", "--lease", "7")
    assert (code, out) == (1, "")
    assert "there is no lease 7: it was revoked or expired, or never granted" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grant", "999ms"], "a TTL from 1s to 365d"), (["grant", "never"], "never"),
        (["grant", "5s", "--id", f"{FIRST_ID}"], "--id"), (["keepalive"], "ID"),
        (["revoke", "0"], "0"), (["ttl", "x"], "x"), (["renew", "7"], "renew"),
    ],
)  # fmt: skip
def test_wrong_usage(ctl, words, said):
    code, out, err = ctl("lease", *words)
    assert (code, out) == (2, "")
    assert said in err


def test_a_wanted_id_that_is_taken(ctl):
    assert ctl("lease", "grant", "5s", "--id", "7", "-o", "plain") == (0, "7\n", "")
    code, _, err = ctl("lease", "grant", "5s", "--id", "7")
    assert code == 77
    assert "lease 7 is there already" in err


def test_below_the_level_it_is_said(ctl, daemon):
    daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION - 1)
    for words in (["lease", "grant", "5s"], ["put", "k", "v", "--lease", "7"]):
        code, _, err = ctl(*words)
        assert code == 77
        assert "from feature level 4 on" in err


def test_more_than_one_command_or_page_takes(client, daemon):
    count = IDS_PER_KEEPALIVE_MAX + LEASES_PER_PAGE_MAX // 2
    with client.pipeline() as pipe:
        first = client.grant(5)
        assert len(pipe) == 0
    for _ in range(count):
        daemon.machine.leases.grant(0, 5000, 0, 1, "ben", 10_000)
    ids = list(range(first, first + count + 1))
    assert client.keepalive([*ids, 5]) == dict.fromkeys(ids, 5000) | {5: 0}
    rows = list(client.leases())
    assert [row.id for row in rows] == ids
    assert (rows[0].name, rows[-1].name) == ("anna", "ben")


def test_pipelined_puts_with_a_lease(client):
    lease = client.grant(5)
    with client.pipeline() as pipe:
        for number in range(3):
            pipe.put(b"%d" % number, b"", lease=lease)
    assert client.lease(lease).keys == [b"0", b"1", b"2"]
    assert client.lease(lease, keys=False).keys == []
    with pytest.raises(LeaseUnknownError) as caught, client.pipeline() as pipe:
        pipe.put(b"x", b"", lease=77)
    assert (caught.value.lease, caught.value.code) == (77, "lease_unknown")


def test_what_is_full(client, daemon):
    lease = client.grant(5)
    with client.pipeline() as pipe:
        for number in range(KEYS_MAX):
            pipe.put(b"%d" % number, b"", lease=lease)
    with pytest.raises(RefusedError, match="as many keys as one can have"):
        client.put(b"more", b"", lease=lease)
    daemon.machine.settings = daemon.machine.settings._replace(leases_max=1)
    with pytest.raises(RefusedError, match="as many leases as the setting leases_max allows"):
        client.grant(5)


def test_a_node_of_before_says_nothing_of_owners(daemon, client, monkeypatch):
    """It refuses the queries that ask for them; to one that knows them nothing is asked twice."""
    lease = client.grant(5)
    asked = []

    def read(request):
        asked.append(request.queries[0])
        if before and len(request.queries[0]) > 3:
            return RefusalAnswer(request.request_id, "invalid", "no such query", "", "", 0)
        return answer(request)

    answer = daemon._read
    monkeypatch.setattr(daemon, "_read", read)
    for before, owner in ((True, None), (False, "")):
        asked.clear()
        assert client.lease(lease).owner == owner
        assert [each.owner for each in client.leases()] == [owner]
        assert len(asked) == (4 if before else 2)


def test_another_refusal_is_passed_on(daemon, client):
    daemon.refusal = "forbidden"
    for ask in (lambda: client.lease(7), lambda: list(client.leases())):
        with pytest.raises(RefusedError, match="forbidden"):
            ask()
    assert daemon.refusals == 2
