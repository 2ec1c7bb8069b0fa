"""The thread that keeps a client's locks: begun with the first lock, ended with the client."""

import threading
import warnings
import weakref
from collections.abc import Sequence

from paxosctl.client.base import CLOSED_WORDS
from paxosctl.client.credentials import Credentials
from paxosctl.client.lock_keeper import LockKeeper
from paxosctl.client.results import as_ttl_ms
from paxosd.core.client.calls import ClientOptions
from paxosd.core.client.lock import LockPlan

TTL_S = 10.0
"""Of locks, and what is made of them: a holder that died is in the way for so long."""


class KeeperOfOne:
    """That of one client, in whatever dress; any thread may ask for it."""

    def __init__(self, options: ClientOptions, credentials: Credentials | None) -> None:
        self._options = options
        self._credentials = credentials
        self._keeper: LockKeeper | None = None
        self._closing = False
        self._making = threading.RLock()

    def end_with(self, client: object) -> None:
        """End it when ``client`` is collected that nobody has closed. (At the end of the process
        nothing can be given back any more: the thread ends with it.)"""
        weakref.finalize(client, self._abandon).atexit = False

    def get(self, endpoints: Sequence[str]) -> LockKeeper:
        """The same each time. Raises RuntimeError once the client is being closed."""
        with self._making:
            if self._closing:
                raise RuntimeError(CLOSED_WORDS)
            if self._keeper is None:
                self._keeper = LockKeeper(endpoints, self._options, self._credentials)
            return self._keeper

    @property
    def made(self) -> LockKeeper | None:
        """None: no lock was asked for."""
        return self._keeper

    def close(self, *, wait: bool = True) -> None:
        """End it, if there is one, and make none; unless ``wait`` is False, wait for its locks to
        be given back, a second at most."""
        with self._making:
            self._closing = True
        if self._keeper is not None:
            self._keeper.close(wait=wait)

    def _abandon(self) -> None:
        """In whichever thread collects the client, even that of the locks: waits for nothing."""
        keeper, was_closing, self._closing = self._keeper, self._closing, True
        if keeper is None or was_closing or keeper.is_forked or keeper.ended:
            return
        keeper.close(wait=False)
        words = "a client of paxosd that has locks was not closed: it gives them back now"
        warnings.warn(words, ResourceWarning, stacklevel=1)


def plan_of(name: bytes, shared: int, ttl_s: float, value: bytes) -> LockPlan:
    """Raises ValueError or TypeError for what is no lock."""
    return LockPlan(name=name, ttl_ms=as_ttl_ms(ttl_s), shared=shared, value=value)
