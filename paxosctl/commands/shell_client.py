"""One client for all that is typed into a shell."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from paxosctl.cli.app import QUICK_MS, Settings
from paxosctl.cli.target import Target


class SharedClient:
    """Opened for the first verb that needs one, and lent to each after that."""

    def __init__(self, settings: Settings) -> None:
        """``settings``: those that the shell was begun with."""
        self._settings = settings
        self._client: Any = None

    @property
    def target(self) -> Target:
        """The cluster that it is for; raises as :attr:`Settings.target`."""
        return self._settings.target

    def serves(self, settings: Settings) -> bool:
        """Whether a verb with these settings may use it."""
        own = self._settings
        same = (settings.client_name, settings.allow_plain) == (own.client_name, own.allow_plain)
        return same and settings.target == self.target

    @contextmanager
    def lent(self, timeout_s: float) -> Iterator[Any]:
        """It, with this deadline for each call. It stays open."""
        if self._client is None:
            self._client = self._settings.open_client()
        before = self._client.timeout_s
        self._client.timeout_s = timeout_s
        try:
            yield self._client
        finally:
            self._client.timeout_s = before

    def close(self) -> None:
        """Close it; the next verb would open another one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


@dataclass(slots=True)
class ShellSettings(Settings):
    """The global options of one line. What it does not say is as the shell was begun."""

    shared: SharedClient | None = None

    @classmethod
    def of(cls, settings: Settings, shared: SharedClient) -> Self:
        """For a new line."""
        given = {each.name: getattr(settings, each.name) for each in fields(settings)}
        return cls(**given, shared=shared)

    def open_client(self) -> AbstractContextManager[Any]:
        """The shared one; one of its own for a line that names another cluster, another client
        name, or nodes without keys."""
        if self.shared is not None and self.shared.serves(self):
            return self.shared.lent(self.timeout_s)
        return Settings.open_client(self)

    @contextmanager
    def quick_client(self) -> Iterator[tuple[Any, float]]:
        """The shared one, which has its connection already, where :meth:`open_client` gives it."""
        asking = replace(self, timeout=QUICK_MS)
        with asking.open_client() as client:
            yield client, QUICK_MS / 1000
