"""The public Python client of paxosd: ``from paxosctl.client import Client``.

``client.py`` is what programs use; ``pipeline.py`` many commands at a time; ``watch.py`` the
changes of a key or prefix; ``errors.py`` how a call can fail. ``connection.py`` and
``transport.py`` drive the sans-IO protocol of ``paxosd.core.client`` with sockets and a clock.
Nothing here prints or exits.
"""

from paxosctl.client.client import Client
from paxosctl.client.errors import (
    ClientError,
    NotSubmittedError,
    OutcomeUnknownError,
    QuotaError,
    RefusedError,
    UnreachableError,
)
from paxosctl.client.pipeline import Future, Pipeline
from paxosctl.client.results import (
    CasResult,
    Health,
    MembersResult,
    Outcome,
    Removed,
    StaleRead,
)
from paxosctl.client.watch import Watcher
from paxosd.core.client.calls import ClientOptions
from paxosd.core.commands import Change, KeyValue

__all__ = [
    "CasResult",
    "Change",
    "Client",
    "ClientError",
    "ClientOptions",
    "Future",
    "Health",
    "KeyValue",
    "MembersResult",
    "NotSubmittedError",
    "Outcome",
    "OutcomeUnknownError",
    "Pipeline",
    "QuotaError",
    "RefusedError",
    "Removed",
    "StaleRead",
    "UnreachableError",
    "Watcher",
]
