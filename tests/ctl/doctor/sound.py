"""Evidence of a sound cluster of three on a sound machine, and ways to change a part of it."""

from dataclasses import replace

from paxosctl.cli.survey import NodeView
from paxosctl.client.errors import HandshakeError
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.machine import Directory, FileSystem, Machine, Process
from paxosctl.member.probe import Link
from paxosd.config.sources import load
from paxosd.core.cluster_settings import LEVEL_LATEST, ClusterSettings
from paxosd.core.membership import Member, Membership
from paxosd.core.status import (
    DescriptorsStatus,
    DiskStatus,
    FounderStatus,
    FoundingStatus,
    LogLevelStatus,
    NodeStatus,
    PeerStatus,
    PortStatus,
    RecorderStatus,
    SnapshotStatus,
)
from paxosd.core.types import Ballot

NAMES = ("n1", "n2", "n3")
GIB = 1 << 30


def place(name, kind):
    return f"tcp://{name}:{7400 + ('client', 'peer', 'events').index(kind)}"


MEMBERS = {
    name: Member(*(place(name, kind) for kind in ("peer", "client", "events"))) for name in NAMES
}
MEMBERSHIP = Membership(MEMBERS, epoch=3, slot=7)


def configuration(*overrides):
    """As of n1."""
    members = [
        f"cluster.members.{name}.{kind}={place(name, kind)}"
        for name in NAMES
        for kind in ("peer", "client", "events")
    ]
    given = ("cluster.id=c", "node.name=n1", "node.data_dir=/data/n1", *members, *overrides)
    return load(None, given, {})


def status(name):
    """n1 leads."""
    settings = ClusterSettings(1, LEVEL_LATEST)
    return NodeStatus(
        node=name, cluster="c", version="0.1.0", boot_count=1, run_id=1, directory_id=7,
        role="leader" if name == "n1" else "follower", leader="n1",
        leader_client=place("n1", "client"),
        ballot=Ballot(5, "n1"), promised=Ballot(5, "n1"), commit=100, known_commit=100, applied=100,
        voters=NAMES, quorum=2, phase1=2, phase2=2, fault_tolerance=1, epoch=3, newest_epoch=3,
        membership=MEMBERSHIP, uptime_ms=3_600_000, genesis="00000000000000aa",
        founding=FoundingStatus(genesis="00000000000000aa",
                                members={each: FounderStatus() for each in NAMES}),
        feature_level=LEVEL_LATEST, settings=settings,
        file_settings={"key_bytes_max": settings.key_bytes_max}, quota="ok",
        peers={
            each: PeerStatus(reachable=True, heard_ms_ago=20, commit=100, skew_ms=3,
                             client=place(each, "client"))
            for each in NAMES if each != name
        },
        disk=DiskStatus(path=f"/data/{name}", wal_bytes=1 << 20, syncs=1000, sync_us_median=900,
                        sync_us_counts={"1024": 990, "4096": 10}, free_bytes=100 * GIB,
                        free_files=1 << 20),
        snapshot=SnapshotStatus(slot=50, age_ms=1000), log=LogLevelStatus(level="info"),
        recorder=RecorderStatus(enabled=True), descriptors=DescriptorsStatus(total=65536, used=60),
        connections={"client": PortStatus(2, 1000)},
    )  # fmt: skip


def machine():
    return Machine(
        directory=Directory(path="/data/n1", cluster="c", node="n1", mode=0o700, locked_by=42),
        file_system=FileSystem(
            kind="ext4", mount="/data", free_bytes=100 * GIB, free_files=1 << 20
        ),
        process=Process(pid=42, descriptors=65536),
        clock_synced=True,
        available_bytes=8 * GIB,
        log_free_bytes=100 * GIB,
        config_mode=0o644,
    )


def evidence():
    """n1 runs on this machine."""
    links = [
        Link(one, other, kind, place(other, kind), "")
        for one in NAMES
        for other in NAMES
        if one != other
        for kind in ("peer", "events", "client")
    ]
    return Evidence(
        config_path="n1.toml",
        config=configuration(),
        machine=machine(),
        views=tuple(NodeView(each, place(each, "client"), status(each), None) for each in NAMES),
        links=tuple(links),
    )


def with_status(found, name, **changes):
    """The node reports something else."""
    views = [
        replace(each, status=replace(each.status, **changes)) if each.name == name else each
        for each in found.views
    ]
    return replace(found, views=tuple(views))


def with_all(found, **changes):
    for name in NAMES:
        found = with_status(found, name, **changes)
    return found


def with_disk(found, name, **changes):
    return with_status(found, name, disk=replace(found.status(name).disk, **changes))


def with_machine(found, **changes):
    return replace(found, machine=replace(found.machine, **changes))


def with_directory(found, **changes):
    return with_machine(found, directory=replace(found.machine.directory, **changes))


def with_process(found, **changes):
    return with_machine(found, process=replace(found.machine.process, **changes))


def with_files(found, **changes):
    return with_machine(found, file_system=replace(found.machine.file_system, **changes))


def with_settings(found, *overrides):
    return replace(found, config=configuration(*overrides))


def silent(found, *names, why="connection refused"):
    """These nodes do not answer, and the others do not hear them."""
    views = tuple(
        replace(each, status=None) if each.name in names else each for each in found.views
    )
    for each in [view.name for view in views if view.status is not None]:
        peers = {
            name: replace(peer, reachable=False, votes=False) if name in names else peer
            for name, peer in found.status(each).peers.items()
        }
        found = with_status(found, each, peers=peers)
    views = tuple(
        replace(each, status=None) if each.name in names else each for each in found.views
    )
    return replace(found, views=views, silent=dict.fromkeys(names, why))


def with_refused_key(found, name):
    """This node is there, and takes another key."""
    error = HandshakeError("key_unknown", f"{name} at {place(name, 'client')} does not know it")
    found = silent(found, name, why="does not know it")
    views = [replace(v, error=error) if v.name == name else v for v in found.views]
    return replace(found, views=tuple(views))


def stopped(found):
    """n1 does not run, n2 leads."""
    found = silent(found, "n1")
    for name in ("n2", "n3"):
        role = "leader" if name == "n2" else "follower"
        changes = {"role": role, "leader": "n2", "leader_client": place("n2", "client")}
        found = with_status(found, name, **changes)
    return with_directory(with_process(found, pid=0), locked_by=None)


def before_the_start(found):
    """Of all nodes, for the first time; the ports are free, and the disk was measured."""
    found = silent(found, *NAMES)
    found = with_directory(with_process(found, pid=0), locked_by=None, cluster="", node="", mode=-1)
    return with_machine(found, syncs_us=(900,) * 100)
