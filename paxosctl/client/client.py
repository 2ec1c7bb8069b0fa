"""The public Python client of paxosd.

    with Client(["tcp://127.0.0.1:7410", "tcp://127.0.0.1:7420"]) as client:
        revision = client.put(b"greeting", b"hello")
        found = client.get(b"greeting")            # KeyValue or None
        with client.pipeline() as pipe:            # many commands at once
            futures = [pipe.put(b"k%d" % i, b"v") for i in range(1000)]
        for change in client.watch(b"greeting"):   # never ends by itself
            print(change.revision, change.value)

Keys and values are bytes. A call that does not give a result raises a
:class:`~paxosctl.client.errors.ClientError`, which tells whether it surely did not happen
(:class:`~paxosctl.client.errors.NotSubmittedError`, safe to try again) or may have
(:class:`~paxosctl.client.errors.OutcomeUnknownError`; ask :meth:`Client.outcome`). Until the
deadline the client itself follows the leader and tries again, with the same (session, seq): a
command is applied at most once however often it was sent.

A client belongs to one thread. It works on the network during its calls only.
"""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from paxosctl.client.connection import Connection
from paxosctl.client.errors import (
    ClientError,
    NotSubmittedError,
    OutcomeUnknownError,
    RefusedError,
    UnreachableError,
    error_of,
)
from paxosctl.client.pipeline import Future, Pipeline
from paxosctl.client.results import (
    CasResult,
    Health,
    MembersResult,
    Outcome,
    Removed,
    SettingsResult,
    StaleRead,
    as_bytes,
    as_number,
    removed_of,
    typed_outcome,
    typed_result,
)
from paxosctl.client.transport import Transport
from paxosctl.client.watch import Watcher
from paxosctl.client.watch_nodes import WatchNodes
from paxosd.core.admin_verbs import is_repeatable
from paxosd.core.client.calls import Call, ClientOptions
from paxosd.core.client.cluster_info import ClusterInfo
from paxosd.core.client.endpoints import UNREACHABLE, Trouble
from paxosd.core.client.protocol import ClientProtocol
from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    CHECKSUM,
    CLOSE,
    CLUSTER,
    DELETE,
    DELETE_RANGE,
    FENCE,
    MEMBERS,
    OPEN,
    PUT,
    Change,
    Command,
    KeyValue,
    Status,
    prefix_end,
)
from paxosd.core.effects import INVALID
from paxosd.core.requests import (
    GET,
    LINEARIZABLE,
    RANGE,
    STALE,
    AdminAnswer,
    AdminRequest,
    ReadAnswer,
    ReadRequest,
)
from paxosd.host.clock import clock_ms, clock_ns
from paxosd.wire.status import decode_status

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
    "RefusedError",
    "Removed",
    "StaleRead",
    "UnreachableError",
    "Watcher",
]

DEFAULT_ENDPOINTS = (
    "tcp://127.0.0.1:7410",
    "tcp://127.0.0.1:7420",
    "tcp://127.0.0.1:7430",
)
"""Those of ``paxosd dev``."""

TIMEOUT_S_MAX = 86_400 * 366
"""A year: more is no deadline."""


class Client:
    """A connection to a cluster. ``endpoints``: client endpoints of any of its nodes, tried in
    this order. ``timeout_s`` bounds each call, a page of a scan, and each pipelined command.

    It belongs to the thread and the process that made it, with all that it hands out: whatever is
    called from another thread, or in a forked child, raises RuntimeError. There is one exception:
    :meth:`close` in a child does nothing, for a child has nothing to end."""

    def __init__(
        self,
        endpoints: Sequence[str] = DEFAULT_ENDPOINTS,
        *,
        timeout_s: float = 5.0,
        options: ClientOptions | None = None,
    ) -> None:
        if isinstance(endpoints, str):
            raise TypeError("endpoints is a list of strings, not one string")
        if not 0 < timeout_s <= TIMEOUT_S_MAX:
            raise ValueError(f"timeout_s is above 0 and at most {TIMEOUT_S_MAX}, not {timeout_s}")
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
            return  # the session and the connections are the parent's, who goes on with them
        self._transport.owner.check()
        if not self._closed:
            self._closed = True
            for watcher in self._watchers:
                watcher.close()
            self._connection.close()
            self._transport.close()

    # -- writes -------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes) -> int:
        """Set a key; returns the revision of this write."""
        revision: int = self._command([PUT, as_bytes(key), as_bytes(value)])
        return revision

    def delete(self, key: bytes) -> int | None:
        """Remove a key; the revision of the removal, None if there was no such key."""
        revision: int | None = self._command([DELETE, as_bytes(key)])
        return revision

    def delete_prefix(self, prefix: bytes) -> int:
        """Remove every key with this prefix at once (b"": every key); how many there were."""
        count: int = self._command([DELETE_RANGE, as_bytes(prefix), prefix_end(prefix)])
        return count

    def remove(self, key: bytes, *, prefix: bool = False) -> Removed:
        """As :meth:`delete` or :meth:`delete_prefix`: how many keys went, and the revision."""
        command: Command = [DELETE, as_bytes(key)]
        if prefix:
            command = [DELETE_RANGE, as_bytes(key), prefix_end(key)]
        return removed_of(self._wait(self.submit(command)).result)

    def cas_value(self, key: bytes, expect: bytes | None, value: bytes) -> CasResult:
        """Set a key if its value equals ``expect``; None: if there is no such key."""
        wanted = None if expect is None else as_bytes(expect)
        result: CasResult = self._command([CAS_VALUE, as_bytes(key), wanted, as_bytes(value)])
        return result

    def cas_revision(self, key: bytes, expect: int, value: bytes) -> CasResult:
        """Set a key if its modify revision equals ``expect``; 0: if there is no such key."""
        result: CasResult = self._command(
            [CAS_REVISION, as_bytes(key), as_number(expect), as_bytes(value)]
        )
        return result

    def pipeline(self) -> Pipeline:
        """Many commands without waiting for each; see
        :class:`~paxosctl.client.pipeline.Pipeline`."""
        self._check()
        return Pipeline(self)

    # -- reads --------------------------------------------------------------------------------

    def get(self, key: bytes) -> KeyValue | None:
        """Linearizable: sees every write that was acknowledged before this call."""
        answer = self._read(LINEARIZABLE, [[GET, as_bytes(key)]])
        found: KeyValue | None = answer.results[0]
        return found

    def get_stale(self, key: bytes) -> StaleRead:
        """What one node has, without asking others; works without a quorum. See
        :class:`~paxosctl.client.results.StaleRead` for the age that it tells."""
        answer = self._read(STALE, [[GET, as_bytes(key)]])
        return StaleRead(answer.results[0], answer.applied, answer.revision, answer.age_ms)

    def read(self, queries: list[list[Any]]) -> ReadAnswer:
        """Linearizable queries as the wire has them (see ``paxosd/core/requests.py``), answered
        from one state; with the slot and revision that they reflect. A range is one page."""
        return self._read(LINEARIZABLE, queries)

    def range(
        self,
        start: bytes,
        end: bytes = b"",
        *,
        limit: int = 0,
        reverse: bool = False,
        keys_only: bool = False,
        stale: bool = False,
    ) -> Iterator[KeyValue]:
        """Keys in ``start <= key < end`` in order (end b"": no end; limit 0: all of them).

        Read page by page: each page is linearizable, the whole is no snapshot. With
        ``keys_only`` the values are b"".
        """
        pages = self.pages(
            start, end, limit=limit, reverse=reverse, keys_only=keys_only, stale=stale
        )
        return (row for answer in pages for row in answer.results[0].rows)

    def pages(
        self,
        start: bytes,
        end: bytes = b"",
        *,
        limit: int = 0,
        reverse: bool = False,
        keys_only: bool = False,
        stale: bool = False,
    ) -> Iterator[ReadAnswer]:
        """The pages of a :meth:`range`, each with the slot, revision and age that it reflects."""
        self._check()  # here and now: what follows runs when the first page is wanted
        return self._pages(as_bytes(start), as_bytes(end), limit, reverse, keys_only, stale)

    def _pages(
        self, start: bytes, end: bytes, limit: int, reverse: bool, keys_only: bool, stale: bool
    ) -> Iterator[ReadAnswer]:
        left = limit
        mode = STALE if stale else LINEARIZABLE
        while True:
            query = [RANGE, start, end, left, reverse, keys_only]
            answer = self._read(mode, [query])
            yield answer
            page = answer.results[0]
            if limit:
                left -= len(page.rows)
            if page.more is None or (limit and left <= 0):
                return
            if reverse:
                end = page.more
            else:
                start = page.more

    def scan(
        self,
        prefix: bytes,
        *,
        limit: int = 0,
        reverse: bool = False,
        keys_only: bool = False,
        stale: bool = False,
    ) -> Iterator[KeyValue]:
        """Every key with this prefix; the rest as :meth:`range`."""
        return self.range(
            as_bytes(prefix),
            prefix_end(prefix),
            limit=limit,
            reverse=reverse,
            keys_only=keys_only,
            stale=stale,
        )

    def watch(
        self,
        key: bytes,
        *,
        prefix: bool = False,
        from_revision: int | None = None,
        history: str = "",
        on_trouble: Callable[[str], None] | None = None,
    ) -> Watcher:
        """Iterate over the changes of a key, or of all keys with a prefix, none left out.

        ``from_revision``: the first one wanted, None: from now on. Goes on over restarts, changes
        of the leader and the replacement of every node, for ever; ``on_trouble(reason)`` is told
        each time that a node had to be left. Raises RefusedError: "compacted" if that history is
        gone; "history" if it is another one than that of ``history`` (:attr:`Watcher.history` of
        an earlier watch), or one that has not come as far as this watch; "cluster".
        """
        key = as_bytes(key)
        info = ClusterInfo.of_status(decode_status(self.status()))
        if words := info.limits.refusal([DELETE, key]):
            raise RefusedError(INVALID, words)
        nodes = WatchNodes(self.endpoints)
        nodes.learn(info)
        watcher = Watcher(
            self._transport,
            nodes,
            key,
            prefix=prefix,
            from_revision=from_revision,
            history=history,
            on_trouble=on_trouble,
        )
        self._watchers.append(watcher)
        return watcher

    # -- about the cluster --------------------------------------------------------------------

    def outcome(self, session: int, seq: int) -> Outcome:
        """What became of a command; if it was not applied, it never will be from now on."""
        outcome: Outcome = typed_outcome(
            self._alone([FENCE, as_number(session), as_number(seq)]).result
        )
        return outcome

    def health(self) -> Health:
        """Make a write that leaves nothing behind, a session opened and closed; raises if it
        does not commit. ``ms``: the time of the second commit, when the leader is known."""
        session = self._alone([OPEN]).result[2]
        began_ns = clock_ns()
        call = self._alone([CLOSE], session=session)
        return Health((clock_ns() - began_ns) / 1e6, call.slot)

    def start_checksum(self) -> int:
        """Have every node compute the checksum of its state as of one slot; returns the slot.
        The admin verb ``checksum`` asks a node for it."""
        slot: int = self._alone([CHECKSUM]).slot
        return slot

    def change_members(self, epoch: int, document: bytes) -> MembersResult:
        """Make the membership what ``document`` says (``Membership.to_command``), if it is that of
        ``epoch`` now. Repeated until it is answered, so that CAS_MISS may be this change's own
        doing: compare what is in force. Raises RefusedError for what cannot be a membership."""
        result = self._alone([MEMBERS, as_number(epoch), as_bytes(document)]).result
        return MembersResult(result[0], result[1], result[2] or 0)

    def change_settings(self, version: int, epoch: int, document: bytes) -> SettingsResult:
        """Make the replicated settings what ``document`` says (``ClusterSettings.to_command``), if
        they are of ``version`` and the membership is of ``epoch`` now. Repeated until it is
        answered, as :meth:`change_members`. Raises RefusedError for what cannot be settings."""
        command = [CLUSTER, as_number(version), as_number(epoch), as_bytes(document)]
        status, present, detail = self._alone(command).result
        done = status == Status.OK
        return SettingsResult(status, present, detail if done else 0, epoch if done else detail)

    def transfer_leader(self, name: str, endpoint: str) -> None:
        """Have the leader, at ``endpoint``, hand over to the voter ``name``, "": to the best one.
        That it has done so is seen in the status of either. Raises RefusedError in words."""
        self.admin("transfer_leader", {"name": name}, endpoint=endpoint)

    def status(self, endpoint: str = "") -> dict[str, Any]:
        """What a node knows of itself and the others; works without a quorum. ``endpoint``:
        of that very node, which is tried until the deadline; "": of the first that answers."""
        return self.admin("status", endpoint=endpoint)

    def admin(
        self, verb: str, args: dict[str, Any] | None = None, *, endpoint: str = ""
    ) -> dict[str, Any]:
        """An admin request to one node (see ``paxosd/replica/admin.py``); the body of its
        answer."""
        return self.admin_result(self.start_admin(verb, args, endpoint=endpoint))

    def start_admin(
        self,
        verb: str,
        args: dict[str, Any] | None = None,
        *,
        endpoint: str = "",
        patience_ms: int | None = None,
    ) -> Call:
        """Like :meth:`admin`, but does not wait: several nodes can be asked at a time.
        ``patience_ms``: give ``endpoint`` up once it has been down for so long."""
        return self._protocol.ask(
            AdminRequest(0, verb, args or {}),
            clock_ms(),
            self._timeout_ms,
            endpoint=endpoint,
            repeatable=is_repeatable(verb),
            patience_ms=patience_ms,
        )

    def admin_result(self, call: Call) -> dict[str, Any]:
        """The end of :meth:`start_admin`."""
        answer = self._wait(call).result
        assert isinstance(answer, AdminAnswer)
        return answer.body

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

    # -- for the pipeline ---------------------------------------------------------------------

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
        # Everyone who waits looks at its own call.
        self._protocol.take_completed()

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

    def _command(self, command: Command) -> Any:
        return typed_result(command, self._wait(self.submit(command)).result)

    def _alone(self, command: Command, session: int = 0) -> Call:
        call = self._protocol.submit_alone(command, clock_ms(), self._timeout_ms, session=session)
        return self._wait(call)

    def _read(self, mode: int, queries: list[list[Any]]) -> ReadAnswer:
        call = self._protocol.ask(ReadRequest(0, mode, queries), clock_ms(), self._timeout_ms)
        answer = self._wait(call).result
        assert isinstance(answer, ReadAnswer)
        return answer

    def _wait(self, call: Call) -> Call:
        self.finish(call)
        if call.failure is not None:
            raise self.failure_of(call) from None
        return call
