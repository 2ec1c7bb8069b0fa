"""The public Python client of paxosd.

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

A client belongs to one thread. It works on the network during its calls only.
"""

from collections.abc import Callable, Iterator
from typing import Any

from paxosctl.client.errors import (
    RefusedError,
)
from paxosctl.client.pipeline import Pipeline
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
from paxosctl.client.runner import CallRunner
from paxosctl.client.watch import Watcher
from paxosctl.client.watch_nodes import WatchNodes
from paxosd.core.admin_verbs import is_repeatable
from paxosd.core.client.calls import Call
from paxosd.core.client.cluster_info import ClusterInfo
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


class Client(CallRunner):
    """A connection to a cluster; see :class:`~paxosctl.client.runner.CallRunner` for its arguments,
    and for the thread that it belongs to."""

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
        :class:`~paxosctl.client.results.StaleRead` for the age that it gives."""
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
        of the leader and the replacement of every node, for ever; ``on_trouble(reason)`` is called
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
        return self._keep(watcher)

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

    # -- inside -------------------------------------------------------------------------------

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
