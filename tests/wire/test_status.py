"""The status of a node in an answer: older programs read it, and older and newer ones send it."""

from dataclasses import fields

import msgpack
import pytest

from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.membership import UNKNOWN, Member, Membership
from paxosd.core.message_room import MessageRoom
from paxosd.core.status import (
    DescriptorsStatus,
    DiskStatus,
    FounderStatus,
    FoundingStatus,
    FrameCut,
    LogLevelStatus,
    Misfit,
    NameStatus,
    NodeStatus,
    OriginStatus,
    PeerStatus,
    PortStatus,
    Reached,
    RecorderStatus,
    ScrubStatus,
    SecurityStatus,
    SnapshotStatus,
    StateDifference,
    SumMismatch,
    TraceStatus,
)
from paxosd.core.types import NULL_BALLOT, Ballot
from paxosd.wire.status import decode_status, encode_status

N1 = Member("tcp://h1:7411", "tcp://h1:7410", "tcp://h1:7412", True, 77)
N2 = Member("tcp://h2:7411", "tcp://h2:7410", "tcp://h2:7412", False)

FULL = NodeStatus(
    node="n1", cluster="c", version="0.1.0", boot_count=3, run_id=9 << 40, directory_id=77,
    role="leader", memory="new", votes=False,
    ballot=Ballot(7, "n1"), promised=Ballot(8, "n2"), leader="n1", leader_client=N1.client,
    elections=2, commit=5, known_commit=6, proposed=7, applied=5, lag_slots=1, age_ms=12,
    open_slots=1, queued_commands=4, reads_waiting=2, unconfirmed_by=("n2",),
    unconfirmed_ms=1500,
    voters=("n1",), quorum=1, phase1=1, phase2=1, fault_tolerance=-1,
    peers={"n2": PeerStatus(reachable=True, heard_ms_ago=3, commit=4, feature_level=1,
                            skew_ms=-5, voter=False, votes=False, client=N2.client,
                            link_problem="no key", hears=False),
           "n3": PeerStatus()},
    epoch=2, newest_epoch=3,
    membership=Membership({"n1": N1, "n2": N2}, epoch=2, slot=4, departed={"n9": N2}),
    members={"n1": Reached(N1.client, N1.events)},
    file_members={"n1": N1._replace(directory_id=0)},
    members_differ={"n2": {"file": None, "cluster": {"client": N2.client}}},
    genesis="00ff", founding=FoundingStatus(genesis="00ff", members={
        "n1": FounderStatus(voter=True, directory_id=77)}),
    restored_from=OriginStatus(cluster="old", slot=3, revision=2),
    feature_level=2, feature_level_lagging=("n2",),
    feature_level_known=9, feature_level_max=7,
    settings=ClusterSettings(version=1, level=2, key_bytes_max=100),
    file_settings={"key_bytes_max": 100}, message_room=MessageRoom(1000, 500),
    state="diverged", state_agreed_slot=2,
    state_difference=StateDifference(slot=3, sum="chain", own="a", others="b", members=("n2",)),
    state_odd={"n2": SumMismatch(slot=3, sum="state", own="a", others="c")},
    limits_differ=(Misfit("n2", "a", 1, "b", 2),), frames_cut=(FrameCut("n2", 1 << 20),),
    message_bytes_least=1 << 16, low_space=("n2",),
    revision=9, keys=8, held_bytes=5, quota="near", sessions=7, log_time_ms=6,
    wall_ms=1_700_000_000_000, uptime_ms=5, rss_bytes=4, cpu_ms=3,
    disk=DiskStatus(path="/d", wal_segments=1, wal_bytes=2, written_bytes=3, syncs=4,
                    sync_us_last=5, sync_us_median=6, sync_us_counts={"960": 4},
                    first_slot=1, last_slot=7, free_bytes=8,
                    free_files=9, poisoned=True),
    snapshot=SnapshotStatus(slot=3, age_ms=4, bytes=5, older_slots=(1, 2), running=True, taken=6,
                            fetching="reading", installed=7, scrub=ScrubStatus(found=1)),
    log=LogLevelStatus(level="debug", configured="info", left_ms=3, dropped=2),
    security=SecurityStatus(key="z85", rollout="done", warning="open"),
    trace=TraceStatus(enabled=True, file="f", bytes=5, bytes_max=6, stopped="full"),
    recorder=RecorderStatus(enabled=True, bytes=7, bytes_max=8, unwritten_blocks=2, lost_events=3,
                            problem="full"),
    names={"h2": NameStatus(addresses=("10.0.0.2",), error="no")},
    descriptors=DescriptorsStatus(total=3, reserve=2, used=1),
    connections={"client": PortStatus(4, 3, 2, 1)}, faults_enabled=True, fault_count=2,
    counters={"turns": 3},
)  # fmt: skip

FIRST = {
    "ballot": [7, "n1"], "promised": [7, "n1"], "leader": "n1", "commit": 5, "known_commit": 5,
    "proposed": 5, "voters": ["n1", "n2", "n3"], "epoch": 0, "quorum": 2, "phase1": 2, "phase2": 2,
    "fault_tolerance": 1, "elections": 1, "open_slots": 0, "queued_commands": 0, "role": "leader",
    "applied": 5, "lag_slots": 0, "reads_waiting": 0,
    "peers": {"n2": {"reachable": True, "heard_ms_ago": 12, "commit": 5, "voter": True,
                     "client_endpoint": N2.client}},
    "node": "n1", "cluster": "c", "incarnation": 4, "version": "0.1.0",
    "leader_endpoint": N1.client,
    "membership": {"epoch": 0, "slot": 0, "phase1": 0, "phase2": 0, "departed": {},
                   "members": {"n1": N1.document(), "n2": N2.document()}},
    "directory": 77, "memory": "whole", "wall_ms": 1_700_000_000_000, "revision": 3, "keys": 2,
    "sessions": 1, "log_time_ms": 99,
    "disk": {"path": "/d", "wal_segments": 1, "wal_bytes": 4096, "free_bytes": 1 << 30},
    "snapshot": {}, "uptime_ms": 1000, "rss_bytes": 1 << 20, "faults_enabled": False, "faults": 0,
    "members": {"n1": {"client": N1.client, "events": N1.events}},
    "counters": {"turns": 3},
}  # fmt: skip
"""What the program of version a642c03 answered."""


def over_the_wire(table):
    return msgpack.unpackb(msgpack.packb(table), strict_map_key=False)


def test_every_field_comes_back():
    defaults = NodeStatus()
    for field in fields(NodeStatus):
        if field.name != "more":
            assert getattr(FULL, field.name) != getattr(defaults, field.name), field.name
    assert decode_status(over_the_wire(encode_status(FULL))) == FULL


def test_the_keys_are_those_that_older_programs_read():
    table = encode_status(FULL)
    assert table["incarnation"] == 3
    assert table["directory"] == 77
    assert table["leader_endpoint"] == N1.client
    assert (table["level"], table["level_lagging"], table["faults"]) == (2, ["n2"], 2)
    assert table["ballot"] == [7, "n1"]
    assert table["peers"]["n2"]["level"] == 1
    assert table["peers"]["n2"]["client_endpoint"] == N2.client
    assert table["peers"]["n3"]["skew_ms"] is None
    assert table["founding"]["members"] == {"n1": {"voter": True, "directory": 77}}
    assert table["membership"]["members"]["n1"]["directory"] == 77
    assert set(table["file_members"]["n1"]) == {"peer", "client", "events", "voter"}
    assert table["state_odd"]["n2"].keys() == {"slot", "sum", "own", "others"}
    assert "more" not in table


def test_what_there_is_none_of_is_an_empty_table():
    table = encode_status(NodeStatus(genesis=""))
    assert (table["snapshot"], table["founding"], table["restored_from"]) == ({}, {}, {})
    assert table["state_difference"] is None
    assert table["genesis"] == ""


def test_an_older_version_leaves_out_what_it_does_not_know():
    status = decode_status(over_the_wire(FIRST))
    assert (status.boot_count, status.directory_id, status.fault_count) == (4, 77, 0)
    assert status.ballot == Ballot(7, "n1")
    assert status.membership.members == {"n1": N1, "n2": N2}
    assert status.peers["n2"].votes, "it did not say, so it counts"
    assert status.votes
    assert status.genesis is None
    assert status.snapshot is status.founding is status.settings is status.log is None
    assert (status.state, status.connections, status.limits_differ) == ("agreed", {}, ())


def test_what_a_newer_version_adds_is_kept_as_it_is():
    table = encode_status(FULL) | {"moon": {"phase": 3}}
    table["peers"]["n2"]["mood"] = "good"
    status = decode_status(over_the_wire(table))
    assert status.more == {"moon": {"phase": 3}}
    assert status.peers == FULL.peers
    assert encode_status(status)["moon"] == {"phase": 3}


@pytest.mark.parametrize(
    ("key", "value"),
    [("ballot", 7), ("ballot", ["n1", 7]), ("node", 3), ("commit", "x"), ("commit", True),
     ("peers", []), ("peers", {"n2": 3}), ("voters", "n1"), ("membership", 3),
     ("membership", {"members": {"n1": {}}}), ("membership", {"members": 3}), ("disk", None),
     ("settings", {"level": 0, "key_bytes_max": "x"}), ("message_room", {"x": 1}),
     ("snapshot", 3), ("members", {"n1": 3}), ("restored_from", "x"), ("connections", {"x": {}})],
)  # fmt: skip
def test_what_is_malformed_is_as_if_it_were_not_there(key, value):
    status = decode_status({"applied": 5, key: value})
    assert status.applied == 5


def test_nothing_at_all():
    status = decode_status({})
    assert (status.node, status.ballot, status.membership) == ("", NULL_BALLOT, UNKNOWN)
