"""Where the settings of a daemon come from: flags, the environment, a file.

A setting's name is ``section.key``. The first of these that has a value for it wins:

    --set section.key=value   >   PAXOSD_SECTION_KEY=value   >   the TOML file   >   the default

An unknown section or key is refused with the nearest known one, wherever it comes from; so is
any ``PAXOSD_*`` variable that names no setting. Two kinds of variables are excepted: PAXOSD_CONFIG,
which is the file's path, and those that Kubernetes sets in every pod beside a Service whose name
begins with paxosd. The members are tables of the file, ``[cluster.members.NAME]``; a flag may set
``cluster.members.NAME.peer`` and the like, the environment may not.

A relative path in the file counts from the file's directory, any other from the working directory.
"""

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paxosd.config.check import check
from paxosd.config.schema import SECTIONS, Config, MemberConfig
from paxosd.config.settings import ConfigError, Raw, nearest, read_section, section_fields
from paxosd.host.toml import read_toml

_PATHS = (
    ("node", "data_dir"), ("log", "file"), ("security", "key_file"), ("security", "trust_file")
)  # fmt: skip
_CREDENTIALS = {"key_file": "paxosd.key", "trust_file": "paxosd.trust"}
"""Key of [security] → the name of the credential (systemd's LoadCredential=)."""
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
    _take_credentials(os.environ if environ is None else environ, values, sections)
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


def _take_credentials(
    environ: Mapping[str, str], values: dict[str, dict[str, Raw]], sections: dict[str, Any]
) -> None:
    """The files of keys that systemd, or who starts the node, hands over, where none is named."""
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    for key, name in _CREDENTIALS.items() if directory else ():
        path = Path(directory) / name
        if not sections["security"].get(key) and path.is_file():
            sections["security"][key] = str(path)
            source = "environment CREDENTIALS_DIRECTORY"
            values["security"][key] = Raw(str(path), source, True)


def _place_paths(
    path: Path | None, values: dict[str, dict[str, Raw]], sections: dict[str, dict[str, Any]]
) -> None:
    """Make paths absolute: those of the file count from its directory."""
    for name, key in _PATHS:
        given = sections[name].get(key)
        if given is None or given == "":
            continue
        from_file = path is not None and not values[name][key].text
        base = path.resolve().parent if path is not None and from_file else Path.cwd()
        placed = base / Path(given).expanduser()
        sections[name][key] = placed if key == "data_dir" else str(placed)
