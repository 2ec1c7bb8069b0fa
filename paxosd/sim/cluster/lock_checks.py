"""Whether locks keep their promise, seen from outside, in true time.

    lock-unlearned   a holder that runs has learned that its lock is lost before another acquires it
    lock-check    no ``check()`` begun after another acquired says "held"
    lock-fence    a fenced write with an older token, begun after another acquired, is refused, and
                  the tokens of the fenced writes that took effect never go down

Clocks drift by DRIFT_PPM_MAX at most here, and processes are stopped, clocks going on. "Another"
stands for so many others as can hold a semaphore at a time.
"""

from typing import Protocol

from paxosd.sim.cluster.violation import Violation


class Contender(Protocol):
    """A client of the lock."""

    name: str

    @property
    def believes(self) -> bool:
        """Whether it runs, and has not learned that it does not hold the lock any more."""
        ...

    @property
    def would_say_held(self) -> bool:
        """Whether a ``check()`` that begins now, on whatever state it is in, would say so."""
        ...


class LockChecks:
    """The checks of one lock. Raises Violation. ``shared``: how many can hold it."""

    def __init__(self, shared: int) -> None:
        self.shared = shared
        self.contenders: list[Contender] = []
        self.acquired: list[int] = []
        """The tokens with which it was acquired, in this order."""
        self.refused = 0
        """Fenced writes that were refused."""
        self.written = 0
        self.lost = 0
        """Locks that were lost while they were held."""
        self.stopped = 0
        """How often a client was stopped."""
        self._writes: dict[int, int] = {}
        """The revision of a fenced write that took effect → its token."""

    def on_acquired(self, name: str, token: int) -> None:
        """A client knows that it holds the lock."""
        self.acquired.append(token)
        for what, holders in (
            ("lock-unlearned", [each.name for each in self.contenders if each.believes]),
            ("lock-check", [each.name for each in self.contenders if each.would_say_held]),
        ):
            if len(holders) > self.shared:
                raise Violation(what, f"{name} acquires it, held by: {', '.join(holders)}")

    def newest(self) -> int:
        """The largest token with which it was acquired; 0: it never was."""
        return max(self.acquired, default=0)

    def on_written(self, name: str, token: int, revision: int, newest: int) -> None:
        """A fenced write took effect. ``newest``: of the tokens, when it was begun."""
        self.written += 1
        if self.shared > 1:
            return
        if token < newest:
            raise Violation(
                "lock-fence", f"{name} wrote with token {token} after {newest} was acquired"
            )
        self._writes[revision] = token

    def on_refused(self) -> None:
        """A fenced write was refused."""
        self.refused += 1

    def check_end(self) -> None:
        """At the end of the run."""
        tokens = [self._writes[revision] for revision in sorted(self._writes)]
        if tokens != sorted(tokens):
            raise Violation("lock-fence", f"tokens of fenced writes go down: {tokens}")
