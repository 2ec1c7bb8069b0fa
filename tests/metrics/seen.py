"""An observation in which every metric has a sample."""

from dataclasses import replace

from paxosd.core.status import (
    DescriptorsStatus,
    DiskStatus,
    NodeStatus,
    PeerStatus,
    PortStatus,
    RecorderStatus,
    SnapshotStatus,
)
from paxosd.core.types import Ballot
from paxosd.host.histogram import Histogram
from paxosd.metrics.observation import Observation
from paxosd.replica.request_times import STAGES

STATUS = NodeStatus(
    node="n1",
    cluster="c1",
    version="1.2",
    role="leader",
    leader="n1",
    ballot=Ballot(3, "n1"),
    commit=90,
    known_commit=100,
    applied=90,
    lag_slots=10,
    age_ms=20,
    voters=("n1", "n2"),
    quorum=2,
    peers={"n2": PeerStatus(reachable=True, heard_ms_ago=5, commit=80, skew_ms=-1500)},
    held_bytes=10,
    quota="near",
    wall_ms=5000.0,
    uptime_ms=1000,
    cpu_ms=1500,
    disk=DiskStatus(wal_bytes=4096, free_bytes=10, free_files=3),
    snapshot=SnapshotStatus(slot=50, age_ms=2000, bytes=123),
    recorder=RecorderStatus(),
    descriptors=DescriptorsStatus(total=100, reserve=10, used=30),
    connections={"client": PortStatus(3, 100)},
    counters={
        "turns": 7,
        "sent.peer": 1,
        "received.peer": 2,
        "unsent.n2": 3,
        "refused.version": 4,
        "redialled.n2": 5,
        "redialled_votes.n2": 6,
    },
)


def histogram(*durations_us):
    made = Histogram()
    for each in durations_us:
        made.note(each)
    return made


def observation(**changes):
    seen = Observation(
        at_ms=0.0,
        status=STATUS,
        requests={"write": 5},
        writes={"ok": histogram(64, 65, 40_000_000), "busy": histogram(1)},
        reads={"ok": histogram(100)},
        stages={stage: histogram(10) for stage in STAGES},
        fault_hits={"drop": 2},
        quota_bytes_max=100,
    )
    return replace(seen, **changes)
