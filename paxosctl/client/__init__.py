"""The public Python clients of paxosd: ``from paxosctl.client import Client, AsyncClient``.

``writes.py``, ``reads.py``, ``leases.py`` and ``cluster_calls.py`` describe the methods, once for
all dresses (``operations.py``): ``client.py`` is the client whose calls wait, ``async_client.py``
the one whose calls are awaited, ``pipeline.py`` many commands at a time. ``watch.py`` and
``async_watch.py`` are the changes of a key or prefix; ``errors.py`` how a call can fail.
``connection.py`` and ``transport.py`` drive the sans-IO protocol of ``paxosd.core.client`` with
sockets and a clock, by the threads that wait (``runner.py``, ``driver_seat.py``) or by an event
loop (``async_runner.py``).
Nothing here prints or exits.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from paxosctl.client.client import Client
from paxosctl.client.election import Election, Leader
from paxosctl.client.errors import (
    CarriedOutError,
    ClientError,
    ClosedError,
    FencedOffError,
    ForbiddenError,
    HandshakeError,
    LeaseUnknownError,
    LockLostError,
    NotAcquiredError,
    NotSubmittedError,
    OutcomeUnknownError,
    QuotaError,
    RefusedError,
    UnreachableError,
    what_is_known,
)
from paxosctl.client.future import Future
from paxosctl.client.lock import Lock
from paxosctl.client.pipeline import Pipeline
from paxosctl.client.recipes import Barrier, Config, Counter, Registry
from paxosctl.client.results import (
    CasResult,
    ChangeGroup,
    Health,
    MembersResult,
    Outcome,
    Progress,
    Removed,
    RightsResult,
    StaleRead,
)
from paxosctl.client.transactions import Compare, Operation, TxnResult
from paxosctl.client.watch import Watcher
from paxosd.core.client.calls import ClientOptions
from paxosd.core.commands import Change, ChangeOf, KeyValue
from paxosd.core.requests import LeaseInfo
from paxosd.net.key_files import KeyFile, KeyFileError

if TYPE_CHECKING:
    from paxosctl.client.async_client import AsyncClient
    from paxosctl.client.async_lock import AsyncLock
    from paxosctl.client.async_recipes import (
        AsyncBarrier,
        AsyncConfig,
        AsyncCounter,
        AsyncElection,
        AsyncRegistry,
    )
    from paxosctl.client.async_watch import AsyncWatcher

__all__ = [
    "AsyncBarrier",
    "AsyncClient",
    "AsyncConfig",
    "AsyncCounter",
    "AsyncElection",
    "AsyncLock",
    "AsyncRegistry",
    "AsyncWatcher",
    "Barrier",
    "CarriedOutError",
    "CasResult",
    "Change",
    "ChangeGroup",
    "ChangeOf",
    "Client",
    "ClientError",
    "ClientOptions",
    "ClosedError",
    "Compare",
    "Config",
    "Counter",
    "Election",
    "FencedOffError",
    "ForbiddenError",
    "Future",
    "HandshakeError",
    "Health",
    "KeyFile",
    "KeyFileError",
    "KeyValue",
    "Leader",
    "LeaseInfo",
    "LeaseUnknownError",
    "Lock",
    "LockLostError",
    "MembersResult",
    "NotAcquiredError",
    "NotSubmittedError",
    "Operation",
    "Outcome",
    "OutcomeUnknownError",
    "Pipeline",
    "Progress",
    "QuotaError",
    "RefusedError",
    "Registry",
    "Removed",
    "RightsResult",
    "StaleRead",
    "TxnResult",
    "UnreachableError",
    "Watcher",
    "what_is_known",
]


_AWAITED = {
    "AsyncBarrier": "async_recipes",
    "AsyncClient": "async_client",
    "AsyncConfig": "async_recipes",
    "AsyncCounter": "async_recipes",
    "AsyncElection": "async_recipes",
    "AsyncLock": "async_lock",
    "AsyncRegistry": "async_recipes",
    "AsyncWatcher": "async_watch",
}
"""Name → the module that has it."""


def __getattr__(name: str) -> Any:
    """What needs asyncio is imported when it is asked for: a verb of paxosctl starts without it."""
    if name in _AWAITED:
        return getattr(import_module(f"{__name__}.{_AWAITED[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
