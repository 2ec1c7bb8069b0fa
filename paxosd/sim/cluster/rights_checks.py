"""Whether rights are kept, seen from the log alone, in the slots as the first node applies them.

    rights    no command of a key is done in a slot at which the key has not the right to it; who
              may do everything is never refused; nobody uses the session or the lease of another

The rules are written down here anew, for the commands that the clients of such a run send. What
clients are shown: ``read_checks.py``.
"""

from collections.abc import Callable
from typing import Any

from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    DELETE,
    DELETE_RANGE,
    GRANT,
    KEEPALIVE,
    OPEN,
    PUT,
    REVOKE,
    RIGHTS,
    Batch,
    Result,
    Status,
)
from paxosd.core.effects import FORBIDDEN
from paxosd.core.requests import RefusalAnswer, ServerMessage
from paxosd.core.rights import NO_RIGHTS, Principal, RightsTable
from paxosd.core.types import NodeId, Slot
from paxosd.sim.cluster.keys import WORKERS, SimKeys
from paxosd.sim.cluster.read_checks import ReadChecks
from paxosd.sim.cluster.violation import Violation

STOLEN = b"stolen"
"""So a value begins that somebody writes with a session that may be another's; its key follows."""
_KEY_BYTES = 32
_DONE = frozenset({Status.OK, Status.NOT_FOUND, Status.CAS_MISS})
_REFUSED = (Status.MALFORMED, 0, Status.FORBIDDEN)
_NOT_USED = (_REFUSED, (Status.SESSION_UNKNOWN, 0, None))
_OF_ONE_KEY = frozenset({PUT, DELETE, CAS_VALUE, CAS_REVISION})
_OF_BOTH = frozenset({CAS_VALUE, CAS_REVISION})


class RightsChecks:
    """The checks of one run. Raises Violation. ``table``: the one in force for the next slot."""

    def __init__(
        self,
        keys: SimKeys,
        unused: Callable[[Slot, int], object],
        reads: ReadChecks,
        now_ms: Callable[[], float],
    ) -> None:
        """``unused(slot, session)`` is called where all commands of a session were refused.
        ``reads``: the checks of what clients are shown. ``now_ms``: true time."""
        self.reads = reads
        self._now_ms = now_ms
        self._keys = keys
        self._unused = unused
        self.table: RightsTable = NO_RIGHTS
        self.refused = 0
        """How many commands were refused where they were applied."""
        self.done = 0
        """How many commands were done while rights were required."""
        self._sessions: dict[int, bytes] = {}
        self._owners: dict[int, str] = {}
        """Lease → the principal that it was granted to; "": nobody's."""
        self._seen: set[tuple[int, int]] = set()
        """Session and seq of what was applied. Only used for lookups."""

    def on_applied(self, slot: Slot, batch: Batch | None, results: list[list[Result]]) -> None:
        """The first node has applied a slot."""
        after = self.table
        for entry, answers in zip(batch.entries if batch else (), results, strict=True):
            if entry.session and all(each in _NOT_USED for each in answers):
                self._unused(slot, entry.session)
            for place, (command, result) in enumerate(zip(entry.commands, answers, strict=True)):
                if entry.session == 0:
                    after = self._on_control(command, result, after)
                    continue
                seq = entry.session, entry.first_seq + place
                if seq not in self._seen:  # else it may be an answer that was kept
                    self._seen.add(seq)
                    self._check(slot, self._sessions.get(entry.session, b""), command, result)
        if after is not self.table:
            self.reads.on_table(slot, after)
        self.table = after

    def _on_control(self, command: list[Any], result: Result, after: RightsTable) -> RightsTable:
        if not isinstance(result, tuple) or result[0] != Status.OK:
            return after
        if command[0] == OPEN:
            key = command[-1]
            known = isinstance(key, bytes) and len(key) == _KEY_BYTES
            self._sessions[result[2]] = key if known else b""
        return after.follow(command[2]) if command[0] == RIGHTS else after

    def _check(self, slot: Slot, key: bytes, command: list[Any], result: Result) -> None:
        done = isinstance(result, int) or result[0] in _DONE
        if done and key and command[0] == PUT and command[2].startswith(STOLEN):
            thief = command[2][len(STOLEN) :]
            if thief[:_KEY_BYTES] != key:
                raise Violation("rights", f"slot {slot}: {thief.hex()[:8]} used another's session")
        holder = self.table.by_key.get(key)
        if command[0] == GRANT and isinstance(result, tuple) and result[0] == Status.OK:
            self._owners[result[2]] = holder.name if holder is not None else ""
        if not self.table.required:
            return
        self.refused += result == _REFUSED
        self.done += done
        if done and holder is None:
            raise Violation("rights", f"slot {slot}: a key without rights did {command[:2]}")
        if holder is not None and self._used_foreign(holder, command, result):
            raise Violation("rights", f"slot {slot}: {holder.name} used another's lease: {command}")
        if done and holder is not None and not _covers(holder, command):
            raise Violation("rights", f"slot {slot}: {holder.name} may not do {command[:2]}")
        if key == WORKERS and result == _REFUSED:
            raise Violation("rights", f"slot {slot}: the workers were refused {command[:2]}")

    def _used_foreign(self, holder: Principal, command: list[Any], result: Result) -> bool:
        """Whether a lease of another principal was used."""
        if b"" in holder.write:
            return False
        used: list[int] = []
        if command[0] == PUT and len(command) > 3 and isinstance(result, int):
            used = [command[3]]
        elif isinstance(result, tuple) and result[0] == Status.OK:
            if command[0] == REVOKE:
                used = [command[1]]
            elif command[0] == KEEPALIVE:
                used = [lease for lease, ms in zip(command[1], result[2], strict=True) if ms]
        return any(self._owners.get(lease, "") not in ("", holder.name) for lease in used)

    def on_answer(self, node: NodeId, client: bytes, message: ServerMessage) -> None:
        """A node answers a client."""
        self.reads.on_answer(node, client, message, self._now_ms())
        if not isinstance(message, RefusalAnswer) or message.code != FORBIDDEN:
            return
        # It may have asked before it had its key.
        if self._keys.key_of(client) == WORKERS and "has no key" not in message.message:
            raise Violation("rights", f"{client.decode()} may do all: {message.message}")


def _covers(holder: Principal, command: list[Any]) -> bool:
    op = command[0]
    if op in _OF_ONE_KEY:
        may_write = any(command[1].startswith(prefix) for prefix in holder.write)
        may_read = any(command[1].startswith(prefix) for prefix in holder.read)
        return may_write and (may_read or op not in _OF_BOTH)
    if op == DELETE_RANGE:
        ends = command[1], command[2]
        return any(all(end.startswith(prefix) for end in ends) for prefix in holder.write)
    return True
