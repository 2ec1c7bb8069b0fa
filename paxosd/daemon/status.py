"""The status of the node that this process runs: what the core reports, and what the process and
its configuration add to it."""

import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from paxosd import __version__
from paxosd.bus.bus import Bus
from paxosd.config import file_members
from paxosd.config.schema import Config
from paxosd.core.cluster_settings import BOUNDS
from paxosd.core.node import Node
from paxosd.core.state.machine import Machine
from paxosd.core.status import (
    DescriptorsStatus,
    DiskStatus,
    FounderStatus,
    FoundingStatus,
    LogLevelStatus,
    NameStatus,
    NodeStatus,
    OriginStatus,
    Reached,
    RecorderStatus,
    SecurityStatus,
    TraceStatus,
)
from paxosd.core.types import NodeId
from paxosd.daemon.log_level import LogLevel
from paxosd.daemon.startup import founding_settings, message_room
from paxosd.faults.live import LiveFaults
from paxosd.host.descriptors import Limits
from paxosd.net.key_files import key_text
from paxosd.replica.replica import Replica
from paxosd.storage import restored_from
from paxosd.storage.wal import Wal
from paxosd.wire import EntryLimits


class StatusReport:
    """Puts together the status of one running node. ``descriptors``: how many file descriptors it
    had open before any connection. ``now_ms``: a monotonic clock."""

    def __init__(
        self,
        config: Config,
        *,
        boot_count: int,
        run_id: int,
        replica: Replica,
        machine: Machine,
        wal: Wal,
        bus: Bus,
        faults: LiveFaults,
        log_level: LogLevel,
        recorder: Callable[[], RecorderStatus],
        trace: Callable[[], TraceStatus] | None,
        lines_dropped: Callable[[], int],
        security: SecurityStatus,
        limits: Limits,
        descriptors: int,
        now_ms: Callable[[], float],
    ) -> None:
        self._config = config
        self._boot_count, self._run_id = boot_count, run_id
        self._replica = replica
        self._node: Node = replica.node
        self._machine = machine
        self._wal = wal
        self._bus = bus
        self._faults = faults
        self._log_level = log_level
        self._recorder = recorder
        self._trace = trace
        self._lines_dropped = lines_dropped
        self._security = security
        self._limits = limits
        self._descriptors = descriptors
        self._now_ms = now_ms
        self._started_ms = now_ms()
        self._file_members = file_members.of_file(config)
        origin = restored_from.read(config.node.data_dir)
        self._restored_from = OriginStatus(**origin) if origin else None

    def file_settings(self) -> dict[str, int]:
        """What the file has for settings that the log holds, or is to hold."""
        own = founding_settings(self._config)
        return {name: getattr(own, name) for name in EntryLimits._fields if name in BOUNDS}

    def members_differ(self) -> file_members.Differing:
        """What the file says otherwise than the membership in force. Before the founding the file
        is all there is."""
        node = self._node
        if not node.membership.members or not (node.membership.epoch or node.record):
            return {}
        joins = self._config.node.join
        return file_members.differences(self._file_members, node.membership, joins=joins)

    def make(self, turns: int) -> NodeStatus:
        """The status now; ``turns``: of the loop, since the start."""
        status = self._with_members(self._node.status())
        config, machine = self._config, self._machine
        dropped = self._lines_dropped()
        ports = self._bus.ports.status
        used = self._descriptors + sum(port.open for port in ports.values())
        return replace(
            status,
            cluster=config.cluster.id,
            version=__version__,
            feature_level_max=config.protocol.feature_level_max,
            boot_count=self._boot_count,
            run_id=self._run_id,
            directory_id=self._node.directory_id,
            memory=self._memory(status.role),
            founding=self._founding(),
            restored_from=self._restored_from,
            settings=machine.settings,
            file_settings=self.file_settings(),
            message_room=message_room(config),
            revision=machine.revision,
            keys=len(machine.store),
            held_bytes=machine.store.quota.counted_bytes,
            quota=machine.store.quota.state,
            sessions=len(machine.sessions.table),
            log_time_ms=machine.log_time_ms,
            wall_ms=self._faults.wall_ms(self._now_ms()),
            uptime_ms=int(self._now_ms() - self._started_ms),
            rss_bytes=rss_bytes(),
            cpu_ms=time.process_time_ns() // 1_000_000,
            disk=self._disk(),
            snapshot=self._replica.snapshot_status(time.time_ns() // 1_000_000),
            log=LogLevelStatus(**self._log_level.status(), dropped=dropped),
            recorder=self._recorder(),
            trace=None if self._trace is None else self._trace(),
            security=self._security,
            names={
                host: NameStatus(addresses=tuple(found["addresses"]), error=found["error"])
                for host, found in self._bus.names().items()
            },
            descriptors=DescriptorsStatus(**self._limits._asdict(), used=used),
            connections=ports,
            faults_enabled=config.faults.enabled,
            fault_count=len(self._faults.plan),
            counters=self._counters(turns, dropped),
        )

    def _with_members(self, status: NodeStatus) -> NodeStatus:
        """The name of the node, and where the members are reached. A node that joins knows the
        members of its configuration alone, until it hears of others."""
        config, membership = self._config, self._node.membership
        in_file = config.cluster.members
        places: dict[NodeId, Reached] = {
            name: Reached(member.client, member.events, self._keys_of(name))
            for name, member in (membership.members or in_file).items()
        }
        known: Mapping[str, str] = {
            name: member.client
            for members in (in_file, membership.departed, membership.members or in_file)
            for name, member in members.items()
        }
        problems, deaf = self._bus.link_problems(), self._bus.deaf()
        return replace(
            status,
            node=config.node.name,
            leader_client=places[status.leader].client if status.leader in places else "",
            membership=membership,
            members=places,
            file_members=self._file_members,
            members_differ=self.members_differ(),
            peers={
                name: replace(
                    peer,
                    client=known.get(name, ""),
                    link_problem=problems.get(name, ""),
                    hears=name not in deaf,
                )
                for name, peer in status.peers.items()
            },
        )

    def _keys_of(self, name: NodeId) -> tuple[str, ...]:
        return tuple(key_text(key) for key in self._replica.authority.keys_of(name))

    def _memory(self, role: str) -> str:
        """A node that joins and has heard of no membership has nothing that could be whole."""
        if self._node.forgetful:
            return "lost"
        new = role == "newcomer" or not self._node.membership.members
        return "new" if new else "whole"

    def _founding(self) -> FoundingStatus | None:
        record = self._node.record
        if record is None:
            return None
        return FoundingStatus(
            genesis=f"{record.hash:016x}",
            members={
                name: FounderStatus(voter=founder.voter, directory_id=founder.directory_id)
                for name, founder in record.members.items()
            },
        )

    def _disk(self) -> DiskStatus:
        wal = self._wal.stats()
        return DiskStatus(
            path=str(self._config.node.data_dir),
            wal_segments=wal.pop("segments"),
            wal_bytes=wal.pop("bytes"),
            **wal,
        )

    def _counters(self, turns: int, lines_dropped: int) -> dict[str, int]:
        service = self._replica.service
        return {
            **self._bus.counters,
            "turns": turns,
            "requests": service.requests,
            **{f"requests.{kind}": count for kind, count in service.kinds.items()},
            "refused": service.refused,
            "passed_on": self._replica.forwarding.passed_on,
            "log_lines_dropped": lines_dropped,
        }


def rss_bytes() -> int:
    """Resident memory of this process now, or, where /proc is missing, its peak."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
