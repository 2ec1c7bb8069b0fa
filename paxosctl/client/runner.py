"""The calls of one client: queued, carried out over its connections, waited for, explained.

    submit ──► ClientProtocol ◄── turn: send, take what has arrived ──► Connection ──► nodes
    finish: turns until a call has ended          failure_of: the exception that explains its end

It works on the network during its calls only, and belongs to one thread.
"""

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from paxosctl.client.connection import Connection
from paxosctl.client.errors import ClientError, error_of
from paxosctl.client.own_name import checked_name, own_name
from paxosctl.client.transport import Transport
from paxosctl.client.watch import Watcher
from paxosd.core.client.calls import Call, ClientOptions
from paxosd.core.client.endpoints import UNREACHABLE, Trouble
from paxosd.core.client.protocol import ClientProtocol
from paxosd.core.commands import Command
from paxosd.host.clock import clock_ms

DEFAULT_ENDPOINTS = (
    "tcp://127.0.0.1:7410",
    "tcp://127.0.0.1:7420",
    "tcp://127.0.0.1:7430",
)
"""Those of ``paxosd dev``."""

TIMEOUT_S_MAX = 86_400 * 366
"""A year: more is no deadline."""


class CallRunner:
    """``endpoints``: client endpoints of any nodes of one cluster, tried in this order.
    ``timeout_s`` bounds each call, a page of a scan, and each pipelined command. ``name``: for
    people who ask the log who wrote something; None: program, user, host and process id; "": none.

    It belongs to the thread and the process that made it, with all that it hands out: a call from
    another thread, or in a forked child, raises RuntimeError. There is one exception: :meth:`close`
    in a child does nothing, for a child has nothing to end."""

    def __init__(
        self,
        endpoints: Sequence[str] = DEFAULT_ENDPOINTS,
        *,
        timeout_s: float = 5.0,
        options: ClientOptions | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(endpoints, str):
            raise TypeError("endpoints is a list of strings, not one string")
        if not 0 < timeout_s <= TIMEOUT_S_MAX:
            raise ValueError(f"timeout_s is above 0 and at most {TIMEOUT_S_MAX}, not {timeout_s}")
        options = options or ClientOptions()
        if name is not None or not options.name:
            options = replace(options, name=own_name() if name is None else checked_name(name))
        self.timeout_s = timeout_s
        self._transport = Transport()
        self._connection = Connection(self._transport, endpoints, options)
        self._watchers: list[Watcher] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the session, without waiting for the answer, and closes all sockets."""
        if self._transport.owner.is_forked:
            return  # the session and the connections are the parent's, which goes on with them
        self._transport.owner.check()
        if not self._closed:
            self._closed = True
            try:
                for watcher in self._watchers:
                    watcher.close()
                self._connection.close()
            finally:
                self._transport.close()  # closes what an interrupted call left unknown to them

    def submit(self, command: Command) -> Call:
        """Queue a command; nothing is sent before :meth:`turn` or a call that waits."""
        self._check()
        return self._protocol.submit(command, clock_ms(), self._timeout_ms)

    def turn(self, wait_ms: int = 0) -> None:
        """Send what can be sent, and take what has arrived, waiting for it if there is none."""
        self._check()
        due_ms = self._connection.turn()
        timeout_ms = min(due_ms - clock_ms(), wait_ms)
        self._transport.poll(max(0, timeout_ms))
        # Each waiting caller looks at its own call, so that this list is not needed.
        self._protocol.take_completed()

    def pause(self, ms: int) -> None:
        """Wait for so long, and work on the network meanwhile."""
        until_ms = clock_ms() + ms
        while (left_ms := until_ms - clock_ms()) > 0:
            self.turn(left_ms)

    def finish(self, call: Call) -> Call:
        """Wait until a call has ended, well or badly. What has ended is known after the client was
        closed, too."""
        self._transport.owner.check()
        if not call.done:
            self._check()
            self._connection.run(call)
            self._protocol.take_completed()
        return call

    def failure_of(self, call: Call) -> ClientError:
        """The exception for a call that ended badly."""
        assert call.failure is not None
        return error_of(call.failure, self.troubles())

    @property
    def session(self) -> int:
        """The session of this client's commands; 0 before the first."""
        return self._protocol.session

    @property
    def cluster(self) -> str:
        """The id of the cluster; "" before the first answer."""
        self._transport.owner.check()
        return self._connection.cluster

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

    # -- inside -------------------------------------------------------------------------------

    @property
    def _protocol(self) -> ClientProtocol:
        """All that this client knows and has under way; for its owner alone."""
        self._transport.owner.check()
        return self._connection.protocol

    def _check(self) -> None:
        """Raises RuntimeError in a foreign thread or process, and once the client is closed."""
        self._transport.owner.check()
        if self._closed:
            raise RuntimeError("the client is closed")

    @property
    def _timeout_ms(self) -> int:
        return max(1, int(self.timeout_s * 1000))

    def _keep(self, watcher: Watcher) -> Watcher:
        """Close it when this is closed."""
        self._watchers.append(watcher)
        return watcher

    def _wait(self, call: Call) -> Call:
        self.finish(call)
        if call.failure is not None:
            raise self.failure_of(call) from None
        return call
