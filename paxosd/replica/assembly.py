"""From a data directory to a node, and from a node to a replica: the same steps in the same order
for the daemon, for a simulated member and for a member in a lesson.

    assemble()       whose directory, which start    (nobody else's memory is used)
                     the log's disk, with its faults (nothing happens unless a rule says so)
                     log, state machine: recovery.py (what was promised, accepted and applied)
                     the node, the peers that it connects to, which runs of them it has heard
    ── the caller makes the bus: only then can anybody hear this node ──
    make_replica()   snapshots, admin, and the loop's turn over all of it

No sockets, clocks, real disks or threads here: the caller provides them.
"""

import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from paxosd.bus.peers import PeerEndpoints, links
from paxosd.core.node import Node
from paxosd.core.options import NodeOptions
from paxosd.core.run_id import RUN_BITS, make_run_id
from paxosd.core.state.machine import Machine
from paxosd.core.types import NodeId
from paxosd.host.log import Log
from paxosd.host.progress import PhaseProgress
from paxosd.replica.admin import Admin, AdminPorts
from paxosd.replica.authority import Authority
from paxosd.replica.parts import Assembled
from paxosd.replica.permissions import Permissions
from paxosd.replica.ports import Ports, ReplicaOptions
from paxosd.replica.recovery import Memory, make_restart, recover
from paxosd.replica.replica import Replica
from paxosd.snapshot.jobs import Jobs
from paxosd.snapshot.keeper import SnapshotOptions, Snapshots
from paxosd.storage import identity
from paxosd.storage.disk import Disk
from paxosd.storage.identity import Claim
from paxosd.storage.node_directory import NodeDirectory, RandomBits
from paxosd.storage.peer_runs import PeerRuns
from paxosd.storage.standing import Standing
from paxosd.storage.wal import WalOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What the surroundings of a node provide, besides its directory.

    ``log_disk(claim)``: the log's disk as the node is to see it, with its faults. ``now_ms``: a
    steady clock; ``wall_ms``: the time since 1970. ``rng``: the node's own randomness;
    ``random_bits``: for the run id of this start, and the identity of a directory that is set
    aside.
    ``identity_bits``: makes such a source for the identity of a new directory, or of an old copy.
    """

    log: Log
    log_disk: Callable[[Claim], Disk]
    now_ms: Callable[[], float]
    wall_ms: Callable[[], int]
    rng: random.Random
    wal_options: WalOptions
    random_bits: RandomBits = secrets.randbits
    identity_bits: Callable[[], RandomBits] = lambda: secrets.randbits
    progress: PhaseProgress = lambda what, done, total: None
    machine: Machine | None = None
    """An empty one to use."""
    node_kind: type[Node] = Node
    peer_runs_kind: type[PeerRuns] = PeerRuns


def assemble(
    directory: NodeDirectory,
    options: NodeOptions,
    contacts: Mapping[NodeId, PeerEndpoints],
    equipment: Equipment,
    *,
    arriving: bool = True,
) -> Assembled:
    """Open, recover, replay. ``contacts``: where the configuration says that the others are.
    ``arriving``: whether the node asks its peers how they know it, as it must. Raises
    IdentityError, StorageError, OSError; the log is closed then."""
    claim = directory.claim(equipment.identity_bits())
    disk = equipment.log_disk(claim)
    memory = _recover(directory, disk, equipment)
    try:
        record = identity.read_genesis(directory.home)
        # What never had a record has never acted: there is no memory that it could have lost.
        blank = claim.by_record and record is None and not memory.machine.membership.epoch
        run_id = make_run_id(claim.boot_count, equipment.random_bits(RUN_BITS))
        restart = make_restart(
            memory,
            run_id=run_id,
            now_ms=equipment.now_ms(),
            wall_ms=equipment.wall_ms(),
            arriving=arriving,
            directory_id=claim.directory_id,
            lost=claim.lost,
            repaired=claim.repaired,
            blank=blank,
            record=record,
            genesis=claim.genesis,
            start_mark=memory.wal.mark,
        )
        node = equipment.node_kind(options, list(contacts), memory.codec, equipment.rng, restart)
        connections = links(node.membership, directory.node, contacts)
        peer_runs = equipment.peer_runs_kind(
            directory.home,
            connections.peers,
            connections.pins,
            marks=memory.recovered.heard,
            challenge=run_id if arriving else 0,
            silence_ms=options.election_timeout_ms,
        )
    except BaseException:
        memory.wal.close()
        raise
    standing = Standing(
        directory.home,
        node,
        equipment.log,
        lost=claim.lost or memory.lost,
        genesis=claim.genesis,
        random_bits=equipment.identity_bits(),
    )
    return Assembled(claim, run_id, disk, memory, node, connections, peer_runs, standing)


def _recover(directory: NodeDirectory, disk: Disk, equipment: Equipment) -> Memory:
    """What the directory remembers. ``disk``: of the log, with its faults."""
    return recover(
        directory.home,
        disk,
        cluster=directory.cluster,
        node=directory.node,
        wal_options=equipment.wal_options,
        log=equipment.log,
        now_ms=equipment.now_ms,
        progress=equipment.progress,
        machine=equipment.machine,
        random_bits=equipment.random_bits,
    )


def make_replica(
    parts: Assembled,
    options: ReplicaOptions,
    snapshot_options: SnapshotOptions | None,
    ports: Ports,
) -> Replica:
    """A replica of these parts, ready for the first turn. Without ``snapshot_options`` no
    snapshots are taken."""
    memory = parts.memory
    snapshots = None
    if snapshot_options is not None:
        snapshots = Snapshots(
            snapshot_options,
            machine=memory.machine,
            wal=memory.wal,
            disk=parts.disk,
            jobs=Jobs(ports.helper),
            kept=memory.kept,
            log=ports.log,
        )
    authority = ports.authority or Authority(options.trusted_peers, options.trusted_admins)
    read_now_ms = ports.read_now_ms or ports.precise_now_ms

    def age_ms() -> int:
        # By the clock of now: the process may have been stopped within the turn, for long.
        return parts.node.age_ms(read_now_ms() if read_now_ms is not None else None)

    permissions = Permissions(memory.machine, authority, age_ms)
    admin = Admin(
        AdminPorts(
            status=ports.status,
            machine=memory.machine,
            plan=ports.plan,
            faults_enabled=ports.faults_enabled,
            now_ms=ports.now_ms,
            crash=ports.crash,
            save_faults=ports.save_faults,
            snapshots=snapshots,
            transfer=parts.node.hand_leadership_to,
            probes=ports.probes,
            log_level=ports.log_level,
            files=ports.files if ports.file_helper is not None else None,
            rights=permissions.shown_to,
        )
    )
    rights = authority, permissions
    return Replica(options, parts, ports, admin=admin.handle, rights=rights, snapshots=snapshots)
