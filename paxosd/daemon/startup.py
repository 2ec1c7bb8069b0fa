"""From a configuration to the parts of a running node, in the order that safety wants.

data directory: lock                          (no other process may use this memory)
node: see assembly.py                         (whose memory it is, and what is in it)
bus: bind                                     (only now can others hear this node)
"""

import random
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

import zmq

from paxosd import __version__
from paxosd.bus.bus import Bus
from paxosd.bus.connections import shares
from paxosd.bus.inbox import Inbox
from paxosd.bus.peers import PeerEndpoints
from paxosd.bus.sockets import BusConfig
from paxosd.config.schema import Config
from paxosd.core.cluster_settings import LEVEL_LATEST, ClusterSettings
from paxosd.core.membership import UNKNOWN, Member, Membership
from paxosd.core.message_room import MessageRoom
from paxosd.core.node import Node
from paxosd.core.options import NodeOptions
from paxosd.core.state.machine import CHECKSUM_SLOTS
from paxosd.core.types import NodeId
from paxosd.daemon.logs import Logs
from paxosd.daemon.monitoring import Monitoring
from paxosd.daemon.notify import Notifier
from paxosd.daemon.security import Security, check_rights, log_security, read_security
from paxosd.daemon.start_progress import StartProgress
from paxosd.daemon.trace_writer import DaemonTrace
from paxosd.faults.live import LiveFaults
from paxosd.host import descriptors
from paxosd.host.clock import precise_clock_ms
from paxosd.host.descriptors import Limits
from paxosd.net.key_files import TrustFile
from paxosd.net.retransmission import missing_options
from paxosd.replica.assembly import Equipment, assemble
from paxosd.replica.parts import Assembled
from paxosd.replica.ports import ReplicaOptions
from paxosd.snapshot.keeper import SnapshotOptions
from paxosd.storage.datadir import DataDir, usable
from paxosd.storage.disk import Disk
from paxosd.storage.identity import Claim
from paxosd.storage.wal import WalOptions
from paxosd.trace.reader import Head
from paxosd.wire import EntryLimits

CHUNK_BYTES = 256 << 10
FLUSH_S = 0.5
"""How long a node that is to crash waits for its log: its last lines say why."""
CHUNK_SHARE = 4
"""A piece of a snapshot takes at most one part in this many of the largest message."""
SPREAD = 3
"""The last of the nodes waits with its snapshots longer by one part in about this many."""
PROMISE_SHARE = 4
"""A promise, like a catch-up, takes at most one part in this many of the largest message."""


@dataclass(slots=True)
class Parts:
    """What a daemon is made of."""

    data_dir: DataDir
    faults: LiveFaults
    assembled: Assembled
    context: zmq.Context[zmq.Socket[bytes]]
    bus: Bus
    limits: Limits
    descriptors: int
    """How many were open before others could connect."""
    security: Security
    """Whose keys are trusted."""
    trace: DaemonTrace | None = None
    """Records all that goes into the node; None: nothing does."""
    monitoring: Monitoring | None = None
    """Shows monitors the node over HTTP; None: nothing does."""

    def close(self) -> None:
        """Close all that was opened, where no daemon comes of it."""
        self.bus.close()
        self.context.destroy(linger=0)
        if self.trace is not None:
            self.trace.close()
        self.assembled.memory.wal.close()
        self.faults.close()
        if self.monitoring is not None:
            self.monitoring.close()
        self.data_dir.close()


def start_up(config: Config, logs: Logs, notifier: Notifier, rng: random.Random) -> Parts:
    """Open, recover, replay and bind. Raises DescriptorsError, KeyFileError, DataDirLocked,
    IdentityError, PermissionError, StorageError, BindError, DoorError, HttpError, and what the
    system or ZeroMQ says; what was opened before is closed."""
    security = read_security(config)
    log_security(config, security, logs.logger)
    limits = descriptors.set_up(descriptors.needed(len(config.cluster.members)))
    with ExitStack() as opened:
        data_dir = DataDir.open(config.node.data_dir, config.cluster.id, config.node.name)
        opened.callback(data_dir.close)

        def log_disk(claim: Claim) -> Disk:
            logs.boot_count = claim.boot_count
            faults.begin()
            return faults.disk

        with usable(data_dir.path):
            monitoring = Monitoring(config) if config.http.listen else None
            if monitoring is not None:
                opened.callback(monitoring.close)
            faults = _live_faults(config, data_dir, logs)
            opened.callback(faults.close)
            trace = _open_trace(config, data_dir, faults, logs, security)
            if trace is not None:
                opened.callback(trace.close)
            equipment = Equipment(
                log=logs.logger,
                log_disk=log_disk,
                now_ms=precise_clock_ms,
                wall_ms=lambda: time.time_ns() // 1_000_000,
                rng=rng,
                wal_options=WalOptions(segment_bytes=config.wal.segment_bytes),
                progress=StartProgress(notifier, precise_clock_ms),
            )
            parts = assemble(
                replace(data_dir.node_directory, home=faults.home),
                node_options(config),
                contacts(config),
                equipment if trace is None else trace.recorder.equip(equipment),
            )
        opened.callback(parts.memory.wal.close)
        _log_membership(parts.node, logs)
        # With too few, libzmq would end the process with its first socket, without a word.
        descriptors.require(descriptors.A_MEMBER * (1 + len(config.cluster.members)))
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        opened.callback(context.destroy, linger=0)
        bus = _open_bus(config, context, parts, faults, trace, security, logs)
        opened.callback(bus.close)
        used = descriptors.used()
        bus.ports.limit(shares(limits.shared - used, len(config.cluster.members)))
        opened.pop_all()
    return Parts(data_dir, faults, parts, context, bus, limits, used, security, trace, monitoring)


def _open_bus(
    config: Config,
    context: zmq.Context[zmq.Socket[bytes]],
    parts: Assembled,
    faults: LiveFaults,
    trace: DaemonTrace | None,
    security: Security,
    logs: Logs,
) -> Bus:
    security.use(parts.memory.machine)
    check_rights(config, parts.memory.machine.rights)
    if missing := missing_options():
        logs.logger.debug("bus.tcp_options", missing=list(missing))
    return Bus(
        bus_config(config, parts.run_id, parts.links.peers),
        context,
        logs.logger,
        faults.plan,
        parts.peer_runs,
        limits=parts.node.limits,
        inbox_kind=Inbox if trace is None else trace.recorder.inbox,
        keys=security.keys(config.security.rollout),
    )


def _open_trace(
    config: Config, data_dir: DataDir, faults: LiveFaults, logs: Logs, security: Security
) -> DaemonTrace | None:
    """Before anything in the data directory is changed: a replay begins with what is there."""
    if not config.trace.enabled:
        return None
    place = data_dir.node_directory
    head = Head(
        version=__version__,
        cluster=config.cluster.id,
        node=config.node.name,
        place=place.place,
        created=place.created,
        wall_ms=time.time_ns() // 1_000_000,
        segment_bytes=config.wal.segment_bytes,
        checksum_slots=CHECKSUM_SLOTS,
        faults_enabled=config.faults.enabled,
        reads_clock=True,
        node_options=node_options(config),
        contacts=contacts(config),
        replica_options=replica_options(config, 0, security.trust, debug=False),
        snapshot_options=snapshot_options(config),
    )
    return DaemonTrace(config, head, data_dir, faults.home, logs)


def _live_faults(config: Config, data_dir: DataDir, logs: Logs) -> LiveFaults:
    return LiveFaults(
        config.node.name,
        tuple(config.cluster.members),
        enabled=config.faults.enabled,
        directory=data_dir.path,
        home=data_dir.home,
        disk=data_dir.disk,
        log=logs.logger,
        now_ms=precise_clock_ms,
        flush_log=lambda: logs.flush(FLUSH_S),
    )


def contacts(config: Config) -> dict[NodeId, PeerEndpoints]:
    """Where the configuration says that the other members are."""
    return {name: PeerEndpoints(m.peer, m.events) for name, m in config.peers.items()}


def _log_membership(node: Node, logs: Logs) -> None:
    """Log the membership, if the log has one that is newer than the configuration's. It is no
    error: a membership that changed is in the log, and the files of the other nodes need no
    edit."""
    membership = node.membership
    if membership.epoch:
        logs.logger.info(
            "member.recovered",
            epoch=membership.epoch,
            voters=list(membership.voters),
            learners=list(membership.learners),
        )


def bus_config(config: Config, run_id: int, peers: Mapping[NodeId, PeerEndpoints]) -> BusConfig:
    """The bus's settings from the configuration."""
    bind = config.bind_endpoints()
    return BusConfig(
        node=config.node.name,
        cluster=config.cluster.id,
        run_id=run_id,
        peer_bind=bind.peer,
        client_bind=bind.client,
        events_bind=bind.events,
        peers=peers,
        message_bytes_max=config.limits.message_bytes_max,
        loopback_only=config.security.takes_everybody and not config.security.insecure,
    )


def first_membership(config: Config) -> Membership:
    """The one of epoch 0. A node that joins does not know who votes before it has learned it."""
    if config.node.join:
        return UNKNOWN
    return Membership(
        {
            name: Member(m.peer, m.client, m.events, m.voter)
            for name, m in config.cluster.members.items()
        }
    )


def node_options(config: Config) -> NodeOptions:
    """The core's settings from the configuration."""
    protocol, limits = config.protocol, config.limits
    bootstrap = first_membership(config)
    return NodeOptions(
        node=config.node.name,
        quorums=bootstrap.quorums,
        bootstrap=bootstrap,
        cluster=config.cluster.id,
        peer_endpoint=config.me.peer,
        events_endpoint=config.me.events,
        compare_wait_ms=protocol.compare_wait_ms,
        heartbeat_ms=protocol.heartbeat_ms,
        election_timeout_ms=protocol.election_timeout_ms,
        retransmit_ms=protocol.retransmit_ms,
        window_slots_max=protocol.window_slots_max,
        window_bytes_max=protocol.window_bytes_max,
        batch_bytes_max=protocol.batch_bytes_max,
        batch_commands_max=protocol.batch_commands_max,
        queue_commands_max=limits.queue_commands_max,
        queue_bytes_max=limits.queue_bytes_max,
        reads_waiting_max=limits.reads_waiting_max,
        promise_bytes_max=limits.message_bytes_max // PROMISE_SHARE,
        message_bytes_max=limits.message_bytes_max,
        level_target=min(LEVEL_LATEST, protocol.feature_level_max or LEVEL_LATEST),
        level_known=LEVEL_LATEST,
        version=__version__,
        founding_settings=founding_settings(config),
    )


def replica_options(
    config: Config, boot_count: int, trust: TrustFile, *, debug: bool
) -> ReplicaOptions:
    """The replica's settings from the configuration."""
    limits = config.limits
    return ReplicaOptions(
        cluster=config.cluster.id,
        node=config.node.name,
        boot_count=boot_count,
        contacts=contacts(config),
        trusted_peers=trust.peers,
        trusted_admins=trust.admins,
        entry_limits=EntryLimits(
            limits.key_bytes_max, limits.value_bytes_max, limits.commands_per_request_max
        ),
        read_bytes_max=limits.read_bytes_max,
        catch_up_bytes_max=config.protocol.catch_up_bytes_max,
        subscriptions_max=limits.subscriptions_max,
        room=message_room(config),
        debug=debug,
        slow_request_ms=config.log.slow_request_ms,
    )


def message_room(config: Config) -> MessageRoom:
    """What fits into this node's messages."""
    protocol, limits = config.protocol, config.limits
    part = max(limits.read_bytes_max, protocol.batch_bytes_max, protocol.catch_up_bytes_max)
    return MessageRoom(limits.message_bytes_max, part)


def founding_settings(config: Config) -> ClusterSettings:
    """What the file has for settings that the log holds, once it holds any."""
    limits = config.limits
    return ClusterSettings(
        key_bytes_max=limits.key_bytes_max,
        value_bytes_max=limits.value_bytes_max,
        commands_per_request_max=limits.commands_per_request_max,
    )


def snapshot_options(config: Config) -> SnapshotOptions:
    """When snapshots are taken, from the configuration."""
    settings = config.snapshots
    names = sorted(config.cluster.members)
    return SnapshotOptions(
        cluster=config.cluster.id,
        members={
            name: {"peer": m.peer, "client": m.client, "events": m.events}
            for name, m in config.cluster.members.items()
        },
        slots_max=settings.slots_max,
        log_bytes_max=settings.log_bytes_max,
        margin_slots=settings.margin_slots,
        spread=1 + names.index(config.node.name) / (SPREAD * len(names)),
        send_bytes_per_s=settings.send_bytes_per_s,
        chunk_bytes=min(CHUNK_BYTES, config.limits.message_bytes_max // CHUNK_SHARE),
        scrub_bytes_per_s=config.wal.scrub_bytes_per_s,
        scrub_interval_ms=config.wal.scrub_interval_ms,
    )
