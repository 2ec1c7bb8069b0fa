"""The product's own node and state machine, with every step reported to the invariants.

The subclasses change nothing: they only look.
"""

from collections.abc import Callable
from typing import Any

from paxosd.core.commands import Batch, Result, each_change
from paxosd.core.effects import Ready
from paxosd.core.messages import PeerMessage
from paxosd.core.node import Node
from paxosd.core.state.machine import CHECKSUM_SLOTS, Machine
from paxosd.core.types import NodeId, Slot
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.cluster.quota_checks import check_count, check_quota, visible_bytes


class WatchedMachine(Machine):
    """A state machine whose every step is checked."""

    __slots__ = ("_invariants", "_name")

    def __init__(
        self, invariants: Invariants, name: NodeId, checksum_slots: int = CHECKSUM_SLOTS
    ) -> None:
        super().__init__()
        self.checksum_slots = checksum_slots
        self._invariants = invariants
        self._name = name

    def apply(self, slot: Slot, batch: Batch | None, value: bytes = b"") -> list[list[Result]]:
        before = self.applied
        limit = self.store.quota.limit_bytes
        held = visible_bytes(self.store) if limit else 0
        results = super().apply(slot, batch, value)
        leases, truth = self._invariants.leases, self._invariants.watch
        if leases is not None and self._invariants.is_new(slot):
            leases.on_changes(each_change(self.changes_of(slot, batch)))
        rights = self._invariants.rights
        if rights is not None and self._invariants.is_new(slot):
            rights.on_applied(slot, batch, results)
        if limit:
            check_quota(self._name, slot, self, limit, held)
        self._invariants.on_applied(self._name, slot, before, self)
        if truth is not None and slot == truth.slot + 1:
            truth.extend(slot, list(each_change(self.changes_of(slot, batch))))
        return results

    def adopt(self, other: Machine) -> None:
        super().adopt(other)
        check_count(self._name, self.applied, self)
        self._invariants.on_state(self._name, self.applied, self)


class WatchedNode(Node):
    """A node whose every effect is checked, once :meth:`watch` was called. ``fresh``: the slots
    that were applied since this list was emptied."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.fresh: list[Slot] = []
        self._invariants: Invariants | None = None
        self._name: NodeId = ""
        self._on_age: Callable[[int, int], object] | None = None
        self._led = False
        self.want_applied = True

    def watch(
        self, invariants: Invariants, name: NodeId, on_age: Callable[[int, int], object]
    ) -> None:
        """Check everything from now on. ``on_age(age_ms, revision)`` is called with each age that
        the node states, and the revision of the state that is meant."""
        self._invariants = invariants
        self._name = name
        self._on_age = on_age

    @property
    def want_applied(self) -> bool:
        """Always true: every applied slot is checked, also those that no subscriber waits for."""
        return True

    @want_applied.setter
    def want_applied(self, value: bool) -> None:
        self._execution.want_applied = True

    def step(self, sender: NodeId, run_id: int, message: PeerMessage) -> None:
        if run_id and self._invariants is not None and self._invariants.witnesses is not None:
            self._invariants.heard(self._name, sender, message)
        super().step(sender, run_id, message)

    def age_ms(self, now_ms: float | None = None) -> int:
        age_ms = super().age_ms(now_ms)
        if self._on_age is not None:
            self._on_age(age_ms, self._context.machine.revision)  # type: ignore[attr-defined]  # a Machine
        return age_ms

    def ready(self) -> Ready:
        ready = super().ready()
        invariants = self._invariants
        if invariants is not None:
            invariants.on_ready(self._name, self, ready)
            if ready.applied:
                self.fresh += [applied.slot for applied in ready.applied]
            if self.leading is not self._led:
                self._led = self.leading
                if self._led:
                    invariants.on_leader(self._name, self._context.proposer.ballot)
        return ready

    def check_log(
        self,
        first_slot: Slot,
        read: Callable[[Slot], tuple[Any, bytes]],
        damaged: Callable[[], bool],
    ) -> None:
        """The log gives back what was applied since the last check. ``first_slot``: of the log;
        ``read(slot)``: ballot and value, or KeyError; ``damaged()``: whether a fault has harmed the
        log. Raises Violation."""
        invariants = self._invariants
        assert invariants is not None
        fresh, self.fresh = self.fresh, []
        for slot in fresh:
            if slot < first_slot:
                continue  # in a snapshot that is just being installed
            try:
                value = read(slot)[1]
            except KeyError:
                if damaged():
                    continue  # the node has found the damage, and is repairing it
                raise
            invariants.check_log(self._name, slot, value)
