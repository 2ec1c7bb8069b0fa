"""The two disks of a simulated member, and what operators and bad hardware do to them.

``home`` is the data directory with its small files, ``log`` the directory of the log and the
snapshots. Both outlive the process. What makes a node lose memory on purpose is reported to the
invariants, which then no longer hold the node to what it has sent before.
"""

from collections.abc import Callable
from typing import NamedTuple

from paxosd.core.types import NodeId
from paxosd.sim.cluster.fault_tally import FaultTally
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.world.disk import PLENTY_BYTES, SimDisk
from paxosd.sim.world.trace import TraceLog
from paxosd.sim.world.world import World


class _Copy(NamedTuple):
    """What was durable at ``at_ms``."""

    home: dict[str, bytes]
    log: dict[str, bytes]
    at_ms: float


class MemberDisks:
    """The disks of one member. Most of what damages them is done only while the process is down:
    such methods say so, and raise AssertionError otherwise."""

    def __init__(
        self,
        world: World,
        name: NodeId,
        streams: str,
        invariants: Invariants,
        tally: FaultTally,
        events: TraceLog,
        is_up: Callable[[], bool],
    ) -> None:
        """``streams``: how the names of its random numbers begin."""
        self.log = SimDisk(world.derive(f"{streams}/disk"))
        self.home = SimDisk(world.derive(f"{streams}/home"), beside=self.log)
        self._world = world
        self._name = name
        self._invariants = invariants
        self._tally = tally
        self._events = events
        self._is_up = is_up
        self._remembered: _Copy | None = None

    def cut_power(self) -> None:
        """What was not synced may be lost."""
        self.home.power_cut()
        self.log.power_cut()

    def bit_rot(self, lot: int) -> None:
        """A bit of the log flips; ``lot`` says which one."""
        where = self.log.bit_rot(lot)
        self._tally.add("bit-rot")
        self._events.info("disk.bit_rot", where=where)

    def harm_tail(self, how: str, lot: int, *, witness: bool = True) -> None:
        """The log loses its end, as :meth:`SimDisk.harm_tail` has it. Only while it is down.

        Without its ``witness`` a loss in a file of full length cannot be noticed by the node: then
        the invariants do not hold it to what it has sent.
        """
        assert not self._is_up()
        where = self.log.harm_tail(how, lot, witness=witness)
        self._events.info("disk.tail", how=how, where=where)
        if where:
            self._tally.add(f"tail-{how}")
            if not witness and how != "cut":
                self._invariants.forgive(self._name)

    def lose_log(self) -> None:
        """The log's directory is emptied; the mark that there was a log stays. Only while it is
        down."""
        assert not self._is_up()
        self.log.wipe()
        self._tally.add("log-loss")

    def wipe(self) -> None:
        """Two new disks, by a fault. Only while it is down."""
        self._tally.add("wipe")
        self.empty()

    def empty(self) -> None:
        """Two new disks, put in by an operator. Only while it is down."""
        assert not self._is_up()
        self.home.wipe()
        self.log.wipe()
        self._invariants.forgive(self._name)

    def remember(self) -> None:
        """Keep a copy of what is durable now."""
        self._remembered = _Copy(self.home.copy(), self.log.copy(), self._world.now_ms)

    @property
    def remembered_ms(self) -> float:
        """When the copy was made; infinity if there is none."""
        return self._remembered.at_ms if self._remembered is not None else float("inf")

    def rollback(self, file: str = "") -> bool:
        """Put the copy back; returns whether there was one. ``file``: only the last of the log's
        files whose name begins so. Only while it is down."""
        assert not self._is_up()
        if self._remembered is None:
            return False
        if file:
            names = [name for name in self._remembered.log if name.startswith(file)]
            if not names:
                return False
            now = self.log.copy()
            self.log.restore(now | {max(names): self._remembered.log[max(names)]})
            return True
        self.home.restore(self._remembered.home)
        self.log.restore(self._remembered.log)
        return True

    def go_back(self) -> bool:
        """As :meth:`rollback`, once, in a way that the product has to survive: the invariants do
        not hold the node to what it has sent since the copy was made."""
        if not self.rollback():
            return False
        self._invariants.forgive(self._name)
        self._remembered = None
        return True

    def set_free_bytes(self, free_bytes: int) -> None:
        """How much room both directories have left together; negative: plenty."""
        self.log.free = free_bytes if free_bytes >= 0 else PLENTY_BYTES
