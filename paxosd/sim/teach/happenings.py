"""What happens in a lesson, as values: the narration is made of these and of nothing else."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from paxosd.sim.world.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened.

    ``kind``: send, deliver, lose, hold, cut, release, published, sync, crash, wipe, start, notice,
    applied, stale, chosen, conflict, decided. ``node``: where it happened, or the sender; ``to``:
    the receiver; ``body``: the message, the records made durable, the notice, …
    """

    at_ms: float
    kind: str
    node: str
    to: str = ""
    body: Any = None
    detail: dict[str, Any] = field(default_factory=dict)


class Recorder:
    """Reports to one listener what happens, with the time of the simulated world."""

    def __init__(self, world: World, listener: Callable[[Happening], None]) -> None:
        self._world = world
        self._listener = listener

    @property
    def now_ms(self) -> float:
        """The time of the simulated world."""
        return self._world.now_ms

    def note(self, kind: str, node: str, to: str = "", body: Any = None, **detail: Any) -> None:
        """This happens now."""
        self._listener(
            Happening(
                at_ms=self._world.now_ms, kind=kind, node=node, to=to, body=body, detail=detail
            )
        )
