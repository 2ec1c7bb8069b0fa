"""The network of a lesson: every message can be held, lost or let pass.

sender ── Wires.send ──► rule? ── no ──► delivered after the latency, in order per link
                           ├── lose ──► never
                           └── hold ──► kept until ``release``
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paxosd.core.messages import Envelope
from paxosd.sim.teach.happenings import Recorder
from paxosd.sim.world.world import World

LATENCY_MS = (0.4, 0.6)
"""One way, between any two."""


@dataclass(slots=True)
class Rule:
    """Which messages do not pass; an empty list stands for "any"."""

    action: str
    """lose or hold."""
    kinds: tuple[str, ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    left: int
    """To how many more messages it applies; negative: to all."""
    struck: int = 0
    """To how many it has applied."""

    def hits(self, source: str, target: str, message: Any) -> bool:
        """Whether the message is one of those."""
        return (
            self.left != 0
            and (not self.kinds or type(message).__name__ in self.kinds)
            and (not self.sources or source in self.sources)
            and (not self.targets or target in self.targets)
        )


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message that a rule holds."""

    source: str
    target: str
    message: Any
    envelope: Envelope | None


class Wires:
    """The links between all; ``deliver(source, target, message, envelope)`` is called when a
    message arrives, and says whether somebody was there to take it."""

    def __init__(
        self,
        world: World,
        recorder: Recorder,
        deliver: Callable[[str, str, Any, Envelope | None], bool],
        latency_ms: tuple[float, float] = LATENCY_MS,
    ) -> None:
        self._world = world
        self._recorder = recorder
        self._deliver = deliver
        self._latency_ms = latency_ms
        self._rng = world.derive("wires")
        self._free_ms: dict[tuple[str, str], float] = {}
        self._rules: list[Rule] = []
        self._cut: set[tuple[str, str]] = set()
        self._held: list[Parcel] = []

    # -- control

    def lose(self, *kinds: str, source: str = "", to: str = "", times: int = -1) -> Rule:
        """From now on such messages are lost (``source`` and ``to``: names with blanks)."""
        return self._add("lose", kinds, source, to, times)

    def hold(self, *kinds: str, source: str = "", to: str = "", times: int = -1) -> Rule:
        """From now on such messages are kept until :meth:`release`."""
        return self._add("hold", kinds, source, to, times)

    def end(self, rule: Rule) -> None:
        """The rule does not apply any more."""
        self._rules.remove(rule)

    def release(self, source: str = "") -> None:
        """Messages held go on their way, in the order in which they were sent: those of one
        sender, or all."""
        going = [each for each in self._held if source in ("", each.source)]
        self._held = [each for each in self._held if each not in going]
        for each in going:
            self._recorder.note("release", each.source, each.target, each.message)
            self._depart(each)

    def cut(self, left: tuple[str, ...], right: tuple[str, ...]) -> None:
        """No message passes between the two sides, in either direction."""
        for a in left:
            for b in right:
                self._cut.update(((a, b), (b, a)))

    def mend(self) -> None:
        """Every link works, every rule ends."""
        self._cut.clear()
        self._rules.clear()

    # -- traffic

    def send(
        self, source: str, target: str, message: Any, envelope: Envelope | None = None
    ) -> None:
        """A message leaves its sender; one between nodes is in an envelope."""
        each = Parcel(source, target, message, envelope)
        self._recorder.note("send", source, target, message)
        if (source, target) in self._cut:
            self._recorder.note("cut", source, target, message)
            return
        for rule in self._rules:
            if rule.hits(source, target, message):
                rule.left -= 1
                rule.struck += 1
                self._recorder.note(rule.action, source, target, message)
                if rule.action == "hold" and each not in self._held:  # a repeat joins the first
                    self._held.append(each)
                return
        self._depart(each)

    def _depart(self, each: Parcel) -> None:
        link = (each.source, each.target)
        arrival_ms = self._world.now_ms + self._rng.uniform(*self._latency_ms)
        arrival_ms = max(arrival_ms, self._free_ms.get(link, 0.0) + 0.01)
        self._free_ms[link] = arrival_ms

        self._world.at(arrival_ms - self._world.now_ms, self._arrive, each)

    def _arrive(self, each: Parcel) -> None:
        whole = (each.source, each.target) not in self._cut
        if not (whole and self._deliver(each.source, each.target, each.message, each.envelope)):
            self._recorder.note("cut", each.source, each.target, each.message)

    def _add(self, action: str, kinds: tuple[str, ...], source: str, to: str, times: int) -> Rule:
        rule = Rule(action, kinds, tuple(source.split()), tuple(to.split()), times)
        self._rules.append(rule)
        return rule
