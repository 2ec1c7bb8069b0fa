"""The forms of a fault rule: which kinds there are, what each takes, and the reading of one.

Three sorts of kinds, by what they act on:

    paths (from, to)   drop delay duplicate reorder partition flap
    nodes, apart (on)  isolate bridge
    a node (on)        crash pause disk-slow disk-full home-full fsync-error torn-write bit-rot
                       clock-skew

What a kind does not take is refused rather than ignored: a rule that says more than it does
would be believed. What the rules do is decided in ``plan.py``.
"""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from paxosd.config.settings import nearest
from paxosd.core.types import NodeId

NAMES_MAX = 64
DELAY_MS_MAX = 600_000
SKEW_MS_MAX = 86_400_000
FOR_MS_MAX = 7 * 86_400_000
EVERY_MS_MAX = 86_400_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

NO, MAY, MUST = 0, 1, 2
"""Whether a kind takes an argument."""


class FaultError(ValueError):
    """A rule cannot be added or removed; the text says why and what is allowed."""


class KindSpec(NamedTuple):
    """What a kind does, in words, and what it takes besides name, seed, end and persist.

    ``paths``: from and to; ``nodes``: on, which is needed then; ``messages``: message kinds;
    ``ms``, ``every``: NO, MAY or MUST; ``probability``, ``oneway``: whether it takes them.
    """

    does: str
    paths: bool = False
    nodes: bool = False
    messages: bool = False
    ms: int = NO
    every: int = NO
    probability: bool = True
    oneway: bool = False


KINDS: dict[str, KindSpec] = {
    "drop": KindSpec("messages vanish", paths=True, messages=True),
    "delay": KindSpec("messages come ms later", paths=True, messages=True, ms=MUST),
    "duplicate": KindSpec(
        "messages come twice, the second up to ms later", paths=True, messages=True, ms=MAY
    ),
    "reorder": KindSpec(
        "messages come up to ms later, by chance: others overtake them",
        paths=True,
        messages=True,
        ms=MUST,
    ),
    "partition": KindSpec(
        "nothing passes between from and to", paths=True, probability=False, oneway=True
    ),
    "flap": KindSpec(
        "a partition that is there for ms, gone for ms, there again …",
        paths=True,
        ms=MUST,
        probability=False,
        oneway=True,
    ),
    "isolate": KindSpec("each of these nodes is cut off from all", nodes=True, probability=False),
    "bridge": KindSpec(
        "the other nodes fall into two halves that only these nodes hear",
        nodes=True,
        probability=False,
    ),
    "crash": KindSpec("the daemon dies as by kill -9, now or after every", nodes=True, every=MAY),
    "pause": KindSpec("the daemon stops for ms, now or each every", nodes=True, ms=MUST, every=MAY),
    "disk-slow": KindSpec("each fdatasync takes ms longer", nodes=True, ms=MUST),
    "disk-full": KindSpec("all writes to the data directory fail: no space left", nodes=True),
    "home-full": KindSpec("writes beside the log fail: no space left", nodes=True),
    "fsync-error": KindSpec("each fdatasync fails: input/output error", nodes=True),
    "torn-write": KindSpec("the daemon dies in the middle of a write", nodes=True),
    "bit-rot": KindSpec(
        "a bit of what the log has stored is flipped, now or each every", nodes=True, every=MAY
    ),
    "clock-skew": KindSpec(
        "the wall clock is ms ahead (or behind); on and off each every",
        nodes=True,
        ms=MUST,
        every=MAY,
        probability=False,
    ),
}
"""Every kind that a rule can have."""

CUTTING_KINDS = frozenset({"partition", "flap", "isolate", "bridge"})
DISK_KINDS = frozenset(
    {"disk-slow", "disk-full", "home-full", "fsync-error", "torn-write", "bit-rot"}
)

ANY = ("*",)


@dataclass(slots=True)
class FaultRule:
    """One rule. ``from_``, ``to`` and ``on`` are node names, or ``("*",)`` for any.

    ``message_kinds``: names as in :data:`paxosd.wire.PEER_KIND_NAMES`; empty: all of them.
    ``expires_ms``: on the clock of the plan's caller; 0: never. ``hits`` counts what it did:
    messages, disk operations, crashes, pauses, flipped bits, or times that the clock jumped.
    ``next_ms``: when a kind that acts by time does so next; infinite: never again.
    """

    name: str
    kind: str
    from_: tuple[NodeId, ...] = ANY
    to: tuple[NodeId, ...] = ANY
    on: tuple[NodeId, ...] = ()
    message_kinds: tuple[str, ...] = ()
    probability: float = 1.0
    ms: int = 0
    every_ms: int = 0
    for_ms: int = 0
    seed: int = 0
    oneway: bool = False
    persist: bool = False
    created_ms: float = 0
    expires_ms: float = 0
    next_ms: float = 0
    hits: int = 0
    rng: random.Random = field(default_factory=random.Random, repr=False, compare=False)
    halves: tuple[frozenset[NodeId], frozenset[NodeId]] = field(
        default=(frozenset(), frozenset()), repr=False, compare=False
    )
    """Of a bridge: the two groups that do not hear each other."""

    def matches(self, sender: NodeId, receiver: NodeId, kind_name: str) -> bool:
        """Whether the scope of a rule on messages covers this one; takes no chance or time
        into account."""
        if self.kind == "isolate":
            return _within(sender, self.on) or _within(receiver, self.on)
        if self.kind == "bridge":
            one, other = self.halves
            return (sender in one and receiver in other) or (sender in other and receiver in one)
        if self.message_kinds and kind_name not in self.message_kinds:
            return False
        if _within(sender, self.from_) and _within(receiver, self.to):
            return True
        both_ways = KINDS[self.kind].oneway and not self.oneway
        return both_ways and _within(sender, self.to) and _within(receiver, self.from_)

    def acts_on(self, node: NodeId) -> bool:
        """Whether a rule on nodes covers this one."""
        return _within(node, self.on)

    def is_over(self, now_ms: float) -> bool:
        """Whether its time is over."""
        return bool(self.expires_ms) and now_ms >= self.expires_ms

    def args(self) -> dict[str, Any]:
        """What :func:`parse_rule` makes the same rule of."""
        spec = KINDS[self.kind]
        scope: dict[str, Any] = {}
        if spec.paths:
            scope = {"from": ",".join(self.from_), "to": ",".join(self.to)}
        if spec.nodes:
            scope = {"on": ",".join(self.on)}
        return {
            "name": self.name,
            "kind": self.kind,
            **scope,
            "message_kinds": list(self.message_kinds),
            "probability": self.probability,
            "ms": self.ms,
            "every_ms": self.every_ms,
            "for_ms": self.for_ms,
            "seed": self.seed,
            "oneway": self.oneway,
            "persist": self.persist,
        }

    def describe(self, now_ms: float) -> dict[str, Any]:
        """Plain values for the log and ``fault list``. ``left_ms``: -1 if it never ends."""
        left_ms = max(0, int(self.expires_ms - now_ms)) if self.expires_ms else -1
        return self.args() | {"left_ms": left_ms, "hits": self.hits}


def parse_rule(
    args: Mapping[str, Any],
    *,
    nodes: Iterable[NodeId] = (),
    message_kinds: Iterable[str] = (),
) -> FaultRule:
    """A rule from the arguments of ``fault_add``, every one of them checked.

    Arguments: name, kind, from, to, on (a name, several with commas or in a list, or ``*``),
    message_kinds (list), probability (0 < p <= 1), ms, every_ms, for_ms (0: for ever), seed,
    oneway, persist. ``nodes`` and ``message_kinds``: the known ones; empty: not checked.
    Raises FaultError.
    """
    unknown = sorted(set(args) - _ARGUMENTS)
    if unknown:
        raise FaultError(f'unknown argument "{unknown[0]}"; {nearest(unknown[0], _ARGUMENTS)}')
    name = args.get("name")
    if type(name) is not str or not _NAME.fullmatch(name):
        raise FaultError("a name of 1 to 64 letters, digits, dots, dashes, underscores is needed")
    kind = args.get("kind")
    if type(kind) is not str or kind not in KINDS:
        raise FaultError(f'unknown kind "{kind!s:.40}"; {nearest(str(kind), KINDS)}')
    known_nodes = tuple(nodes)
    skew = kind == "clock-skew"
    ms_max = SKEW_MS_MAX if skew else DELAY_MS_MAX
    rule = FaultRule(
        name=name,
        kind=kind,
        from_=_node_list(args, "from", ANY, known_nodes),
        to=_node_list(args, "to", ANY, known_nodes),
        on=_node_list(args, "on", (), known_nodes),
        message_kinds=_kind_list(args, tuple(message_kinds)),
        probability=_probability(args),
        ms=_whole(args, "ms", -ms_max if skew else 0, ms_max),
        every_ms=_whole(args, "every_ms", 0, EVERY_MS_MAX),
        for_ms=_whole(args, "for_ms", 0, FOR_MS_MAX),
        seed=_whole(args, "seed", 0, (1 << 63) - 1),
        oneway=_flag(args, "oneway"),
        persist=_flag(args, "persist"),
    )
    _check_combination(rule)
    if kind == "bridge":
        rule.halves = _halves(rule.on, known_nodes)
    return rule


# ---- checks of arguments

_SCOPE = ("from", "to", "on", "message_kinds")
_TIMES = ("ms", "every_ms", "for_ms")
_ARGUMENTS = frozenset(
    ("name", "kind", *_SCOPE, *_TIMES, "probability", "seed", "oneway", "persist")
)


def _within(node: NodeId, scope: tuple[NodeId, ...]) -> bool:
    return scope == ANY or node in scope


def _whole(args: Mapping[str, Any], key: str, minimum: int, maximum: int) -> int:
    value = args.get(key, 0)
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
    if value is None or value in ("", [], ()):
        return default
    items = value.split(",") if type(value) is str else value
    if not isinstance(items, list | tuple) or not all(type(item) is str for item in items):
        raise FaultError(f"{key} is a name, names with commas between them, or a list of names")
    stripped = tuple(dict.fromkeys(item.strip() for item in items))
    if len(stripped) > NAMES_MAX or not all(0 < len(item) <= 64 for item in stripped):
        raise FaultError(f"{key} has an empty or too long name, or too many of them")
    return stripped


def _node_list(
    args: Mapping[str, Any], key: str, default: tuple[NodeId, ...], known: tuple[NodeId, ...]
) -> tuple[NodeId, ...]:
    names = _names(args, key, default)
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
    kind, spec = rule.kind, KINDS[rule.kind]
    scoped = rule.from_ != ANY or rule.to != ANY
    if scoped and not spec.paths:
        raise FaultError(f"{kind} takes no from or to: say which nodes with on")
    if rule.on and not spec.nodes:
        raise FaultError(f"{kind} takes no on: say which paths with from and to")
    if spec.nodes and not rule.on:
        raise FaultError(f"{kind} needs on: one node, several with commas, or * for every node")
    if kind in ("partition", "flap") and not scoped:
        raise FaultError(f"{kind} needs from or to (or both): which nodes to cut off")
    if rule.message_kinds and not spec.messages:
        raise FaultError(f"{kind} takes no message kinds; {_which('messages')} do")
    if spec.ms == MUST and rule.ms == 0:
        raise FaultError(f"{kind} needs ms, how many milliseconds")
    if rule.ms and spec.ms == NO:
        raise FaultError(f"{kind} takes no ms")
    if rule.every_ms and spec.every == NO:
        raise FaultError(f"{kind} takes no every; {_which('every')} do")
    if rule.oneway and not spec.oneway:
        raise FaultError(f"{kind} takes no oneway; {_which('oneway')} do")
    if rule.probability < 1.0 and not spec.probability:
        raise FaultError(f"{kind} takes no probability; drop does")
    if rule.probability < 1.0 and spec.every and not rule.every_ms:
        raise FaultError(f"{kind} with a probability needs every: how often chance decides")


def _which(argument: str) -> str:
    """The kinds that take an argument, in words."""
    kinds = [kind for kind, spec in KINDS.items() if getattr(spec, argument)]
    return f"{', '.join(kinds[:-1])} and {kinds[-1]}"


def _halves(
    bridges: tuple[NodeId, ...], known: tuple[NodeId, ...]
) -> tuple[frozenset[NodeId], frozenset[NodeId]]:
    """The other nodes, sorted and cut in the middle."""
    others = sorted(node for node in known if node not in bridges)
    if bridges == ANY or len(others) < 2:
        raise FaultError(
            "bridge needs at least two nodes besides those in on: they are cut from each other"
        )
    middle = len(others) // 2
    return frozenset(others[:middle]), frozenset(others[middle:])
