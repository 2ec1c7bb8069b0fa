"""The configuration of one daemon: what can be set, within which limits, from where.

A setting's name is ``section.key``. Where a value comes from, the first that has it winning:

    --set section.key=value   >   PAXOSD_SECTION_KEY=value   >   the TOML file   >   the default

An unknown section or key is refused with the nearest known one, wherever it comes from; so is
any ``PAXOSD_*`` variable that names no setting (PAXOSD_CONFIG, the file's path, excepted, and
those that Kubernetes sets in every pod beside a Service whose name begins with paxosd).
The members are tables of the file, ``[cluster.members.NAME]``; a flag may set
``cluster.members.NAME.peer`` and the like, the environment may not.

A relative path in the file counts from the file's directory, else from the working directory.
The defaults stand here; ``conf/paxosd.toml`` repeats and explains each (a test compares them).
"""

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paxosd.config.check import check
from paxosd.config.settings import ConfigError, Raw, nearest, read_section, section_fields, setting
from paxosd.host.log_levels import LEVELS
from paxosd.host.toml import read_toml
from paxosd.net.endpoints import Endpoint

__all__ = ["Config", "ConfigError", "MemberConfig", "load"]

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
    """Equal on every node."""

    id: str = setting(pattern=NAME_PATTERN, allowed=NAME_ALLOWED)
    members: Mapping[str, MemberConfig] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """This node alone."""

    name: str = setting(pattern=NAME_PATTERN, allowed=NAME_ALLOWED)
    data_dir: Path = setting()  # noqa: RUF009 - makes a field, no shared default
    bind_host: str = setting("")
    """Bind to this address instead of the host in the node's own endpoints; "" = as written."""
    join: bool = setting(False)
    """It joins a cluster that runs: who votes there it learns from the other members."""


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
class FaultsConfig:
    """Fault injection, for drills and tests."""

    enabled: bool = setting(False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """What is logged and where to."""

    level: str = setting("info", choices=LEVELS)
    format: str = setting("auto", choices=("auto", "json", "console"))
    file: str = setting("")
    """"" is standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that one daemon was told. ``sources``: setting → where its value came from.
    ``ignored_environ``: PAXOSD_ variables that are a Service's, not settings."""

    cluster: ClusterConfig
    node: NodeConfig
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    wal: WalConfig = field(default_factory=WalConfig)
    snapshots: SnapshotsConfig = field(default_factory=SnapshotsConfig)
    faults: FaultsConfig = field(default_factory=FaultsConfig)
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
            given[name] = f"{value} ({source})"
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
    "faults": FaultsConfig,
    "log": LogConfig,
}

_ENV_PREFIX = "PAXOSD_"
_ENV_OTHERS = {"PAXOSD_CONFIG"}
_SERVICE_VARIABLES = (
    (r"SERVICE_HOST", r".*"),
    (r"SERVICE_PORT(_\w+)?", r"\d+"),
    (r"PORT", r"(tcp|udp|sctp)://.+"),
    (r"PORT_\d+_(TCP|UDP|SCTP)", r"(tcp|udp|sctp)://.+"),
    (r"PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)", r".*"),
)
"""What Kubernetes (and Docker's links) set for a Service called paxosd, or paxosd-SOMETHING: the
name after PAXOSD_ or PAXOSD_SOMETHING_, and the value."""


def load(
    path: Path | None,
    overrides: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The effective configuration of a node.

    ``path``: the TOML file (None: none is read). ``overrides``: ``section.key=value`` texts
    from flags. ``environ``: the environment (None: this process's).

    Raises ConfigError, naming every problem found, and PermissionError if the file exists
    and may not be read.
    """
    problems: list[str] = []
    values: dict[str, dict[str, Raw]] = {name: {} for name in SECTIONS}
    members: dict[str, dict[str, Raw]] = {}
    if path is not None:
        _take_file(path, values, members, problems)
    ignored = _take_environ(os.environ if environ is None else environ, values, problems)
    _take_flags(overrides, values, members, problems)

    sections = {
        name: read_section(name, section, values[name], problems)
        for name, section in SECTIONS.items()
    }
    tables = {
        name: read_section(f"cluster.members.{name}", MemberConfig, raws, problems)
        for name, raws in members.items()
    }
    if problems:
        raise ConfigError(problems)
    _place_paths(path, values, sections)
    sections["cluster"]["members"] = {n: MemberConfig(**table) for n, table in tables.items()}
    config = Config(
        **{name: section(**sections[name]) for name, section in SECTIONS.items()},
        sources={f"{s}.{k}": raw.source for s, raws in values.items() for k, raw in raws.items()},
        ignored_environ=ignored,
    )
    problems = check(config)
    if problems:
        raise ConfigError(problems)
    return config


def _take_file(
    path: Path,
    values: dict[str, dict[str, Raw]],
    members: dict[str, dict[str, Raw]],
    problems: list[str],
) -> None:
    source = str(path)
    try:
        _, document = read_toml(path)
    except FileNotFoundError:
        raise ConfigError([f"{source}: there is no such file"]) from None
    except PermissionError:
        raise PermissionError(f"{source}: this user may not read it") from None
    except OSError as error:
        raise ConfigError([f"{source}: cannot be read: {error.strerror}"]) from None
    except ValueError as error:
        raise ConfigError([f"{source}: {error}"]) from None
    for name, table in document.items():
        if name not in SECTIONS:
            problems.append(f"{source}: [{name}]: unknown section; {nearest(name, SECTIONS)}")
        elif not isinstance(table, dict):
            problems.append(f"{source}: {name}: this is a section, written [{name}]")
        else:
            taken = dict(table)
            if name == "cluster":
                _take_members(taken.pop("members", {}), source, members, problems)
            values[name] |= {key: Raw(value, source, False) for key, value in taken.items()}


def _take_members(
    tables: Any, source: str, members: dict[str, dict[str, Raw]], problems: list[str]
) -> None:
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
        problems.append(
            f"{source}: cluster.members: one table a member is needed: [cluster.members.NAME]"
        )
        return
    for name, table in tables.items():
        members[name] = {key: Raw(value, source, False) for key, value in table.items()}


def _take_environ(
    environ: Mapping[str, str], values: dict[str, dict[str, Raw]], problems: list[str]
) -> tuple[str, ...]:
    """Returns the variables that are a Service's."""
    ignored = []
    known = {
        f"{_ENV_PREFIX}{name}_{key}".upper(): (name, key)
        for name, section in SECTIONS.items()
        for key in section_fields(section)
    }
    for variable in sorted(environ):
        if not variable.startswith(_ENV_PREFIX) or variable in _ENV_OTHERS:
            continue
        if variable not in known and _is_of_service(variable, environ[variable]):
            ignored.append(variable)
            continue
        if variable not in known:
            problems.append(
                f"environment: {variable}: names no setting; {nearest(variable, known)}"
            )
            continue
        name, key = known[variable]
        values[name][key] = Raw(environ[variable], f"environment {variable}", True)
    return tuple(ignored)


def _is_of_service(variable: str, value: str) -> bool:
    end = variable.removeprefix(_ENV_PREFIX)
    return any(
        re.fullmatch(rf"(\w+_)?{name}", end) and re.fullmatch(form, value)
        for name, form in _SERVICE_VARIABLES
    )


def log_format(
    path: Path | None,
    overrides: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """``log.format`` and ``log.file`` of a configuration that cannot be used, as far as it can be
    read: how to say so. Arguments as for :func:`load`; raises nothing."""
    values: dict[str, dict[str, Raw]] = {name: {} for name in SECTIONS}
    with contextlib.suppress(ConfigError, PermissionError):
        if path is not None:
            _take_file(path, values, {}, [])
    _take_environ(os.environ if environ is None else environ, values, [])
    _take_flags(overrides, values, {}, [])
    given = {key: raw.value for key, raw in values["log"].items()}
    format, file = given.get("format", "auto"), given.get("file", "")
    return (format if format in ("json", "console") else "auto"), str(file)


def _take_flags(
    overrides: tuple[str, ...],
    values: dict[str, dict[str, Raw]],
    members: dict[str, dict[str, Raw]],
    problems: list[str],
) -> None:
    for override in overrides:
        full, equals, text = override.partition("=")
        source = f"--set {override}"
        name, dot, key = full.partition(".")
        if not equals or not dot:
            problems.append(f"{source}: this must read section.key=value")
        elif name not in SECTIONS:
            problems.append(f"{source}: unknown section; {nearest(name, SECTIONS)}")
        elif full.startswith("cluster.members."):
            member, _, endpoint = full.removeprefix("cluster.members.").rpartition(".")
            members.setdefault(member, {})[endpoint] = Raw(text, source, True)
        else:
            values[name][key] = Raw(text, source, True)


def _place_paths(
    path: Path | None, values: dict[str, dict[str, Raw]], sections: dict[str, dict[str, Any]]
) -> None:
    """Make paths absolute: those of the file count from its directory."""
    for name, key in (("node", "data_dir"), ("log", "file")):
        given = sections[name].get(key)
        if given is None or given == "":
            continue
        from_file = path is not None and not values[name][key].text
        base = path.resolve().parent if path is not None and from_file else Path.cwd()
        placed = base / Path(given).expanduser()
        sections[name][key] = placed if key == "data_dir" else str(placed)
