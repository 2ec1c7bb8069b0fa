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

from collections.abc import Callable, Sequence
from typing import Any

from paxosctl.client.cluster_calls import ClusterMethods, admin_body, ask_admin
from paxosctl.client.credentials import KeySource
from paxosctl.client.election import Election
from paxosctl.client.leases import LeaseMethods
from paxosctl.client.lock import Lock
from paxosctl.client.lock_maker import TTL_S, KeeperOfOne, plan_of
from paxosctl.client.pipeline import Pipeline
from paxosctl.client.reads import ReadMethods
from paxosctl.client.recipes import EVERYBODY, Barrier, Config, Counter, Registry, T
from paxosctl.client.results import as_bytes
from paxosctl.client.rights_calls import RightsMethods
from paxosctl.client.runner import CallRunner
from paxosctl.client.transaction_calls import TransactionMethods
from paxosctl.client.watch import Watcher
from paxosctl.client.watch_plan import WatchPlan
from paxosctl.client.writes import WriteMethods
from paxosd.core.client.calls import Call, ClientOptions
from paxosd.core.commands import KeyValue, prefix_end


class Client(
    WriteMethods,
    TransactionMethods,
    ReadMethods,
    LeaseMethods,
    ClusterMethods,
    RightsMethods,
    CallRunner,
):
    """A connection to a cluster, whose calls wait; threads may share it. See
    :class:`~paxosctl.client.base.ClientBase` for its arguments."""

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
        super().__init__(
            endpoints,
            timeout_s=timeout_s,
            options=options,
            name=name,
            read_from=read_from,
            key=key,
            allow_plain=allow_plain,
        )
        self._keeper = KeeperOfOne(self._options, self._credentials)
        self._keeper.end_with(self)

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
        prev: bool = False,
        only: str | None = None,
        progress_s: float | None = None,
        groups: bool = False,
        on_trouble: Callable[[str], None] | None = None,
        timeout_s: float | None = None,
    ) -> Watcher:
        """Iterate over the changes of a key, or of all keys with a prefix, none left out.

        ``from_revision``: the first one wanted, None: from now on. ``prev``: each change is a
        ChangeOf, with the key as it was before. ``only``: "puts" or "deletes". ``progress_s``: when
        nothing came for so long, a :class:`~paxosctl.client.results.Progress` comes, which says
        what the watch has seen. ``groups``: the changes of a revision come together, each time as a
        :class:`~paxosctl.client.results.ChangeGroup`.

        It goes on over restarts, changes
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
        plan = WatchPlan(key, prefix, from_revision, history, prev, only, progress_s, groups)
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

    # -- locks, and what is made of them ------------------------------------------------------

    def lock(
        self,
        name: bytes,
        *,
        ttl_s: float = TTL_S,
        value: bytes = b"",
        timeout_s: float | None = None,
    ) -> Lock:
        """A lock: whoever has the oldest key that begins with ``name/`` holds it.

        ``ttl_s``: for how long one that died, or is cut off, is in the way. ``value``: of the key,
        for people. ``timeout_s``: how long a ``with`` waits for it, NotAcquiredError after that;
        None: for ever. The first lock of a client starts a thread, named ``paxosd-locks``, that
        keeps the leases of all its locks while other code runs (``lock_keeper.py``).

        A lock alone excludes nobody: a holder that is stopped and goes on later may write after
        another has it. A write with ``fence=lock.fence`` is refused then.

        >>> with client.lock(b"jobs") as lock:
        ...     _ = client.put(b"result", b"1", fence=lock.fence)
        ...     lock.check()
        True
        """
        return self.semaphore(name, 1, ttl_s=ttl_s, value=value, timeout_s=timeout_s)

    def semaphore(
        self,
        name: bytes,
        shared: int,
        *,
        ttl_s: float = TTL_S,
        value: bytes = b"",
        timeout_s: float | None = None,
    ) -> Lock:
        """A lock that ``shared`` can hold at a time, who all give this number.

        >>> with client.semaphore(b"printers", 2), client.semaphore(b"printers", 2):
        ...     client.semaphore(b"printers", 2).acquire(timeout_s=0)
        False
        """
        self._check()
        plan = plan_of(as_bytes(name), shared, ttl_s, as_bytes(value))
        return Lock(self._keeper.get(self.endpoints), plan, timeout_s, self)

    def election(self, name: bytes, *, ttl_s: float = TTL_S) -> Election:
        """An election: a lock whose holder leads.

        >>> election = client.election(b"primary")
        >>> with election.campaign(b"host1"):
        ...     election.leader().value
        b'host1'
        """
        name = as_bytes(name)
        return Election(
            name,
            lock=lambda value: self.lock(name, ttl_s=ttl_s, value=value),
            rows=lambda: self._rows(name + b"/"),
            watch=lambda revision: self.watch(name + b"/", prefix=True, from_revision=revision),
        )

    def barrier(self, name: bytes, count: int, *, ttl_s: float = TTL_S) -> Barrier:
        """A barrier that lets nobody pass before ``count`` have come; for one use.

        >>> client.barrier(b"start", 1).wait()
        True
        """
        name = as_bytes(name)
        return Barrier(
            name,
            count,
            place=self.semaphore(name, EVERYBODY, ttl_s=ttl_s),
            open_it=lambda: self.cas_value(name, None, b"open"),
            rows=self._rows,
            watch=self._watch_prefix,
        )

    def counter(self, key: bytes) -> Counter:
        """A number that many add to.

        >>> client.counter(b"visitors").add(3)
        3
        """
        key = as_bytes(key)
        return Counter(key, add=lambda by: self.incr(key, by), get=lambda: self.get(key))

    def registry(self, service: bytes, *, ttl_s: float = TTL_S) -> Registry:
        """The instances of a service: those that are registered, and live.

        >>> registry = client.registry(b"web")
        >>> with registry.register(b"10.0.0.1:80"):
        ...     registry.instances()
        [b'10.0.0.1:80']
        """
        service = as_bytes(service)
        return Registry(
            service,
            place=lambda value: self.semaphore(service, EVERYBODY, ttl_s=ttl_s, value=value),
            rows=self._rows,
            watch=self._watch_prefix,
        )

    def config(self, key: bytes, parse: Callable[[bytes | None], T]) -> Config[T]:
        """A typed value that is set elsewhere; ``parse(None)``: the default.

        >>> client.config(b"workers", lambda text: int(text or b"4")).value
        4
        """
        return Config(
            as_bytes(key),
            parse,
            rows=lambda key: self._rows(key, key + b"\0"),
            watch=lambda key, revision: self.watch(key, from_revision=revision),
        )

    def close(self) -> None:
        if not self._transport.owner.is_forked:
            self._keeper.close()
        super().close()

    close.__doc__ = CallRunner.close.__doc__

    def _rows(self, start: bytes, end: bytes | None = None) -> tuple[list[KeyValue], int]:
        """The keys of a range, that of this prefix if no end is given, and the revision from which
        on changes are to be followed."""
        rows: list[KeyValue] = []
        revision = -1
        for answer in self.pages(start, prefix_end(start) if end is None else end):
            rows += answer.results[0].rows
            revision = answer.revision if revision < 0 else revision
        return rows, revision

    def _watch_prefix(self, prefix: bytes, revision: int) -> Watcher:
        return self.watch(prefix, prefix=True, from_revision=revision)
