"""The fault plan: what goes wrong on purpose, in one node, for drills and tests.

A rule has a name, a kind, a scope (from, to, message kinds), a probability with its own seeded
random numbers, and an end. The plan decides; whoever does the work (bus, disk, clock) asks it.
Sans-IO: the time is handed in, and what happens is told through a callback:
``fault.added``, ``fault.hit`` (a rule's first), ``fault.healed`` (removed or expired, with hits).

Network rules act where a message *arrives*: a rule has to be added on the receiving node, and
``paxosctl fault add`` adds it on every node. Enacted by this version:

    drop       from → to: messages vanish
    delay      from → to: messages come ``ms`` later; delays of several rules add up
    partition  from → to and to → from: everything vanishes; with ``oneway`` from → to alone

``crash`` is no rule but a verb of its own. The other kinds have their form here already and are
refused until something enacts them.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from paxosd.core.types import NodeId
from paxosd.settings import nearest

RULES_MAX = 64
DELAY_MS_MAX = 600_000
FOR_MS_MAX = 7 * 86_400_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Report = Callable[[str, dict[str, Any]], None]
"""Takes an event name and its fields, for the log."""


class FaultError(ValueError):
    """A rule cannot be added or removed; the text says why and what is allowed."""


class KindSpec(NamedTuple):
    """What a kind takes besides name, probability, seed and end.

    ``paths``: from and to mean something; ``messages``: message kinds do; ``ms``: a duration or
    skew is needed; ``enacted``: this version carries it out.
    """

    enacted: bool
    paths: bool = True
    messages: bool = False
    ms: bool = False


KINDS: dict[str, KindSpec] = {
    "drop": KindSpec(True, messages=True),
    "delay": KindSpec(True, messages=True, ms=True),
    "partition": KindSpec(True),
    "duplicate": KindSpec(False, messages=True),
    "reorder": KindSpec(False, messages=True, ms=True),
    "isolate": KindSpec(False),
    "pause": KindSpec(False, ms=True),
    "disk-slow": KindSpec(False, ms=True),
    "disk-full": KindSpec(False),
    "fsync-error": KindSpec(False),
    "torn-write": KindSpec(False),
    "bit-rot": KindSpec(False),
    "clock-skew": KindSpec(False, ms=True),
}
"""Every kind that a rule can have; ``crash`` is a verb of its own."""

ANY = ("*",)


@dataclass(slots=True)
class FaultRule:
    """One rule. ``from_`` and ``to`` are node names, or ``("*",)`` for any.

    ``message_kinds``: names as in :data:`paxosd.wire.PEER_KIND_NAMES`; empty: all of them.
    ``expires_ms``: on the clock of the plan's caller; 0: never. ``hits`` counts what it did.
    """

    name: str
    kind: str
    from_: tuple[NodeId, ...] = ANY
    to: tuple[NodeId, ...] = ANY
    message_kinds: tuple[str, ...] = ()
    probability: float = 1.0
    ms: int = 0
    for_ms: int = 0
    seed: int = 0
    oneway: bool = False
    created_ms: int = 0
    expires_ms: int = 0
    hits: int = 0
    rng: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def matches(self, sender: NodeId, receiver: NodeId, kind_name: str) -> bool:
        """Whether the rule's scope covers this message; takes no chance into account."""
        if self.message_kinds and kind_name not in self.message_kinds:
            return False
        if _within(sender, self.from_) and _within(receiver, self.to):
            return True
        both_ways = self.kind == "partition" and not self.oneway
        return both_ways and _within(sender, self.to) and _within(receiver, self.from_)

    def describe(self, now_ms: int) -> dict[str, Any]:
        """Plain values for the log and ``fault list``. ``left_ms``: -1 if it never ends."""
        return {
            "name": self.name,
            "kind": self.kind,
            "from": ",".join(self.from_),
            "to": ",".join(self.to),
            "message_kinds": list(self.message_kinds),
            "probability": self.probability,
            "ms": self.ms,
            "for_ms": self.for_ms,
            "seed": self.seed,
            "oneway": self.oneway,
            "left_ms": max(0, self.expires_ms - now_ms) if self.expires_ms else -1,
            "hits": self.hits,
        }


class Verdict(NamedTuple):
    """What becomes of one message. ``delay_ms`` is 0 unless it is delayed."""

    drop: bool
    delay_ms: int


DELIVER = Verdict(False, 0)
DROP = Verdict(True, 0)


def parse_rule(
    args: Mapping[str, Any],
    *,
    nodes: Iterable[NodeId] = (),
    message_kinds: Iterable[str] = (),
) -> FaultRule:
    """A rule from the arguments of ``fault_add``, every one of them checked.

    Arguments: name, kind, from, to (a name, several with commas or in a list, or ``*``),
    message_kinds (list), probability (0 < p <= 1), ms, for_ms (0: for ever), seed, oneway.
    ``nodes`` and ``message_kinds``: the known ones; empty: not checked.
    Raises FaultError.
    """
    unknown = sorted(set(args) - _ARGUMENTS)
    if unknown:
        raise FaultError(f'unknown argument "{unknown[0]}"; {nearest(unknown[0], _ARGUMENTS)}')
    name = args.get("name")
    if type(name) is not str or not _NAME.fullmatch(name):
        raise FaultError("a name of 1 to 64 letters, digits, dots, dashes, underscores is needed")
    kind = args.get("kind")
    if kind == "crash":
        raise FaultError("crash is no rule: use `paxosctl fault crash NODE`")
    if type(kind) is not str or kind not in KINDS:
        raise FaultError(f'unknown kind "{kind}"; {nearest(str(kind), KINDS)}')
    known_nodes = tuple(nodes)
    seed = _whole(args, "seed", 0, (1 << 63) - 1)
    rule = FaultRule(
        name=name,
        kind=kind,
        from_=_node_list(args, "from", known_nodes),
        to=_node_list(args, "to", known_nodes),
        message_kinds=_kind_list(args, tuple(message_kinds)),
        probability=_probability(args),
        ms=_whole(args, "ms", 0, DELAY_MS_MAX),
        for_ms=_whole(args, "for_ms", 0, FOR_MS_MAX),
        seed=seed,
        oneway=_flag(args, "oneway"),
        # The name takes part, so that two rules with one seed don't act in step.
        rng=random.Random(f"{seed}/{name}"),
    )
    _check_combination(rule)
    return rule


class FaultPlan:
    """The rules of one node. Times are ms on whatever clock the caller uses throughout."""

    def __init__(
        self,
        report: Report | None = None,
        *,
        nodes: Iterable[NodeId] = (),
        message_kinds: Iterable[str] = (),
    ) -> None:
        """``nodes``, ``message_kinds``: the known names, to refuse misspelt ones."""
        self.active = False
        """Whether there is any rule: all that the hot path looks at."""
        self._rules: dict[str, FaultRule] = {}
        self._report: Report = report if report is not None else lambda event, fields: None
        self._nodes = tuple(nodes)
        self._message_kinds = tuple(message_kinds)

    def __len__(self) -> int:
        return len(self._rules)

    def add_args(self, args: Mapping[str, Any], now_ms: int) -> FaultRule:
        """Parse and add. Raises FaultError."""
        rule = parse_rule(args, nodes=self._nodes, message_kinds=self._message_kinds)
        self.add(rule, now_ms)
        return rule

    def add(self, rule: FaultRule, now_ms: int) -> None:
        """The rule acts from now on, for ``rule.for_ms``. Raises FaultError."""
        self.expire(now_ms)
        if not KINDS[rule.kind].enacted:
            able = ", ".join(kind for kind, spec in KINDS.items() if spec.enacted)
            raise FaultError(f"{rule.kind} is not enacted by this version; these are: {able}")
        if rule.name in self._rules:
            raise FaultError(
                f'there is a rule "{rule.name}" already; remove it first or choose another name'
            )
        if len(self._rules) >= RULES_MAX:
            raise FaultError(f"there are {RULES_MAX} rules already; remove one first")
        rule.created_ms = now_ms
        rule.expires_ms = now_ms + rule.for_ms if rule.for_ms else 0
        rule.hits = 0
        self._rules[rule.name] = rule
        self.active = True
        self._tell("fault.added", rule, now_ms)

    def remove(self, name: str, now_ms: int) -> None:
        """Raises FaultError if there is no such rule."""
        self.expire(now_ms)
        if name not in self._rules:
            raise FaultError(f'there is no rule "{name}"; {nearest(name, self._rules)}')
        self._heal(name, "removed", now_ms)

    def clear(self, now_ms: int) -> int:
        """Remove every rule; returns how many there were."""
        self.expire(now_ms)
        names = list(self._rules)
        for name in names:
            self._heal(name, "cleared", now_ms)
        return len(names)

    def list(self, now_ms: int) -> list[dict[str, Any]]:
        """Every rule in the order of adding, as :meth:`FaultRule.describe` has it."""
        self.expire(now_ms)
        return [rule.describe(now_ms) for rule in self._rules.values()]

    def expire(self, now_ms: int) -> None:
        """End the rules whose time is over. To be called now and then while ``active``."""
        over = [r.name for r in self._rules.values() if r.expires_ms and now_ms >= r.expires_ms]
        for name in over:
            self._heal(name, "expired", now_ms)

    def on_message(self, sender: NodeId, receiver: NodeId, kind_name: str, now_ms: int) -> Verdict:
        """What becomes of a message that arrives now.

        Every rule in scope draws its own chance, also if another has dropped the message, so
        that what one rule does depends on its own seed and traffic alone.
        """
        self.expire(now_ms)
        drop = False
        delay_ms = 0
        for rule in self._rules.values():
            if not rule.matches(sender, receiver, kind_name):
                continue
            if rule.probability < 1.0 and rule.rng.random() >= rule.probability:
                continue
            rule.hits += 1
            if rule.hits == 1:
                self._tell("fault.hit", rule, now_ms)
            if rule.kind == "delay":
                delay_ms += rule.ms
            else:
                drop = True
        if drop:
            return DROP
        return Verdict(False, delay_ms) if delay_ms else DELIVER

    def _heal(self, name: str, reason: str, now_ms: int) -> None:
        rule = self._rules.pop(name)
        self.active = bool(self._rules)
        self._tell("fault.healed", rule, now_ms, reason=reason)

    def _tell(self, event: str, rule: FaultRule, now_ms: int, **more: Any) -> None:
        fields = rule.describe(now_ms)
        fields["fault"] = fields.pop("name")
        self._report(event, fields | more)


# ---- checks of arguments

_ARGUMENTS = frozenset(
    ["name", "kind", "from", "to", "message_kinds", "probability", "ms", "for_ms", "seed", "oneway"]
)


def _within(node: NodeId, scope: tuple[NodeId, ...]) -> bool:
    return scope == ANY or node in scope


def _whole(args: Mapping[str, Any], key: str, minimum: int, maximum: int) -> int:
    value = args.get(key, minimum)
    if type(value) is not int or not minimum <= value <= maximum:
        raise FaultError(f"{key} is a whole number from {minimum} to {maximum}, not {value!r:.40}")
    return value


def _flag(args: Mapping[str, Any], key: str) -> bool:
    value = args.get(key, False)
    if type(value) is not bool:
        raise FaultError(f"{key} is true or false, not {value!r:.40}")
    return value


def _probability(args: Mapping[str, Any]) -> float:
    value = args.get("probability", 1.0)
    if type(value) not in (int, float) or not 0 < value <= 1:  # NaN fails the comparison
        raise FaultError(f"probability is above 0 and at most 1, not {value!r:.40}")
    return float(value)


def _names(args: Mapping[str, Any], key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = args.get(key)
    if value is None or value in ("", []):
        return default
    items = value.split(",") if type(value) is str else value
    if not isinstance(items, list | tuple) or not all(type(item) is str for item in items):
        raise FaultError(f"{key} is a name, names with commas between them, or a list of names")
    stripped = tuple(dict.fromkeys(item.strip() for item in items))
    if len(stripped) > RULES_MAX or not all(0 < len(item) <= 64 for item in stripped):
        raise FaultError(f"{key} has an empty or too long name, or too many of them")
    return stripped


def _node_list(args: Mapping[str, Any], key: str, known: tuple[NodeId, ...]) -> tuple[NodeId, ...]:
    names = _names(args, key, ANY)
    if "*" in names:
        return ANY
    for item in names:
        if known and item not in known:
            raise FaultError(f'{key}: unknown node "{item}"; {nearest(item, known)}')
    return names


def _kind_list(args: Mapping[str, Any], known: tuple[str, ...]) -> tuple[str, ...]:
    names = _names(args, "message_kinds", ())
    for item in names:
        if known and item not in known:
            raise FaultError(f'unknown kind of message "{item}"; {nearest(item, known)}')
    return names


def _check_combination(rule: FaultRule) -> None:
    spec = KINDS[rule.kind]
    if spec.ms and rule.ms == 0:
        raise FaultError(f"{rule.kind} needs ms, how many milliseconds")
    if rule.ms and not spec.ms:
        raise FaultError(f"{rule.kind} takes no ms")
    if rule.message_kinds and not spec.messages:
        raise FaultError(f"{rule.kind} takes no message kinds; drop does")
    if rule.oneway and rule.kind != "partition":
        raise FaultError(f"{rule.kind} takes no oneway; only partition does")
    if rule.kind == "partition" and rule.from_ == rule.to == ANY:
        raise FaultError("partition needs from or to (or both): which nodes to cut off")
    if rule.kind == "partition" and rule.probability < 1.0:
        raise FaultError("partition takes no probability; drop does")
