"""Carries out the admin verbs: what a daemon answers about itself, and the fault directives.

Which verbs there are, their arguments and what they may do is the table in
``core/admin_verbs.py``; their handlers are here. Answers:

    verb             answer
    alive            {}, at once: the node is there
    status           the status of the daemon: role, ballot, …
    checksum         {slot, checksum: hex or "", pending, progress}
    snapshot_take    {applied, slot, running}: a snapshot is taken soon
    snapshot_read    {slot, offset, total, data}
    transfer_leader  {transferring: name}; the name "" stands for the best voter
    probe            {pending, results: {endpoint: {ok, ms, error}}}
    log_level        {node, level, configured, left_ms}
    file_list        {files: [{name, bytes, mtime_ms}, …], notes}
    file_read        {name, offset, total, bytes, data}
    rights           {version, required, unconfirmed_ms_max, principals, revoked, asker}
    fault_add        {added: name}; for its arguments see faults/rules.py
    fault_list       {enabled, rules: [FaultRule.describe, …]}
    fault_rm         {removed: 1, hits}; and not_saved: why, if the removal could not be saved
    fault_clear      {removed: how many}; not_saved as above
    fault_crash      {crashing: true}

``alive`` is for a client that waits for another answer. A node of an earlier version refuses it,
and that refusal shows just as well that the node is there.

``checksum``: ``pending`` is true while the slot is not applied yet or its checksum is being
computed. An empty checksum that is not pending means that no CHECKSUM command stands in that slot,
or that it was too long ago. ``progress`` differs from answer to answer as long as the node advances
with the work.

``snapshot_take``: ``slot`` is that of the newest snapshot now; wait for one of ``applied`` or
above. ``snapshot_read``: a piece of the newest snapshot's file (slot 0) or of that of this slot.

``transfer_leader`` is for a leader only; that another node leads shows in its status soon after.
``probe``: whether this machine reaches the endpoints, see ``net/probe.py``; ask again while
``pending``. ``log_level``: log at this level for so long, then as configured again; the level ""
changes nothing.

``file_list`` and ``file_read`` need the disk, which the loop never waits for: they are answered
later (``deferred_answers.py``). The names of the files: ``recorder/served_names.py``.
``data`` lacks the zeros at the end of the ``bytes`` that were read.

Nothing here is replicated: each verb is about the one node that is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from paxosd.config.settings import nearest
from paxosd.core.admin_verbs import ADMIN_VERBS, Permission
from paxosd.core.effects import FORBIDDEN, INVALID
from paxosd.core.requests import AdminAnswer, AdminRequest, RefusalAnswer
from paxosd.core.types import Slot
from paxosd.faults.plan import FaultError, FaultPlan
from paxosd.replica.deferred_answers import Deferred

SLOT_MAX = (1 << 63) - 1
PROBED_MAX = 32
"""Endpoints in one probe."""
FILE_READ_BYTES_MAX = 256 << 10
"""In one answer to ``file_read``."""


class ChecksumSource(Protocol):
    """The part of the state machine that is needed here; for
    :class:`paxosd.core.state.machine.Machine`."""

    applied: Slot

    @property
    def checksums(self) -> dict[Slot, str]:
        """Slot → checksum in hex, the last few."""
        ...

    def checksum_pending(self, slot: Slot) -> bool:
        """Whether the checksum of ``slot`` is being computed."""
        ...

    def checksum_left(self, slot: Slot) -> int:
        """How many keys have yet to be visited for that."""
        ...


class SnapshotSource(Protocol):
    """The node's snapshots; for :class:`paxosd.snapshot.keeper.Snapshots`."""

    def ask(self) -> dict[str, Any]:
        """Take one soon: ``{applied, slot, running}``."""
        ...

    def read(self, slot: Slot, offset: int) -> dict[str, Any]:
        """A piece of a file. Raises LookupError, in words, and OSError."""
        ...


class ProbeSource(Protocol):
    """What this machine reaches; for :class:`paxosd.net.probe.Probes`."""

    def ask(self, endpoints: Sequence[str]) -> dict[str, Any]:
        """``{pending, results}``, at once. Raises ValueError, in words."""
        ...


class FileSource(Protocol):
    """The files that the node hands out; for :class:`paxosd.daemon.served_files.ServedFiles`. It is
    used in another thread."""

    def listed(self) -> dict[str, Any]:
        """``{files, notes}``. May raise OSError."""
        ...

    def read(self, name: str, offset: int, count: int) -> dict[str, Any]:
        """``{name, offset, total, bytes, data}``. Raises LookupError, in words, and OSError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminPorts:
    """What the verbs reach.

    ``now_ms``: the clock that the fault plan is used with elsewhere. ``crash`` is called before the
    answer to ``fault_crash`` is returned: it must note the wish and return, and the daemon must die
    once the answer is sent. ``save_faults`` writes down the rules that are to survive a restart,
    before the answer; it may raise OSError. ``transfer``: makes this leader hand over to a node
    ("": to the best one), and returns why it does not, or "". ``log_level``: changes the level of
    the log for a while; raises ValueError, in words. ``rights``: what the holder of a key may see
    of the rights table. A verb whose port is None is refused."""

    status: Callable[[], dict[str, Any]]
    machine: ChecksumSource
    plan: FaultPlan
    faults_enabled: bool
    now_ms: Callable[[], float]
    crash: Callable[[], None]
    save_faults: Callable[[], None] = lambda: None
    snapshots: SnapshotSource | None = None
    transfer: Callable[[str], str] | None = None
    probes: ProbeSource | None = None
    log_level: Callable[[str, int], dict[str, Any]] | None = None
    files: FileSource | None = None
    rights: Callable[[bytes], dict[str, Any]] = lambda _: {}


class _Later(NamedTuple):
    """An answer that is made in another thread; see :class:`Deferred`."""

    work: Callable[[], dict[str, Any]]


class _RefusedError(Exception):
    """The arguments are not acceptable; the text says why."""


class Admin:
    """Answers admin requests for one node."""

    def __init__(self, ports: AdminPorts) -> None:
        self._ports = ports
        self._asker = b""
        self._handlers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any] | _Later]] = {
            "alive": lambda _: {},
            "status": lambda _: ports.status(),
            "checksum": self._checksum,
            "snapshot_take": lambda _: self._snapshots().ask(),
            "snapshot_read": self._snapshot_read,
            "transfer_leader": self._transfer_leader,
            "probe": self._probe,
            "log_level": self._log_level,
            "file_list": self._file_list,
            "file_read": self._file_read,
            "rights": lambda _: ports.rights(self._asker),
            "fault_add": self._fault_add,
            "fault_list": self._fault_list,
            "fault_rm": self._fault_rm,
            "fault_clear": self._fault_clear,
            "fault_crash": self._fault_crash,
        }

    def handle(
        self, request: AdminRequest, key: bytes = b""
    ) -> AdminAnswer | RefusalAnswer | Deferred:
        """Carry out one request, or say how it is to be, beside the loop. Never raises for what a
        client sent. ``key``: of who asks, and may: :class:`~paxosd.replica.permissions.Permissions`
        has seen to that."""
        self._asker = key
        verb = ADMIN_VERBS.get(request.verb)
        if verb is None:
            known = nearest(request.verb, ADMIN_VERBS)
            return _refuse(request, INVALID, f'unknown verb "{request.verb}"; {known}')
        if verb.permission is Permission.FAULTS and not self._ports.faults_enabled:
            return _refuse(
                request,
                FORBIDDEN,
                "fault directives are off on this node; [faults] enabled = true in its "
                "configuration turns them on",
            )
        if verb.arguments is not None:
            for given in request.args:
                if given not in verb.arguments:
                    known = nearest(given, verb.arguments) if verb.arguments else "it takes none"
                    words = f'{request.verb}: unknown argument "{given:.40}"; {known}'
                    return _refuse(request, INVALID, words)
        try:
            found = self._handlers[verb.name](request.args)
            if isinstance(found, _Later):
                return Deferred(request.request_id, verb.name, found.work)
            return AdminAnswer(request.request_id, found)
        except (_RefusedError, FaultError) as error:
            return _refuse(request, INVALID, f"{request.verb}: {error}")

    def _checksum(self, args: Mapping[str, Any]) -> dict[str, Any]:
        slot = args.get("slot")
        if type(slot) is not int or not 1 <= slot <= SLOT_MAX:
            raise _RefusedError("slot is a number from 1 up, the slot of a CHECKSUM command")
        machine = self._ports.machine
        checksum = machine.checksums.get(slot, "")
        pending = not checksum and (slot > machine.applied or machine.checksum_pending(slot))
        answer = {"slot": slot, "checksum": checksum, "pending": pending}
        if pending:
            behind = slot > machine.applied
            answer["progress"] = machine.applied if behind else -machine.checksum_left(slot)
        return answer

    def _snapshots(self) -> SnapshotSource:
        if self._ports.snapshots is None:
            raise _RefusedError("this node keeps no snapshots")
        return self._ports.snapshots

    def _snapshot_read(self, args: Mapping[str, Any]) -> dict[str, Any]:
        numbers = args.get("slot", 0), args.get("offset", 0)
        for number in numbers:
            if type(number) is not int or not 0 <= number <= SLOT_MAX:
                raise _RefusedError("slot and offset are numbers from 0 up")
        try:
            return self._snapshots().read(*numbers)
        except (LookupError, OSError) as error:
            words = error.args[0] if isinstance(error, LookupError) else error
            raise _RefusedError(f"{words}") from error

    def _transfer_leader(self, args: Mapping[str, Any]) -> dict[str, Any]:
        name = args.get("name", "")
        if type(name) is not str:
            raise _RefusedError('name is the name of a voter, or "" for the best one')
        if self._ports.transfer is None:
            raise _RefusedError("this node cannot hand over leadership")
        refusal = self._ports.transfer(name)
        if refusal:
            raise _RefusedError(refusal)
        return {"transferring": name}

    def _probe(self, args: Mapping[str, Any]) -> dict[str, Any]:
        endpoints = args.get("endpoints")
        if (
            not isinstance(endpoints, list | tuple)
            or not 1 <= len(endpoints) <= PROBED_MAX
            or not all(type(each) is str for each in endpoints)
        ):
            raise _RefusedError(f"endpoints is a list of 1 to {PROBED_MAX} texts")
        if self._ports.probes is None:
            raise _RefusedError("this node cannot probe")
        try:
            return self._ports.probes.ask(endpoints)
        except ValueError as error:
            raise _RefusedError(str(error)) from None

    def _log_level(self, args: Mapping[str, Any]) -> dict[str, Any]:
        level, for_ms = args.get("level", ""), args.get("for_ms", 0)
        if type(level) is not str or type(for_ms) is not int:
            raise _RefusedError("level is the name of a level, for_ms a number of milliseconds")
        if self._ports.log_level is None:
            raise _RefusedError("the level of this node's log cannot be changed")
        try:
            return self._ports.log_level(level, for_ms)
        except ValueError as error:
            raise _RefusedError(str(error)) from None

    def _files(self) -> FileSource:
        if self._ports.files is None:
            raise _RefusedError("this node hands out no files")
        return self._ports.files

    def _file_list(self, _: Mapping[str, Any]) -> _Later:
        return _Later(self._files().listed)

    def _file_read(self, args: Mapping[str, Any]) -> _Later:
        name, offset = args.get("name"), args.get("offset", 0)
        count = args.get("count", FILE_READ_BYTES_MAX)
        if type(name) is not str:
            raise _RefusedError("name is the name of a file; file_list shows them")
        if type(offset) is not int or not 0 <= offset <= SLOT_MAX:
            raise _RefusedError("offset is a number from 0 up")
        if type(count) is not int or not 1 <= count <= FILE_READ_BYTES_MAX:
            raise _RefusedError(f"count is a number of bytes, from 1 to {FILE_READ_BYTES_MAX}")
        return _Later(partial(self._files().read, name, offset, count))

    def _fault_add(self, args: Mapping[str, Any]) -> dict[str, Any]:
        now_ms = int(self._ports.now_ms())
        rule = self._ports.plan.add_args(args, now_ms)
        try:
            self._ports.save_faults()
        except OSError as error:
            self._ports.plan.remove(rule.name, now_ms)
            raise _RefusedError(f"the rule could not be kept: {error}") from error
        return {"added": rule.name}

    def _fault_list(self, _: Mapping[str, Any]) -> dict[str, Any]:
        rules = self._ports.plan.list(int(self._ports.now_ms()))
        return {"enabled": self._ports.faults_enabled, "rules": rules}

    def _fault_rm(self, args: Mapping[str, Any]) -> dict[str, Any]:
        name = args.get("name")
        if type(name) is not str:
            raise _RefusedError("name is the name of a rule; fault_list shows them")
        hits = self._ports.plan.remove(name, int(self._ports.now_ms()))
        return {"removed": 1, "hits": hits} | self._saved()

    def _fault_clear(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"removed": self._ports.plan.clear(int(self._ports.now_ms()))} | self._saved()

    def _saved(self) -> dict[str, Any]:
        """Save the rules that are left. The removed ones have ended in any case. If the save fails
        they would come back after a restart, and the answer says so."""
        try:
            self._ports.save_faults()
        except OSError as error:
            return {"not_saved": str(error)}
        return {}

    def _fault_crash(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self._ports.crash()
        return {"crashing": True}


def _refuse(request: AdminRequest, code: str, message: str) -> RefusalAnswer:
    return RefusalAnswer(request.request_id, code, message, "", "", 0)
