"""The settings of one daemon: their names, types, limits and defaults.

The defaults stand here; ``conf/paxosd.toml`` repeats and explains each (a test compares them).
Where a value comes from is the matter of :mod:`paxosd.config.sources`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paxosd.config.redaction import REDACTED, is_secret
from paxosd.config.settings import setting
from paxosd.host.log_levels import LEVELS
from paxosd.net.endpoints import Endpoint

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
NAME_ALLOWED = "1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first"

MIB = 1 << 20
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberConfig:
    """Where one daemon is reached: ``tcp://HOST:PORT`` each. ``voter``: whether it votes, or only
    learns and serves reads."""

    peer: str = setting()
    client: str = setting()
    events: str = setting()
    voter: bool = setting(True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """What is the same on every node."""

    id: str = setting(pattern=NAME_PATTERN, allowed=NAME_ALLOWED)
    members: Mapping[str, MemberConfig] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """What concerns this node alone."""

    name: str = setting(pattern=NAME_PATTERN, allowed=NAME_ALLOWED)
    data_dir: Path = setting()  # noqa: RUF009 - makes a field, no shared default
    bind_host: str = setting("")
    """Bind to this address instead of the host in the node's own endpoints; "" = as written."""
    join: bool = setting(False)
    """The node joins a cluster that runs: it learns from the other members which of them vote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """Bounds on what clients may ask. The first three only give the replicated settings their first
    values (``core/cluster_settings.py``); those of sessions are such settings alone."""

    key_bytes_max: int = setting(4096, minimum=1, maximum=65_536)
    value_bytes_max: int = setting(MIB, minimum=1, maximum=64 * MIB)
    commands_per_request_max: int = setting(1024, minimum=1, maximum=8192)
    message_bytes_max: int = setting(16 * MIB, minimum=65_536, maximum=256 * MIB)
    queue_commands_max: int = setting(20_000, minimum=1, maximum=10_000_000)
    queue_bytes_max: int = setting(64 * MIB, minimum=65_536, maximum=4096 * MIB)
    read_bytes_max: int = setting(4 * MIB, minimum=65_536, maximum=64 * MIB)
    reads_waiting_max: int = setting(20_000, minimum=1, maximum=1_000_000)
    subscriptions_max: int = setting(1024, minimum=0, maximum=100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolConfig:
    """The times and windows that the protocol runs by."""

    heartbeat_ms: int = setting(100, minimum=5, maximum=60_000)
    election_timeout_ms: int = setting(600, minimum=15, maximum=600_000)
    compare_wait_ms: int = setting(15_000, minimum=0, maximum=DAY_MS)
    retransmit_ms: int = setting(250, minimum=5, maximum=60_000)
    window_slots_max: int = setting(64, minimum=1, maximum=4096)
    window_bytes_max: int = setting(32 * MIB, minimum=65_536, maximum=1024 * MIB)
    batch_bytes_max: int = setting(4 * MIB, minimum=1024, maximum=64 * MIB)
    batch_commands_max: int = setting(2_000, minimum=1, maximum=1_000_000)
    catch_up_bytes_max: int = setting(4 * MIB, minimum=1024, maximum=64 * MIB)
    feature_level_max: int = setting(0, minimum=0, maximum=1000)
    """While this node is a member, the cluster's feature level is not raised above this; 0: up to
    the latest that the program knows (``core/level_raise.py``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalConfig:
    """The write-ahead log under ``node.data_dir``."""

    segment_bytes: int = setting(64 * MIB, minimum=MIB, maximum=1024 * MIB)
    scrub_bytes_per_s: int = setting(4 * MIB, minimum=0, maximum=1024 * MIB)
    scrub_interval_ms: int = setting(DAY_MS, minimum=1000, maximum=365 * DAY_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotsConfig:
    """When the state is saved and the log before it given back; see ``snapshot/keeper.py``."""

    slots_max: int = setting(200_000, minimum=10, maximum=1_000_000_000)
    log_bytes_max: int = setting(256 * MIB, minimum=MIB, maximum=1024 * 1024 * MIB)
    margin_slots: int = setting(10_000, minimum=0, maximum=1_000_000_000)
    send_bytes_per_s: int = setting(32 * MIB, minimum=65_536, maximum=1024 * 1024 * MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityConfig:
    """Keys (docs/SECURITY.md): by which key this node proves who it is, and whose it trusts."""

    key_file: str = setting("")
    """"" is paxosd.key among the service's credentials, if it is there; else the node has none."""
    trust_file: str = setting("")
    """"" is paxosd.trust among the service's credentials, if it is there."""
    rollout: str = setting("done", choices=("ready", "listening", "done"))
    """How far the switch of a running cluster to keys is (``bus/curve.py``)."""
    insecure: bool = setting(False)
    """Whether a node that takes everybody may listen where other machines reach it."""

    @property
    def takes_everybody(self) -> bool:
        """Whether its sockets take whoever reaches them, with or without a key."""
        return not self.key_file or self.rollout == "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultsConfig:
    """Fault injection, for drills and tests."""

    enabled: bool = setting(False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderConfig:
    """The flight recorder: what the node did, in files of ``bytes_max`` together, in ``recorder/``
    under the data directory."""

    enabled: bool = setting(True)
    bytes_max: int = setting(64 * MIB, minimum=MIB, maximum=1024 * 1024 * MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceConfig:
    """The trace of all that goes into the node, keys and values included, for ``paxosctl trace
    replay``; in files of ``bytes_max`` together, in ``trace/`` under the data directory."""

    enabled: bool = setting(False)
    bytes_max: int = setting(1024 * MIB, minimum=MIB, maximum=1024 * 1024 * MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """Where monitors ask: /metrics, /livez, /readyz (``daemon/http_pages.py``).

    Who opens the cluster's own ports to a network has not decided to open this one, which knows no
    keys: so another address than loopback has a setting of its own, beside the address."""

    listen: str = setting("")
    """``ADDRESS:PORT``; "": nobody can ask."""
    allow_remote: bool = setting(False)
    """Whether ``listen`` may be an address that other machines reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """What is logged and where to."""

    level: str = setting("info", choices=LEVELS)
    format: str = setting("auto", choices=("auto", "json", "console"))
    file: str = setting("")
    """"" is standard error."""
    slow_request_ms: int = setting(250, minimum=0, maximum=3_600_000)
    """A request that takes as long is logged with what it waited for; 0: none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of one daemon. ``sources``: setting → where its value came from.
    ``ignored_environ``: PAXOSD_ variables that are a Service's, not settings."""

    cluster: ClusterConfig
    node: NodeConfig
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    wal: WalConfig = field(default_factory=WalConfig)
    snapshots: SnapshotsConfig = field(default_factory=SnapshotsConfig)
    security: SecurityConfig = field(default_factory=SecurityConfig)
    faults: FaultsConfig = field(default_factory=FaultsConfig)
    recorder: RecorderConfig = field(default_factory=RecorderConfig)
    trace: TraceConfig = field(default_factory=TraceConfig)
    http: HttpConfig = field(default_factory=HttpConfig)
    log: LogConfig = field(default_factory=LogConfig)
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    ignored_environ: tuple[str, ...] = field(default=(), compare=False)

    @property
    def me(self) -> MemberConfig:
        """This node's endpoints as others connect to them."""
        return self.cluster.members[self.node.name]

    @property
    def peers(self) -> dict[str, MemberConfig]:
        """Every member but this one."""
        return {n: m for n, m in self.cluster.members.items() if n != self.node.name}

    def given(self) -> dict[str, str]:
        """What differs from the defaults: setting → its value and where it came from."""
        given: dict[str, str] = {}
        for name, source in sorted(self.sources.items()):
            value: Any = self
            for part in name.split("."):
                value = value[part] if isinstance(value, Mapping) else getattr(value, part)
            given[name] = f"{REDACTED if is_secret(name) else value} ({source})"
        return given

    def bind_endpoints(self) -> MemberConfig:
        """This node's endpoints to bind: those of :attr:`me`, on ``node.bind_host`` if set."""
        host = self.node.bind_host
        if not host:
            return self.me
        moved = {
            kind: str(Endpoint.parse(getattr(self.me, kind)).on_host(host))
            for kind in ("peer", "client", "events")
        }
        return MemberConfig(**moved, voter=self.me.voter)


SECTIONS: dict[str, type] = {
    "cluster": ClusterConfig,
    "node": NodeConfig,
    "limits": LimitsConfig,
    "protocol": ProtocolConfig,
    "wal": WalConfig,
    "snapshots": SnapshotsConfig,
    "security": SecurityConfig,
    "faults": FaultsConfig,
    "recorder": RecorderConfig,
    "trace": TraceConfig,
    "http": HttpConfig,
    "log": LogConfig,
}
