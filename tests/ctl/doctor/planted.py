"""A way to plant each flaw that the doctor knows: sound evidence, with that one thing wrong."""

from dataclasses import replace

from paxosctl.doctor.machine import KeyFiles, Port
from paxosctl.member.probe import Link
from paxosd.core.cluster_settings import LEVEL_LATEST, ClusterSettings
from paxosd.core.membership import Membership
from paxosd.core.status import (
    FrameCut,
    LogLevelStatus,
    NameStatus,
    OriginStatus,
    PeerStatus,
    PortStatus,
    RecorderStatus,
    ScrubStatus,
    SecurityStatus,
    SnapshotStatus,
    StateDifference,
)
from tests.ctl.doctor.sound import (
    GIB,
    MEMBERS,
    before_the_start,
    evidence,
    place,
    silent,
    stopped,
    with_all,
    with_directory,
    with_disk,
    with_files,
    with_machine,
    with_process,
    with_refused_key,
    with_settings,
    with_status,
)

SOUND = evidence()
FRESH = before_the_start(SOUND)
OLD = OriginStatus(cluster="old", slot=9, revision=8)


def _peer(found, name, of, **changes):
    peers = dict(found.status(name).peers)
    return with_status(found, name, peers={**peers, of: replace(peers[of], **changes)})


def _other_members(found):
    members = {name: MEMBERS[name] for name in ("n2", "n3")}
    members["n4"] = MEMBERS["n1"]
    changed = {"membership": Membership(members, epoch=4, slot=9), "epoch": 4,
               "voters": ("n2", "n3", "n4")}  # fmt: skip
    for name in ("n2", "n3"):
        peers = {each: PeerStatus(reachable=True) for each in members if each != name}
        found = with_status(found, name, peers=peers, **changed)
    return found


def _memory(found, *names):
    for name in names:
        found = with_status(found, name, memory="lost", role="memory-lost", votes=False)
    return found


def _counted(found, reason):
    return with_status(found, "n2", counters={f"refused.{reason}": 3})


DIVERGED = {
    "state": "diverged",
    "role": "diverged",
    "state_difference": StateDifference(slot=12, sum="chain", members=("n1", "n2")),
}
PLANTED = {
    "config.invalid": replace(SOUND, config=None, machine=None, config_problems=("unknown",)),
    "settings.trace": with_settings(SOUND, "trace.enabled=true"),
    "settings.http": with_settings(SOUND, "http.listen=0.0.0.0:9410", "http.allow_remote=true"),
    "settings.compare-wait": with_settings(SOUND, "protocol.compare_wait_ms=0"),
    "settings.even-voters": with_settings(SOUND, "cluster.members.n3.voter=false"),
    "settings.debug-log": with_settings(SOUND, "log.level=debug"),
    "settings.writable": with_machine(SOUND, config_mode=0o666),
    "keys.unusable": with_machine(SOUND, keys=KeyFiles(problems=("n1.key: others may read it",))),
    "keys.unseen": replace(FRESH, keys_unseen="there is no unit paxosd@n1"),
    "keys.different": with_status(SOUND, "n1", security=SecurityStatus(key="k", rollout="done")),
    "keys.open": with_settings(SOUND, "security.insecure=true"),
    "keys.rollout": with_settings(SOUND, "security.key_file=a", "security.trust_file=b",
                                  "security.rollout=listening"),
    "ports.taken": with_machine(FRESH, ports=(
        Port(what="peer", endpoint=place("n1", "peer"), error="in use", taken=True,
             holder="process 7 (nc)"),
    )),
    "ports.unusable": with_machine(FRESH, ports=(
        Port(what="peer", endpoint=place("n1", "peer"), error="this machine has no such address"),
    )),
    "ports.other": with_directory(replace(SOUND, views=(
        replace(SOUND.views[1], endpoint=place("n1", "client")),
    )), locked_by=None),
    "directory.unusable": with_directory(FRESH, problem="it is no directory"),
    "directory.hidden": with_directory(SOUND, hidden=True),
    "directory.foreign": with_directory(SOUND, cluster="another"),
    "directory.damaged": with_directory(FRESH, damage="its identity file is missing"),
    "directory.open": with_directory(SOUND, mode=0o755),
    "file-system.memory": with_files(SOUND, kind="tmpfs"),
    "file-system.layered": with_files(SOUND, kind="overlay"),
    "file-system.network": with_files(SOUND, kind="nfs4"),
    "space.full": with_files(SOUND, free_bytes=1 << 20),
    "space.tight": with_files(SOUND, free_bytes=GIB // 2),
    "fsync.slow": with_machine(FRESH, syncs_us=(60_000,) * 100),
    "fsync.tail": with_disk(SOUND, "n2", sync_us_counts={"1024": 95, "524288": 5}),
    "fsync.odd": with_disk(SOUND, "n2", sync_us_median=30_000),
    "clock.off": _peer(_peer(SOUND, "n1", "n3", skew_ms=-5000), "n2", "n3", skew_ms=-5000),
    "clock.unsynced": with_machine(SOUND, clock_synced=False),
    "descriptors.too-few": with_process(FRESH, descriptors=100),
    "descriptors.few": with_process(FRESH, descriptors=512),
    "descriptors.full": with_status(SOUND, "n2", connections={"client": PortStatus(50, 50)}),
    "memory.little": with_machine(SOUND, available_bytes=1 << 20),
    "memory.near": with_process(SOUND, resident_bytes=9 << 20, memory_limit_bytes=10 << 20),
    "memory.swapped": with_process(SOUND, swapped_bytes=1 << 20),
    "core-dumps.on": with_process(SOUND, core_bytes=-1, core_pattern="core"),
    "answers.silent": silent(SOUND, "n3"),
    "answers.key": with_refused_key(SOUND, "n3"),
    "answers.stopped": stopped(SOUND),
    "quorum.none": silent(SOUND, "n2", "n3"),
    "quorum.lost": _memory(SOUND, "n2", "n3"),
    "quorum.leaderless": with_all(SOUND, leader="", role="candidate"),
    "quorum.last": silent(SOUND, "n3"),
    "quorum.unsteady": with_status(SOUND, "n2", elections=30),
    "votes.memory-lost": _memory(SOUND, "n3"),
    "votes.newcomer": with_all(SOUND, role="newcomer", leader="", memory="new",
                               unconfirmed_by=("n3",)),
    "votes.waiting": with_status(SOUND, "n3", role="returning", votes=False,
                                 unconfirmed_by=("n2",)),
    "votes.conflict": with_status(SOUND, "n3", role="conflict"),
    "votes.removed": with_status(SOUND, "n3", role="removed"),
    "states.differ": with_status(SOUND, "n3", **DIVERGED),
    "states.behind": with_status(SOUND, "n3", lag_slots=5000),
    "reach.closed": replace(SOUND, links=(
        Link("n1", "n3", "peer", place("n3", "peer"), "no answer from the host"),
    )),
    "reach.deaf": _peer(SOUND, "n1", "n3", reachable=False),
    "reach.refused": _peer(SOUND, "n1", "n3", link_problem="n3 at tcp://n3:1 wants a key"),
    "reach.name": with_status(SOUND, "n2", names={"n3": NameStatus(error="no such host")}),
    "versions.mixed": with_status(SOUND, "n2", version="0.0.9"),
    "versions.level": with_status(SOUND, "n1", feature_level_lagging=("n2",)),
    "membership.cluster": with_status(SOUND, "n3", cluster="another"),
    "membership.founding": with_status(SOUND, "n3", genesis="00000000000000bb"),
    "membership.stranger": _other_members(stopped(SOUND)),
    "membership.file": with_settings(stopped(SOUND), "cluster.members.n2.peer=tcp://n9:1"),
    "membership.limits": with_status(SOUND, "n2", frames_cut=(FrameCut("n3", 70_000),)),
    "restored.mixed": with_status(SOUND, "n2", restored_from=OLD),
    "restored.clients": _counted(with_all(SOUND, restored_from=OLD), "cluster"),
    "strangers.doubled": _counted(SOUND, "doubled"),
    "strangers.founding": _counted(SOUND, "genesis"),
    "strangers.others": _counted(SOUND, "cluster"),
    "faults.active": replace(with_status(SOUND, "n2", fault_count=1), rules={"n2": ("cut",)}),
    "faults.enabled": with_settings(SOUND, "faults.enabled=true"),
    "quota.full": with_all(SOUND, quota="full", held_bytes=100,
                           settings=ClusterSettings(1, LEVEL_LATEST, quota_bytes=100)),
    "quota.near": with_all(SOUND, quota="near", held_bytes=85,
                           settings=ClusterSettings(1, LEVEL_LATEST, quota_bytes=100)),
    "storage.failed": with_disk(SOUND, "n2", poisoned=True),
    "storage.damaged": with_status(SOUND, "n2", snapshot=SnapshotStatus(
        slot=50, scrub=ScrubStatus(found=2, repaired=1))),
    "storage.repaired": with_status(SOUND, "n2", snapshot=SnapshotStatus(
        slot=50, scrub=ScrubStatus(found=2, repaired=2))),
    "snapshots.away": with_status(SOUND, "n2", applied=2_000_000, snapshot=SnapshotStatus()),
    "recorder.off": with_status(SOUND, "n2", recorder=RecorderStatus(enabled=False)),
    "recorder.failing": with_status(SOUND, "n2", recorder=RecorderStatus(
        enabled=True, problem="No space left on device")),
    "logs.dropped": with_status(SOUND, "n2", log=LogLevelStatus(dropped=4)),
    "logs.room": with_machine(with_settings(SOUND, "log.file=/log/n1"), log_free_bytes=1000),
}  # fmt: skip
"""Flaw → the evidence."""
COMPANIONS = {
    "answers.silent": {"quorum.last"},
    "answers.key": {"quorum.last"},
    "answers.stopped": {"answers.stopped", "quorum.last"},
    "quorum.last": {"answers.silent"},
    "quorum.none": {"answers.silent"},
    "votes.memory-lost": {"quorum.last"},
    "votes.newcomer": {"quorum.none"},
    "votes.waiting": {"quorum.last"},
    "reach.deaf": {"quorum.last"},
    "membership.stranger": {"answers.stopped", "answers.silent", "membership.file", "quorum.last"},
    "membership.file": {"answers.stopped", "quorum.last"},
    "ports.other": {"quorum.leaderless", "answers.stopped", "membership.stranger"},
    "directory.damaged": {"answers.stopped", "answers.silent"},
}
"""Flaw → what else that evidence shows, rightly."""
