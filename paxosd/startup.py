"""From a configuration to the parts of a running node, in the order that safety wants.

data directory: lock, identity, incarnation   (nobody else may use this memory)
log: open, recover                            (what was promised and accepted)
state machine: replay the chosen log          (what was applied)
node: the roles, with that memory
bus: bind                                     (only now can anybody hear this node)
"""

import random
import time
from dataclasses import dataclass

import zmq

from paxosd.bus import Bus, BusConfig, PeerEndpoints
from paxosd.config import Config
from paxosd.core.commands import Batch
from paxosd.core.machine import Machine
from paxosd.core.node import Node
from paxosd.core.options import NodeOptions
from paxosd.core.quorum import Quorums
from paxosd.core.types import NOOP
from paxosd.datadir import DataDir
from paxosd.faults import FaultPlan
from paxosd.logs import Logs
from paxosd.notify import Notifier
from paxosd.replica import ReplicaOptions
from paxosd.wal import Recovered, Wal, WalOptions
from paxosd.wire import PEER_KIND_NAMES, EntryLimits, WireError, decode_batch, encode_batch

REPLAY_SLOTS_PER_REPORT = 5000
PROMISE_SHARE = 4
"""A promise, like a catch-up, takes at most one part in this many of the largest message."""


class WireCodec:
    """The core's codec: the wire's batches, with errors as the core knows them."""

    def encode_batch(self, stamp_ms: int, entries: list[bytes]) -> bytes:
        return encode_batch(stamp_ms, entries)

    def decode_batch(self, value: bytes) -> Batch:
        try:
            return decode_batch(value)
        except WireError as error:
            raise ValueError(str(error)) from error


@dataclass(slots=True)
class Parts:
    """What a daemon is made of."""

    data_dir: DataDir
    wal: Wal
    machine: Machine
    codec: WireCodec
    node: Node
    context: zmq.Context[zmq.Socket[bytes]]
    bus: Bus
    plan: FaultPlan


def assemble(config: Config, logs: Logs, notifier: Notifier, rng: random.Random) -> Parts:
    """Open, recover, replay and bind. Raises DataDirLocked, IdentityError, PermissionError,
    StorageError, BindError; what was opened before is let go of."""
    data_dir = DataDir.open(config.node.data_dir, config.cluster.id, config.node.name)
    try:
        logs.incarnation = data_dir.incarnation
        wal, recovered = Wal.open(
            data_dir.disk,
            cluster_id=config.cluster.id,
            node_id=config.node.name,
            options=WalOptions(segment_bytes=config.wal.segment_bytes),
            create=not data_dir.log_created,
        )
        data_dir.mark_log_created()
        codec = WireCodec()
        machine = _replay(wal, recovered, codec, logs, notifier)
        node = Node(
            node_options(config),
            list(config.peers),
            machine,
            codec,
            rng,
            incarnation=data_dir.incarnation,
            promised=recovered.promised,
            accepted=recovered.accepted,
            commit=recovered.commit,
            now_ms=time.monotonic() * 1000.0,
            wall_ms=time.time_ns() // 1_000_000,
        )
        plan = FaultPlan(
            lambda event, fields: logs.logger.warning(event, **fields),
            nodes=config.cluster.members,
            message_kinds=PEER_KIND_NAMES.values(),
        )
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        bus = Bus(bus_config(config, data_dir.incarnation), context, logs.logger, plan)
    except BaseException:
        data_dir.close()
        raise
    return Parts(data_dir, wal, machine, codec, node, context, bus, plan)


def bus_config(config: Config, incarnation: int) -> BusConfig:
    """The bus's settings from the configuration."""
    bind = config.bind_endpoints()
    return BusConfig(
        node=config.node.name,
        cluster=config.cluster.id,
        incarnation=incarnation,
        peer_bind=bind.peer,
        client_bind=bind.client,
        events_bind=bind.events,
        peers={name: PeerEndpoints(m.peer, m.events) for name, m in config.peers.items()},
        message_bytes_max=config.limits.message_bytes_max,
        key_bytes_max=config.limits.key_bytes_max,
    )


def node_options(config: Config) -> NodeOptions:
    """The core's settings from the configuration."""
    protocol, limits = config.protocol, config.limits
    return NodeOptions(
        node=config.node.name,
        quorums=Quorums(config.cluster.members),
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
    )


def replica_options(config: Config, incarnation: int, *, debug: bool) -> ReplicaOptions:
    """The replica's settings from the configuration."""
    limits = config.limits
    return ReplicaOptions(
        cluster=config.cluster.id,
        node=config.node.name,
        incarnation=incarnation,
        client_endpoints={name: m.client for name, m in config.cluster.members.items()},
        entry_limits=EntryLimits(
            limits.key_bytes_max, limits.value_bytes_max, limits.commands_per_request_max
        ),
        read_bytes_max=limits.read_bytes_max,
        catch_up_bytes_max=config.protocol.catch_up_bytes_max,
        subscriptions_max=limits.subscriptions_max,
        debug=debug,
    )


def _replay(
    wal: Wal,
    recovered: Recovered,
    codec: WireCodec,
    logs: Logs,
    notifier: Notifier,
) -> Machine:
    """Apply the chosen log again, slot by slot."""
    log = logs.logger
    for warning in recovered.warnings:
        log.warning("storage.truncated", warning=warning)
    if recovered.truncated_bytes:
        log.warning("storage.truncated", bytes=recovered.truncated_bytes)
    started = time.monotonic()
    machine = Machine()
    machine.checksums_enabled = False  # of slots long past: nobody waits for them
    for slot in range(1, recovered.commit + 1):
        value = wal.read(slot)[1]
        batch: Batch | None = None
        if value != NOOP:
            try:
                batch = codec.decode_batch(value)
            except ValueError as error:
                log.error("storage.bad_value", slot=slot, error=str(error))
        machine.apply(slot, batch)
        if slot % REPLAY_SLOTS_PER_REPORT == 0:
            notifier.extend_timeout(30_000)
            notifier.tick(time.monotonic() * 1000.0)
            notifier.status(f"reading the log: slot {slot} of {recovered.commit}")
    machine.checksums_enabled = True
    log.info(
        "node.recovered",
        commit=recovered.commit,
        open_slots=len(recovered.accepted),
        promised=list(recovered.promised),
        revision=machine.revision,
        dur_ms=round((time.monotonic() - started) * 1000, 1),
    )
    return machine
