"""Whether log time keeps the rules of a stopwatch, seen from outside, in true time.

    log-time     between two slots log time has passed no more than true time has, from the proposal
                 of the first to the moment at which the second was known to be chosen
    session      a session that ends by itself was unused for as long as it may be, in true time

Both from feature level 1 on: below it a wall clock decides. True time is that of the simulated
world; clocks may run faster than it, by ``RATE_MAX`` at most.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from paxosd.core.cluster_settings import LEVEL_SHARES
from paxosd.core.commands import CLOSE, Batch
from paxosd.core.state.machine import Machine
from paxosd.core.state.sessions import SessionLimits
from paxosd.core.types import Slot

RATE_MAX = 1.31
"""The fastest clock that is drawn (``sim/nemesis/nemesis.py``, ``sim/nemesis/shape.py``), and a
little."""
SLACK_MS = 2.0
"""For what is lost to whole ms, once a reign."""


class _Applied(NamedTuple):
    """What the first node that applied a slot had after it."""

    log_time_ms: int
    level: int
    """In force for the slot."""
    gone: list[int]
    """The sessions that ended in it."""
    new: list[int]
    idle_ms: int
    """For how long a session that ended had to be unused: less if the table was full."""


class ClockChecks:
    """The checks of one run. Each method returns what is wrong, or ""."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self._proposed_ms: dict[tuple[Slot, bytes], float] = {}
        """When a value was first proposed, by slot and value."""
        self._applied: dict[Slot, _Applied] = {}
        self._level = 0
        self._limits = SessionLimits()
        self._lowest = float("inf")
        """The least log time less the true time of the proposal, at the highest rate."""
        self._reigns: set[tuple[int, str]] = set()
        self._sessions: set[int] = set()
        self._used_ms: dict[int, float] = {}
        """When the last command of a session was proposed."""
        self._unused: set[tuple[Slot, int]] = set()
        """Slots and sessions of which all was refused. Only used for lookups."""

    def unused(self, slot: Slot, session: int) -> None:
        """The commands of a session in this slot were all refused: it was not used."""
        self._unused.add((slot, session))

    def on_proposed(self, slot: Slot, value: bytes) -> None:
        """A leader proposes, or somebody votes for, a value."""
        self._proposed_ms.setdefault((slot, value), self._now_ms())

    def on_applied(self, slot: Slot, machine: Machine) -> None:
        """The first node has applied a slot."""
        present = set(machine.sessions.table)
        self._applied[slot] = _Applied(
            machine.log_time_ms,
            self._level,
            sorted(self._sessions - present),
            sorted(present - self._sessions),
            self._idle_ms(len(present)),
        )
        self._level, self._limits = machine.settings.level, machine.sessions.limits
        self._sessions = present

    def _idle_ms(self, sessions: int) -> int:
        limits = self._limits
        # From level 6 on a key that has half of all is at its share (``core/state/shares.py``).
        others = sessions if self._level >= LEVEL_SHARES else 0
        if sessions + others < limits.sessions_max:
            return limits.session_ttl_ms
        return min(limits.session_ttl_ms, limits.session_idle_evict_ms)

    def on_chosen(self, slot: Slot, value: bytes, batch: Batch | None) -> str:
        """It is known for the first time what a slot holds; it was applied right before."""
        applied = self._applied.pop(slot, None)
        now_ms = self._now_ms()
        proposed_ms = self._proposed_ms.pop((slot, value), now_ms)
        if applied is None or batch is None:
            return ""
        wrong = ""
        if applied.level:
            wrong = self._check_pace(slot, applied, batch, now_ms, proposed_ms)
            wrong = wrong or self._check_gone(slot, applied, batch, now_ms)
        for session in [*(entry.session for entry in batch.entries), *applied.new]:
            if (slot, session) in self._unused:
                continue
            # What passed at level 0 since its last use a wall clock may have made up.
            self._used_ms[session] = proposed_ms if applied.level else float("-inf")
        return wrong

    def _check_pace(
        self, slot: Slot, applied: _Applied, batch: Batch, now_ms: float, proposed_ms: float
    ) -> str:
        if batch.reign is not None:
            self._reigns.add(batch.reign[:2])
        slack_ms = SLACK_MS * (1 + len(self._reigns))
        ahead_ms = applied.log_time_ms - RATE_MAX * now_ms - self._lowest
        self._lowest = min(self._lowest, applied.log_time_ms - RATE_MAX * proposed_ms)
        if ahead_ms <= slack_ms:
            return ""
        return f"slot {slot} brings log time {ahead_ms:.0f} ms further than true time can have come"

    def _check_gone(self, slot: Slot, applied: _Applied, batch: Batch, now_ms: float) -> str:
        for session in applied.gone:
            idle_ms = RATE_MAX * (now_ms - self._used_ms.pop(session, float("-inf")))
            slack_ms = SLACK_MS * (1 + len(self._reigns))
            if idle_ms + slack_ms < applied.idle_ms and not _closes(batch, session):
                return (
                    f"session {session} ends in slot {slot}, used at most {idle_ms:.0f} ms before; "
                    f"it may be unused for {applied.idle_ms} ms"
                )
        return ""


def _closes(batch: Batch, session: int) -> bool:
    entries: Iterable[list[list[object]]] = (
        entry.commands for entry in batch.entries if entry.session == session
    )
    return any(command[0] == CLOSE for commands in entries for command in commands)
