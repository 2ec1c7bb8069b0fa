"""The network of a lesson: every message can be held, lost or let pass.

sender ── Wires.send ──► rule? ── no ──► delivered after the latency, in order per link
                           ├── lose ──► never
                           └── hold ──► kept until ``release``
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from paxosd.core.messages import Envelope
from paxosd.sim.teach.happenings import Recorder
from paxosd.sim.world.world import World

LATENCY_MS = (0.4, 0.6)
"""One way, between any two."""


class Parcel(NamedTuple):
    """A message under way. ``message``: as it leaves; between nodes it is in an envelope."""

    source: str
    target: str
    message: Any

    @property
    def body(self) -> Any:
        """The message itself."""
        return self.message.body if isinstance(self.message, Envelope) else self.message


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

    def hits(self, each: Parcel) -> bool:
        """Whether the message is one of those."""
        return (
            self.left != 0
            and (not self.kinds or type(each.body).__name__ in self.kinds)
            and (not self.sources or each.source in self.sources)
            and (not self.targets or each.target in self.targets)
        )


class Wires:
    """The links between all; ``deliver(source, target, message)`` is called when a message
    arrives, and says whether somebody was there to take it."""

    def __init__(
        self, world: World, recorder: Recorder, deliver: Callable[[str, str, Any], bool]
    ) -> None:
        self._world = world
        self._recorder = recorder
        self._deliver = deliver
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
            self._note("release", each)
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

    def send(self, source: str, target: str, message: Any) -> None:
        """A message leaves its sender."""
        each = Parcel(source, target, message)
        self._note("send", each)
        if (source, target) in self._cut:
            self._note("cut", each)
            return
        for rule in self._rules:
            if rule.hits(each):
                rule.left -= 1
                rule.struck += 1
                self._note(rule.action, each)
                if rule.action == "hold" and each not in self._held:  # a repeat joins the first
                    self._held.append(each)
                return
        self._depart(each)

    def _depart(self, each: Parcel) -> None:
        link = (each.source, each.target)
        arrival_ms = self._world.now_ms + self._rng.uniform(*LATENCY_MS)
        arrival_ms = max(arrival_ms, self._free_ms.get(link, 0.0) + 0.01)
        self._free_ms[link] = arrival_ms
        self._world.at(arrival_ms - self._world.now_ms, self._arrive, each)

    def _arrive(self, each: Parcel) -> None:
        whole = (each.source, each.target) not in self._cut
        if not (whole and self._deliver(*each)):
            self._note("cut", each)

    def _note(self, kind: str, each: Parcel) -> None:
        self._recorder.note(kind, each.source, each.target, each.body)

    def _add(self, action: str, kinds: tuple[str, ...], source: str, to: str, times: int) -> Rule:
        rule = Rule(action, kinds, tuple(source.split()), tuple(to.split()), times)
        self._rules.append(rule)
        return rule
