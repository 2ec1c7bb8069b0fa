"""A reload (SIGHUP): what of it takes hold while the node runs.

    SIGHUP ── RELOADING=1 ── log file opened anew ── configuration read again ── READY=1

1. The log file is opened anew, after logrotate moved it. READY waits for that, so that what comes
   after ``systemctl reload`` may compress the file that was moved.
2. The configuration is read from where it was read at the start. ``log.level`` takes hold at once.
   What else differs is named in the log, and takes hold at the next start. A file that cannot be
   used changes nothing, and the log says why: the next start would fail.

Neither ends a connection or stops a request.
"""

from collections.abc import Callable

from paxosd.config.schema import SECTIONS, Config
from paxosd.config.settings import ConfigError, section_fields
from paxosd.daemon.log_level import LogLevel
from paxosd.daemon.logs import Logs
from paxosd.daemon.notify import Notifier

ReadConfig = Callable[[], Config]
"""Reads the configuration again. Raises ConfigError, PermissionError."""
AT_ONCE = frozenset({"log.level"})
"""The settings that a reload puts into force."""


class Reload:
    """The reloads of one node. ``config``: that of its start."""

    def __init__(
        self,
        config: Config,
        read: ReadConfig,
        logs: Logs,
        log_level: LogLevel,
        notifier: Notifier,
    ) -> None:
        self._config = config
        self._read = read
        self._logs = logs
        self._log_level = log_level
        self._notifier = notifier
        self._under_way = False

    def begin(self) -> None:
        """Do all of it but for the end, which :meth:`tick` finds."""
        self._under_way = True
        self._notifier.reloading()
        self._logs.reopen()
        try:
            config = self._read()
        except (ConfigError, PermissionError) as error:
            self._logs.logger.error(
                "config.reload_failed",
                message="; ".join(
                    error.problems if isinstance(error, ConfigError) else [str(error)]
                ),
                advice="correct the file: what is in force stays, but the next start would fail",
            )
            return
        changed = differing(self._config, config)
        self._log_level.configure(config.log.level)
        self._logs.logger.info(
            "config.reloaded",
            at_next_start=sorted(changed - AT_ONCE),
            log_level=config.log.level,
        )

    def tick(self, words: str) -> None:
        """Often: end the reload that is under way once the log file is open. ``words``: the STATUS
        from then on."""
        if self._under_way and not self._logs.reopening:
            self._under_way = False
            self._notifier.ready(words)


def differing(one: Config, other: Config) -> set[str]:
    """The settings (``section.key``) that two configurations have otherwise."""
    found = {
        f"{name}.{key}"
        for name, section in SECTIONS.items()
        for key in section_fields(section)
        if getattr(getattr(one, name), key) != getattr(getattr(other, name), key)
    }
    members = one.cluster.members, other.cluster.members
    for name in sorted({*members[0], *members[1]}):
        if members[0].get(name) != members[1].get(name):
            found.add(f"cluster.members.{name}")
    return found
