"""What both dresses of a client have: its connections, its times, and what it knows."""

import math
from collections.abc import Sequence
from dataclasses import replace

from paxosctl.client.connection import Connection
from paxosctl.client.credentials import Credentials, KeySource
from paxosctl.client.errors import ClientError, error_of
from paxosctl.client.own_name import checked_name, own_name
from paxosctl.client.owner import Unshared
from paxosctl.client.transport import Transport
from paxosd.core.client.calls import Ask, Call, ClientOptions, Request
from paxosd.core.client.endpoints import UNREACHABLE, Trouble
from paxosd.core.client.protocol import ClientProtocol
from paxosd.core.client.read_spread import checked_read_from
from paxosd.host.clock import clock_ms
from paxosd.net.key_files import KeyFile

DEFAULT_ENDPOINTS = (
    "tcp://127.0.0.1:7410",
    "tcp://127.0.0.1:7420",
    "tcp://127.0.0.1:7430",
)
"""Those of ``paxosd dev``."""

TIMEOUT_S_MAX = 86_400 * 366
"""A year: more is no deadline."""
CLOSED_WORDS = "the client is closed"
CANCELLED_WORDS = "it was cancelled"


class ClientBase(Unshared):
    """``endpoints``: client endpoints of any nodes of one cluster, tried in this order.
    ``timeout_s`` bounds each call that is not given another one, a page of a scan, and each
    pipelined command. ``name``: for people who ask the log who wrote something; None: program,
    user, host and process id; "": none. ``read_from``: "leader" (also None), or "nearest": reads go
    to the node that answers soonest, drawn from those that are about equally quick, so that many
    clients share all nodes. They are linearizable all the same: any node has a majority confirm who
    leads before it answers. ``key``: a :class:`~paxosd.net.key_files.KeyFile`, or the path of such
    a file, for a cluster with keys: who this client is, and by which keys nodes prove who they are.
    Without ``endpoints``, those in it are used. ``allow_plain``: nodes that take no keys are talked
    to without, as long as a cluster switches over. Raises KeyFileError for a file that cannot be
    used.

    It belongs to the process that made it, with all that it hands out: a call in a forked child
    raises RuntimeError. There is one exception: ``close`` in a child does nothing, for a child has
    nothing to end. It is neither copied nor pickled."""

    def __init__(
        self,
        endpoints: Sequence[str] | None = None,
        *,
        timeout_s: float = 5.0,
        options: ClientOptions | None = None,
        name: str | None = None,
        read_from: str | None = None,
        key: KeySource | None = None,
        allow_plain: bool = False,
    ) -> None:
        if isinstance(endpoints, str):
            raise TypeError("endpoints is a list of strings, not one string")
        options = options or ClientOptions()
        if name is not None or not options.name:
            options = replace(options, name=own_name() if name is None else checked_name(name))
        if read_from is not None:
            options = replace(options, read_from=checked_read_from(read_from))
        self.timeout_s = checked_timeout(timeout_s)
        self._options = options
        self._credentials = Credentials.of(key, allow_plain=allow_plain)
        if endpoints is None:
            endpoints = endpoints_of(self._credentials)
        self._transport = Transport(self._credentials)
        self._connection = Connection(self._transport, endpoints, options)
        self._closed = False

    @property
    def session(self) -> int:
        """The session of this client's commands; 0 before the first."""
        return self._protocol.session

    @property
    def key(self) -> KeyFile | None:
        """The key of this client; None: it has none."""
        return self._credentials.key if self._credentials is not None else None

    @property
    def credentials(self) -> Credentials | None:
        """The key, and what was learned with it: ``key`` of another client for the same cluster."""
        return self._credentials

    @property
    def cluster(self) -> str:
        """The id of the cluster; "" before the first answer."""
        self._transport.owner.check_process()
        return self._connection.cluster

    @property
    def reads_by_endpoint(self) -> dict[str, int]:
        """How many reads, pages of scans included, each node has answered this client."""
        return dict(self._protocol.reads.answered)

    @property
    def endpoints(self) -> list[str]:
        """The endpoints that this client knows, given or learned."""
        return [each.name for each in self._protocol.endpoints]

    def troubles(self) -> list[Trouble]:
        """What was noticed about each endpoint lately."""
        return [
            each._replace(code=UNREACHABLE, message=words)
            if (words := self._connection.unresolved(each.endpoint))
            else each
            for each in self._protocol.endpoints.troubles()
        ]

    def failure_of(self, call: Call) -> ClientError:
        """The exception for a call that ended badly."""
        assert call.failure is not None
        return error_of(call.failure, self.troubles())

    # -- inside -------------------------------------------------------------------------------

    @property
    def _protocol(self) -> ClientProtocol:
        """All that this client knows and has under way; to be changed by who drives it alone."""
        self._transport.owner.check_process()
        return self._connection.protocol

    def _check(self) -> None:
        """Raises RuntimeError in a foreign process, and once the client is closed."""
        self._transport.owner.check_process()
        if self._closed:
            raise RuntimeError(CLOSED_WORDS)

    def _deadline_ms(self, timeout_s: float | None) -> int:
        """Of a call that begins now."""
        if timeout_s is None:
            timeout_s = self.timeout_s
        else:
            checked_timeout(timeout_s)
        return clock_ms() + max(1, int(timeout_s * 1000))


def endpoints_of(credentials: Credentials | None) -> Sequence[str]:
    """Where a client begins that was given no endpoints."""
    servers = credentials.key.servers.values() if credentials is not None else ()
    return [each.endpoint for each in servers] or DEFAULT_ENDPOINTS


def checked_timeout(timeout_s: float) -> float:
    """The same. Raises ValueError for what is no time to wait."""
    if not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise ValueError(f"timeout_s is above 0 and at most {TIMEOUT_S_MAX}, not {timeout_s}")
    return timeout_s


def checked_wait(timeout_s: float | None) -> float | None:
    """A time to wait for what may take for ever; None for inf, and for None. Raises ValueError."""
    if timeout_s is None or timeout_s == math.inf:
        return None
    if not 0 <= timeout_s <= TIMEOUT_S_MAX:
        raise ValueError(
            f"timeout_s is from 0 to {TIMEOUT_S_MAX}, or None or inf: for ever; not {timeout_s}"
        )
    return timeout_s


def new_call(request: Request, deadline_ms: int) -> Call:
    """The call that carries out a request."""
    body = request.question if isinstance(request, Ask) else request.command
    return Call(body, deadline_ms, None)
