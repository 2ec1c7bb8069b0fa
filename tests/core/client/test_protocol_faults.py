"""The client protocol against a cluster that does its worst, with the real state machine.

Whatever happens: a command takes effect at most once; each call ends exactly once, and its ending
is true; acknowledgements never pass a command that is still waited for; and once all is well
again, everything works. A failure names its seed: ``UnsureCluster(seed)`` repeats it.
"""

from collections import Counter

import pytest

from paxosd.core.client.calls import NotSubmitted, OutcomeUnknown, Refused
from paxosd.core.commands import CAS_REVISION, CAS_VALUE, FENCE, PUT, Status
from paxosd.core.requests import GET, LINEARIZABLE, AdminRequest, ReadRequest
from tests.ctl.unsure_cluster import BAD_KEY, NODES, UnsureCluster

SEEDS = range(40)
STEPS = 150


def _campaign(seed):
    """Random work and trouble; returns the cluster, healed and quiet, and what was asked."""
    cluster = UnsureCluster(seed)
    rng = cluster.rng
    asked, admin = [], {}
    for step in range(STEPS):
        for _ in range(rng.choice([0, 0, 1, 5])):
            key = b"k%d" % len(cluster.calls_by_key)
            timeout_ms = rng.choice([40, 400, 4000])
            command = rng.choice(
                [
                    [PUT, key, b"%d" % step],
                    [CAS_REVISION, key, 0, b"new"],
                    [CAS_VALUE, key, b"never", b"new"],
                ]
            )
            cluster.submit(key, command, timeout_ms)
        if rng.random() < 0.05:
            key = BAD_KEY + b"%d" % step
            cluster.submit(key, [PUT, key, b""], rng.choice([150, 1000]))
        if rng.random() < 0.1:
            read = ReadRequest(0, LINEARIZABLE, [[GET, b"k0"]])
            asked.append(cluster.protocol.ask(read, cluster.now, rng.choice([50, 2000])))
        if rng.random() < 0.1:
            request = AdminRequest(0, "fault_add", {"name": str(step)})
            pinned = rng.choice(["", NODES[0]])
            admin[str(step)] = cluster.protocol.ask(
                request, cluster.now, 2000, endpoint=pinned, repeatable=False
            )
        if rng.random() < 0.06:
            cluster.change_leader()
        if rng.random() < 0.06:
            cluster.break_link(rng.choice(NODES))
        cluster.run(rng.choice([1, 10, 60]))
    cluster.heal()
    cluster.run(15_000)  # beyond every deadline and every delay
    return cluster, asked, admin


@pytest.fixture(scope="module", params=SEEDS)
def campaign(request):
    """One campaign for all the questions that the tests ask about it."""
    return _campaign(request.param)


def _calls(cluster):
    return [(key, call) for key, calls in cluster.calls_by_key.items() for call in calls]


def test_each_call_ends_exactly_once(campaign):
    cluster, asked, admin = campaign
    calls = [call for _, call in _calls(cluster)] + asked + list(admin.values())
    ended = Counter(map(id, cluster.ended))
    assert all(ended[id(call)] == 1 for call in calls)
    assert len(ended) == len(calls)
    assert not cluster.protocol.busy


def test_each_ending_is_true(campaign):
    cluster, _, _ = campaign
    store = cluster.machine.store
    for key, call in _calls(cluster):
        found = store.get(key)
        assert found is None or found.version == 1, f"{key} was carried out twice"
        if isinstance(call.failure, NotSubmitted | Refused):
            assert found is None, f"{key} ended {call.failure}, but it was carried out"
        elif call.failure is None and isinstance(call.result, int):
            assert found is not None, f"{key} was acknowledged and is not there"
            assert call.result == found.modify_revision
        elif call.failure is None:
            assert call.result[0] == Status.CAS_MISS
            assert found is None


def test_an_unknown_outcome_can_be_asked_for(campaign):
    cluster, _, _ = campaign
    store = cluster.machine.store
    for key, call in _calls(cluster):
        if not isinstance(call.failure, OutcomeUnknown):
            continue
        session, seq, _ = call.failure
        assert cluster.keys_by_seq.get((session, seq), [0, key])[1] == key
        kept = cluster.machine.sessions.table.get(session)
        idle_max_ms = cluster.limits.session_ttl_ms - 1000
        known = kept is not None and cluster.now - kept.last_ms < idle_max_ms
        asked = cluster.protocol.submit_alone([FENCE, session, seq], cluster.now, 5000)
        cluster.run(200)
        status = asked.result[0]
        if status == Status.COMMITTED:
            _, result = asked.result[2]
            found = store.get(key)
            assert result == found.modify_revision if isinstance(result, int) else found is None
        elif status == Status.FENCED:
            assert store.get(key) is None
        elif status == Status.WINDOW:
            assert seq > kept.acked + cluster.limits.session_window_max
            assert store.get(key) is None
        else:
            assert status == Status.SESSION_UNKNOWN
            assert not known


def test_an_admin_request_that_must_not_be_repeated_is_not(campaign):
    cluster, _, admin = campaign
    for name, call in admin.items():
        times = cluster.done_admin.get(name, 0)
        assert times <= 1, f"{name} was carried out {times} times"
        if isinstance(call.failure, NotSubmitted):
            assert times == 0, f"{name} ended {call.failure}, but it was carried out"


def test_afterwards_everything_works(campaign):
    cluster, _, _ = campaign
    calls = [
        cluster.submit(key, [PUT, key, b"after"], 5000)
        for key in [b"after%d-%d" % (cluster.now, i) for i in range(30)]
    ]
    cluster.run(2000)
    assert [call.failure for call in calls] == [None] * 30


def test_the_campaigns_are_not_idle():
    """Every ending and every refusal worth testing comes up, or the tests above prove nothing."""
    endings, expired = Counter(), 0
    for seed in SEEDS:
        if seed % 2 == 0:
            cluster, _, _ = _campaign(seed)
            for _, call in _calls(cluster):
                name = "result" if call.failure is None else type(call.failure).__name__
                endings[name] += 1
            expired += cluster.machine.sessions.next_id - 1 - len(cluster.machine.sessions)
    assert endings["result"] > 1000
    assert endings["OutcomeUnknown"] > 50
    assert endings["NotSubmitted"] > 50
    assert endings["Refused"] > 10
    assert expired > 10
