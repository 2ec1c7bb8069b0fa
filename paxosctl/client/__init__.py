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

from paxosctl.client.async_client import AsyncClient
from paxosctl.client.async_watch import AsyncWatcher
from paxosctl.client.client import Client
from paxosctl.client.errors import (
    CarriedOutError,
    ClientError,
    ClosedError,
    FencedOffError,
    LeaseUnknownError,
    NotSubmittedError,
    OutcomeUnknownError,
    QuotaError,
    RefusedError,
    UnreachableError,
    what_is_known,
)
from paxosctl.client.future import Future
from paxosctl.client.pipeline import Pipeline
from paxosctl.client.results import (
    CasResult,
    Health,
    MembersResult,
    Outcome,
    Removed,
    StaleRead,
)
from paxosctl.client.transactions import Compare, Operation, TxnResult
from paxosctl.client.watch import Watcher
from paxosd.core.client.calls import ClientOptions
from paxosd.core.commands import Change, KeyValue
from paxosd.core.requests import LeaseInfo

__all__ = [
    "AsyncClient",
    "AsyncWatcher",
    "CarriedOutError",
    "CasResult",
    "Change",
    "Client",
    "ClientError",
    "ClientOptions",
    "ClosedError",
    "Compare",
    "FencedOffError",
    "Future",
    "Health",
    "KeyValue",
    "LeaseInfo",
    "LeaseUnknownError",
    "MembersResult",
    "NotSubmittedError",
    "Operation",
    "Outcome",
    "OutcomeUnknownError",
    "Pipeline",
    "QuotaError",
    "RefusedError",
    "Removed",
    "StaleRead",
    "TxnResult",
    "UnreachableError",
    "Watcher",
    "what_is_known",
]
