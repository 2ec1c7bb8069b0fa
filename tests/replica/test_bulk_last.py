"""A page is made when the writes and votes of the turn are on their way, never before."""

from paxosd.core.commands import PUT, Entry
from paxosd.core.requests import HistoryRequest, WriteRequest
from paxosd.core.state.queries import Queries
from paxosd.replica.bulk_pace import PIECE_PART
from paxosd.wire import encode_entry
from tests.replica.test_commit_at_once import noting
from tests.sim.simple import make_cluster, run_for
from tests.sim.test_turns import Greedy


def put(client, number):
    """Ask for a put, and wait for nothing."""
    client.seq += 1
    blob = encode_entry(Entry(client.session, client.seq, 0, [[PUT, b"%05d" % number, b""]]))
    client.cluster.invariants.proposed.add(blob)
    return client.ask(lambda number: WriteRequest(number, blob))


def turns_beside_scans(monkeypatch):
    """What a node that leads did in each of its turns, in order."""
    cluster = make_cluster(7, 3, at_once_share=1.0)
    client = Greedy(cluster, cluster.elect())
    client.write(*([PUT, b"%05d" % number, b""] for number in range(1000)))
    leader = cluster.processes[client.node]
    notes = []
    noting(monkeypatch, leader, "_take_turn", notes, "turn")
    noting(monkeypatch, leader.bus, "send", notes, "send")
    noting(monkeypatch, leader.replica.commits, "collect", notes, "synced")
    noting(monkeypatch, Queries, "answer", notes, "page")
    for number in range(50):
        asked = [client.scan(), put(client, number), client.scan()]
        run_for(cluster, 1)
        for each in asked:
            client.wait(each)
    return [turn.split() for turn in " ".join(notes).split("turn")]


def test_pages_come_last_and_one_a_turn_beside_writes(monkeypatch):
    turns = turns_beside_scans(monkeypatch)
    paged = [turn for turn in turns if "page" in turn]
    assert sum(turn.count("page") for turn in paged) == 100
    assert all(turn.count("page") == 1 for turn in paged)
    assert any("synced" in turn for turn in paged)
    assert all(turn[-1] == "page" for turn in paged)


def test_answers_with_the_log_and_history_are_smaller_beside_writes():
    cluster = make_cluster(7, 3)
    client = Greedy(cluster, cluster.elect())
    replica = cluster.processes[client.node].replica
    run_for(cluster, 1000)
    most_bytes = replica.log_source._bytes_max()
    for first in range(0, 3000, 1000):
        client.write(*([PUT, b"%05d" % number, b""] for number in range(first, first + 1000)))
    assert replica.log_source._bytes_max() == most_bytes // PIECE_PART
    asked = HistoryRequest(1, b"", b"", 1, 0)
    few = replica.service._history(asked).changes
    run_for(cluster, 1000)
    assert replica.log_source._bytes_max() == most_bytes
    assert len(few) < len(replica.service._history(asked).changes) == 3000
