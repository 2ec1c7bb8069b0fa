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

from typing import TYPE_CHECKING, Any

from paxosctl.client.client import Client
from paxosctl.client.election import Election, Leader
from paxosctl.client.errors import (
    CarriedOutError,
    ClientError,
    ClosedError,
    FencedOffError,
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
    StaleRead,
)
from paxosctl.client.transactions import Compare, Operation, TxnResult
from paxosctl.client.watch import Watcher
from paxosd.core.client.calls import ClientOptions
from paxosd.core.commands import Change, ChangeOf, KeyValue
from paxosd.core.requests import LeaseInfo

if TYPE_CHECKING:
    from paxosctl.client.async_client import AsyncClient
    from paxosctl.client.async_watch import AsyncWatcher

__all__ = [
    "AsyncClient",
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
    "Future",
    "Health",
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
    "StaleRead",
    "TxnResult",
    "UnreachableError",
    "Watcher",
    "what_is_known",
]


def __getattr__(name: str) -> Any:
    """What needs asyncio is imported when it is asked for: a verb of paxosctl starts without it."""
    if name == "AsyncClient":
        from paxosctl.client.async_client import AsyncClient  # noqa: PLC0415 -- see above

        return AsyncClient
    if name == "AsyncWatcher":
        from paxosctl.client.async_watch import AsyncWatcher  # noqa: PLC0415 -- see above

        return AsyncWatcher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
