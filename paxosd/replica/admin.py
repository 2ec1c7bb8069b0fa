"""The admin verbs: what a daemon answers about itself, and the fault directives it takes.

    verb         arguments                        answer
    alive        -                                {}, at once: the node is there
    status       -                                as the daemon's status has it: role, ballot, …
    checksum     slot                             {slot, checksum: hex or "", pending, progress}
    snapshot_take  -                              {applied, slot, running}: one is taken soon
    snapshot_read  slot, offset                   {slot, offset, total, data}
    transfer_leader  name                         {transferring: name}: "" is the best voter
    probe        endpoints                        {pending, results: {endpoint: {ok, ms, error}}}
    log_level    level, for_ms                    {node, level, configured, left_ms}
    fault_add    name, kind, from, to, on, …      {added: name}        see fault_rules.parse_rule
    fault_list   -                                {enabled, rules: [FaultRule.describe, …]}
    fault_rm     name                             {removed: 1, hits}   not_saved: why, if so
    fault_clear  -                                {removed: how many}  the same
    fault_crash  -                                {crashing: true}

``alive``: of a client that waits for another answer. A node of an earlier version refuses it, which
tells as much.

``checksum``: ``pending`` while the slot is not applied yet or its checksum is being computed;
"" without pending: no CHECKSUM command stands in that slot, or it is too long ago. ``progress``
is another number each time, as long as the node gets on with it.

``snapshot_take``: ``slot`` is the newest snapshot's now; wait for one of ``applied`` or above.
``snapshot_read``: a piece of the newest snapshot's file (slot 0) or of that of this slot.

``transfer_leader``: of a leader only; that the other leads is seen in its status, soon.
``probe``: whether this machine reaches these, see ``net/probe.py``; ask again while ``pending``.
``log_level``: log at this level for so long, then as configured again; "" only tells.

A verb or an argument that does not exist is refused with the nearest one that does. The fault
verbs that change something are FORBIDDEN unless the configuration has ``[faults] enabled``.
Nothing here is replicated: each verb is about the one node that is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from paxosd.config.settings import nearest
from paxosd.core.effects import FORBIDDEN, INVALID
from paxosd.core.requests import AdminAnswer, AdminRequest, RefusalAnswer
from paxosd.core.types import Slot
from paxosd.faults.plan import FaultError, FaultPlan

SLOT_MAX = (1 << 63) - 1
PROBED_MAX = 32
"""Endpoints in one probe."""


class ChecksumSource(Protocol):
    """What of the state machine this needs; :class:`paxosd.core.state.machine.Machine` has it."""

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
    """The node's snapshots; :class:`paxosd.snapshot.keeper.Snapshots` has it."""

    def ask(self) -> dict[str, Any]:
        """Take one soon: ``{applied, slot, running}``."""
        ...

    def read(self, slot: Slot, offset: int) -> dict[str, Any]:
        """A piece of a file. Raises LookupError, in words, and OSError."""
        ...


class ProbeSource(Protocol):
    """What this machine reaches; :class:`paxosd.net.probe.Probes` has it."""

    def ask(self, endpoints: Sequence[str]) -> dict[str, Any]:
        """``{pending, results}``, at once. Raises ValueError, in words."""
        ...


class _Verb(NamedTuple):
    """``arguments`` None: the verb checks them itself. ``guarded``: needs faults enabled."""

    run: Callable[[Mapping[str, Any]], dict[str, Any]]
    arguments: frozenset[str] | None
    guarded: bool


class _RefusedError(Exception):
    """The arguments do not do; the text says why."""


class Admin:
    """Answers admin requests for one node."""

    def __init__(
        self,
        status: Callable[[], dict[str, Any]],
        machine: ChecksumSource,
        plan: FaultPlan,
        faults_enabled: bool,
        now_ms: Callable[[], float],
        crash: Callable[[], None],
        save: Callable[[], None] = lambda: None,
    ) -> None:
        """``now_ms`` is the clock that the fault plan is used with elsewhere. ``crash`` is called
        before the answer to ``fault_crash`` is returned: it must note the wish and return, and
        the daemon must die once the answer is sent. ``save`` keeps the rules that are to
        survive a restart, before the answer; it may raise OSError."""
        self._machine = machine
        self._plan = plan
        self._faults_enabled = faults_enabled
        self._now_ms = now_ms
        self._crash = crash
        self._save = save
        self.snapshots: SnapshotSource | None = None
        """Without them the snapshot verbs are refused."""
        self.transfer: Callable[[str], str] | None = None
        """Makes this leader hand over to a node ("": the best): why not, or "". …"""
        self.probes: ProbeSource | None = None
        """…"""
        self.log_level: Callable[[str, int], dict[str, Any]] | None = None
        """Changes the level of the log for a while; raises ValueError, in words. Without these,
        ``transfer_leader``, ``probe`` and ``log_level`` are refused."""
        none: frozenset[str] = frozenset()
        self._verbs = {
            "alive": _Verb(lambda _: {}, none, False),
            "status": _Verb(lambda _: status(), none, False),
            "checksum": _Verb(self._checksum, frozenset({"slot"}), False),
            "snapshot_take": _Verb(lambda _: self._snapshots().ask(), none, False),
            "snapshot_read": _Verb(self._snapshot_read, frozenset({"slot", "offset"}), False),
            "transfer_leader": _Verb(self._transfer_leader, frozenset({"name"}), False),
            "probe": _Verb(self._probe, frozenset({"endpoints"}), False),
            "log_level": _Verb(self._log_level, frozenset({"level", "for_ms"}), False),
            "fault_add": _Verb(self._fault_add, None, True),
            "fault_list": _Verb(self._fault_list, none, False),
            "fault_rm": _Verb(self._fault_rm, frozenset({"name"}), True),
            "fault_clear": _Verb(self._fault_clear, none, True),
            "fault_crash": _Verb(self._fault_crash, none, True),
        }

    def handle(self, request: AdminRequest) -> AdminAnswer | RefusalAnswer:
        """Carry out one request. Never raises for what a client sent."""
        verb = self._verbs.get(request.verb)
        if verb is None:
            known = nearest(request.verb, self._verbs)
            return _refuse(request, INVALID, f'unknown verb "{request.verb}"; {known}')
        if verb.guarded and not self._faults_enabled:
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
            return AdminAnswer(request.request_id, verb.run(request.args))
        except (_RefusedError, FaultError) as error:
            return _refuse(request, INVALID, f"{request.verb}: {error}")

    def _checksum(self, args: Mapping[str, Any]) -> dict[str, Any]:
        slot = args.get("slot")
        if type(slot) is not int or not 1 <= slot <= SLOT_MAX:
            raise _RefusedError("slot is a number from 1 up, the slot of a CHECKSUM command")
        machine = self._machine
        checksum = machine.checksums.get(slot, "")
        pending = not checksum and (slot > machine.applied or machine.checksum_pending(slot))
        told = {"slot": slot, "checksum": checksum, "pending": pending}
        if pending:
            behind = slot > machine.applied
            told["progress"] = machine.applied if behind else -machine.checksum_left(slot)
        return told

    def _snapshots(self) -> SnapshotSource:
        if self.snapshots is None:
            raise _RefusedError("this node keeps no snapshots")
        return self.snapshots

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
        if self.transfer is None:
            raise _RefusedError("this node cannot hand over leadership")
        refusal = self.transfer(name)
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
        if self.probes is None:
            raise _RefusedError("this node cannot probe")
        try:
            return self.probes.ask(endpoints)
        except ValueError as error:
            raise _RefusedError(str(error)) from None

    def _log_level(self, args: Mapping[str, Any]) -> dict[str, Any]:
        level, for_ms = args.get("level", ""), args.get("for_ms", 0)
        if type(level) is not str or type(for_ms) is not int:
            raise _RefusedError("level is the name of a level, for_ms a number of milliseconds")
        if self.log_level is None:
            raise _RefusedError("the level of this node's log cannot be changed")
        try:
            return self.log_level(level, for_ms)
        except ValueError as error:
            raise _RefusedError(str(error)) from None

    def _fault_add(self, args: Mapping[str, Any]) -> dict[str, Any]:
        now_ms = int(self._now_ms())
        rule = self._plan.add_args(args, now_ms)
        try:
            self._save()
        except OSError as error:
            self._plan.remove(rule.name, now_ms)
            raise _RefusedError(f"the rule could not be kept: {error}") from error
        return {"added": rule.name}

    def _fault_list(self, _: Mapping[str, Any]) -> dict[str, Any]:
        rules = self._plan.list(int(self._now_ms()))
        return {"enabled": self._faults_enabled, "rules": rules}

    def _fault_rm(self, args: Mapping[str, Any]) -> dict[str, Any]:
        name = args.get("name")
        if type(name) is not str:
            raise _RefusedError("name is the name of a rule; fault_list shows them")
        hits = self._plan.remove(name, int(self._now_ms()))
        return {"removed": 1, "hits": hits} | self._saved()

    def _fault_clear(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"removed": self._plan.clear(int(self._now_ms()))} | self._saved()

    def _saved(self) -> dict[str, Any]:
        """Keep what is left. The rules have ended in any case: a failure does not undo that,
        but after a restart they would be there again, which the answer says."""
        try:
            self._save()
        except OSError as error:
            return {"not_saved": str(error)}
        return {}

    def _fault_crash(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self._crash()
        return {"crashing": True}


def _refuse(request: AdminRequest, code: str, message: str) -> RefusalAnswer:
    return RefusalAnswer(request.request_id, code, message, "", "", 0)
