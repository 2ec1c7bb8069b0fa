"""The public Python client of paxosd, whose calls wait.

    with Client(["tcp://127.0.0.1:7410", "tcp://127.0.0.1:7420"]) as client:
        revision = client.put(b"greeting", b"hello")
        found = client.get(b"greeting")            # KeyValue or None
        with client.pipeline() as pipe:            # many commands at once
            futures = [pipe.put(b"k%d" % i, b"v") for i in range(1000)]
        for change in client.watch(b"greeting"):   # never ends by itself
            print(change.revision, change.value)

Keys and values are bytes. A call that does not give a result raises a
:class:`~paxosctl.client.errors.ClientError`, which says whether it surely did not happen
(:class:`~paxosctl.client.errors.NotSubmittedError`, safe to try again) or may have
(:class:`~paxosctl.client.errors.OutcomeUnknownError`; ask :meth:`Client.outcome`). Until the
deadline the client itself follows the leader and tries again, with the same (session, seq): a
command is applied at most once however often it was sent.

Threads may share a client: their calls go out together. It has no thread of its own, and works on
the network while some thread waits in one of its calls only (``driver_seat.py``).

Most methods are described once for this class and for
:class:`~paxosctl.client.async_client.AsyncClient`, in ``writes.py``, ``reads.py`` and
``cluster_calls.py``.
"""

from collections.abc import Callable
from typing import Any

from paxosctl.client.cluster_calls import ClusterMethods, admin_body, ask_admin
from paxosctl.client.leases import LeaseMethods
from paxosctl.client.pipeline import Pipeline
from paxosctl.client.reads import ReadMethods
from paxosctl.client.runner import CallRunner
from paxosctl.client.transaction_calls import TransactionMethods
from paxosctl.client.watch import Watcher
from paxosctl.client.watch_plan import WatchPlan
from paxosctl.client.writes import WriteMethods
from paxosd.core.client.calls import Call


class Client(
    WriteMethods, TransactionMethods, ReadMethods, LeaseMethods, ClusterMethods, CallRunner
):
    """A connection to a cluster, whose calls wait; threads may share it. See
    :class:`~paxosctl.client.base.ClientBase` for its arguments."""

    def pipeline(self) -> Pipeline:
        """Many commands without waiting for each; see
        :class:`~paxosctl.client.pipeline.Pipeline`.

        >>> with client.pipeline() as pipe:
        ...     futures = [pipe.put(b"%d" % number, b"") for number in range(100)]
        >>> len({future.result() for future in futures})
        100
        """
        self._check()
        return Pipeline(self)

    def watch(
        self,
        key: bytes,
        *,
        prefix: bool = False,
        from_revision: int | None = None,
        history: str = "",
        on_trouble: Callable[[str], None] | None = None,
        timeout_s: float | None = None,
    ) -> Watcher:
        """Iterate over the changes of a key, or of all keys with a prefix, none left out.

        ``from_revision``: the first one wanted, None: from now on. Goes on over restarts, changes
        of the leader and the replacement of every node, for ever; ``on_trouble(reason)`` is called
        each time that a node had to be left. ``timeout_s`` bounds the beginning, which asks a node
        for its status. Raises RefusedError: "compacted" if that history is gone; "history" if it is
        another one than that of ``history`` (:attr:`Watcher.history` of an earlier watch), or one
        that has not come as far as this watch; "cluster".

        >>> first = client.put(b"greeting", b"hello")
        >>> with client.watch(b"greeting", from_revision=first) as changes:
        ...     print(next(changes).value)
        b'hello'
        """
        plan = WatchPlan(key, prefix, from_revision, history)
        make = self._run(plan.steps(self.endpoints), timeout_s)
        session = make(self._transport)
        self._watches = [each for each in self._watches if not each.closed]
        self._watches.append(session)
        return Watcher(self, session, on_trouble)

    # -- several nodes at a time --------------------------------------------------------------

    def start_admin(
        self,
        verb: str,
        args: dict[str, Any] | None = None,
        *,
        endpoint: str = "",
        patience_ms: int | None = None,
        timeout_s: float | None = None,
    ) -> Call:
        """Like :meth:`admin`, but does not wait: several nodes can be asked at a time.
        ``patience_ms``: give ``endpoint`` up once it has been down for so long."""
        request = ask_admin(verb, args or {}, endpoint, patience_ms)
        return self.begin(request, self._deadline_ms(timeout_s))

    def admin_result(self, call: Call) -> dict[str, Any]:
        """The end of :meth:`start_admin`."""
        return admin_body(self._wait(call).result)
