"""The fault plan: what goes wrong on purpose, in one node, for drills and tests.

A rule has a name, a kind, a scope (from, to, message kinds; or the nodes it acts on), a
probability with its own seeded random numbers, and an end. The plan decides; the parts that do
the work (bus, disk, loop, the simulator) ask it. Sans-IO: the time is an argument, and events are
reported through a callback: ``fault.added``, ``fault.hit`` (a rule's first; each of the kinds
that hit seldom), ``fault.healed`` (removed or expired, with hits). The kinds and their
arguments: ``rules.py``.

    on_message      where a message *arrives*: a rule has to be added on the receiving node, and
                    ``paxosctl fault add`` adds it on every node
    on_disk         before each operation on the log's files and those beside it, from any thread
    clock_skew_ms, pause_due_ms, crash_due      once a turn of the loop

A plan belongs to one node and one thread, the loop's; ``on_disk`` alone may be called from
others. A hit that it counts is reported by the loop's thread, at its next call (``expire``).
"""

import errno as os_errors
import math
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from paxosd.config.settings import nearest
from paxosd.core.types import NodeId
from paxosd.faults.rules import (
    ANY,
    CUTTING_KINDS,
    DISK_KINDS,
    KINDS,
    FaultError,
    FaultRule,
    KindSpec,
    parse_rule,
)

__all__ = [
    "ANY",
    "DELIVER",
    "DISK_FINE",
    "DROP",
    "KINDS",
    "RULES_MAX",
    "DiskVerdict",
    "FaultError",
    "FaultPlan",
    "FaultRule",
    "KindSpec",
    "Verdict",
    "parse_rule",
]

RULES_MAX = 64

READ, WRITE, SYNC, ALLOCATE, IDLE = "read", "write", "sync", "allocate", "idle"
"""Operations on the disk; ``idle`` is none, only an occasion for what acts by time."""
HOME_WRITE, HOME_SYNC = "home-write", "home-sync"
"""The same beside the log, in the data directory itself."""

_ON_OPERATION: dict[str, tuple[str, ...]] = {
    "disk-slow": (SYNC, HOME_SYNC),
    "disk-full": (WRITE, ALLOCATE, HOME_WRITE),
    "home-full": (HOME_WRITE,),
    "fsync-error": (SYNC, HOME_SYNC),
    "torn-write": (WRITE, HOME_WRITE),
}
_FULL = frozenset({"disk-full", "home-full"})

_EACH_HIT_TOLD = frozenset({"crash", "pause", "bit-rot", "clock-skew", "torn-write"})
"""These are rare, and each is worth a line in the log; of the others the first hit is."""

Report = Callable[[str, dict[str, Any]], None]
"""Takes an event name and its fields, for the log."""

Described = list[dict[str, Any]]
Rules = list[FaultRule]


class Verdict(NamedTuple):
    """What happens to one message. It arrives ``delay_ms`` later (0: now), and ``copies`` more of
    it arrive, each ``copies_delay_ms`` after the one before."""

    drop: bool
    delay_ms: int
    copies: int = 0
    copies_delay_ms: int = 0


class DiskVerdict(NamedTuple):
    """What happens to one operation on the disk.

    It begins ``delay_ms`` later; fails with ``errno`` unless that is 0. ``tear``: this share
    (0 to below 1) of a write is written, then the process dies; negative: none of that.
    ``rot``: somewhere in what is stored a bit flips; the random number, 0 to below 1, says
    where; negative: none does.
    """

    delay_ms: int
    errno: int
    tear: float
    rot: float


DELIVER = Verdict(False, 0)
DROP = Verdict(True, 0)
DISK_FINE = DiskVerdict(0, 0, -1.0, -1.0)


class FaultPlan:
    """The rules of one node. Times are milliseconds on one clock, which the caller chooses."""

    def __init__(
        self,
        report: Report | None = None,
        *,
        node: NodeId = "",
        nodes: Iterable[NodeId] = (),
        message_kinds: Iterable[str] = (),
    ) -> None:
        """``node``: the one that this plan is for. ``nodes``, ``message_kinds``: the known
        names, to refuse misspelt ones (and ``nodes`` for bridges)."""
        self.active = False
        """Whether there is any rule."""
        self.messages_active = False
        """Whether there is a rule on messages. The bus looks at nothing else for each of them."""
        self.disk_active = False
        """Whether there is a rule on this node's disk."""
        self.timed_active = False
        """Whether there is a rule on this node's clock, or one that stops or kills it."""
        self.unsaved = False
        """Whether the rules that survive a restart have changed; the owner of the plan resets
        it."""
        self.node = node
        self._rules: dict[str, FaultRule] = {}
        self._ended_hits: Counter[str] = Counter()
        self._message_rules: tuple[FaultRule, ...] = ()
        self._disk_rules: tuple[FaultRule, ...] = ()
        self._timed_rules: tuple[FaultRule, ...] = ()
        self._skewed: frozenset[str] = frozenset()
        self._disk_lock = threading.Lock()
        self._noted: deque[tuple[str, dict[str, Any]]] = deque()
        self._report: Report = report if report is not None else lambda event, fields: None
        self._nodes = tuple(nodes)
        self._message_kinds = tuple(message_kinds)

    def __len__(self) -> int:
        return len(self._rules)

    # ---- the rules

    def add_args(
        self, args: Mapping[str, Any], now_ms: float, *, restored: bool = False
    ) -> FaultRule:
        """Parse and add. Raises FaultError."""
        rule = parse_rule(args, nodes=self._nodes, message_kinds=self._message_kinds)
        self.add(rule, now_ms, restored=restored)
        return rule

    def add(self, rule: FaultRule, now_ms: float, *, restored: bool = False) -> None:
        """The rule acts from now on, for ``rule.for_ms``. ``restored``: it was kept from an
        earlier run of the node, and the event says so. Raises FaultError."""
        self.expire(now_ms)
        if rule.name in self._rules:
            raise FaultError(
                f'there is a rule "{rule.name}" already; remove it first or choose another name'
            )
        if len(self._rules) >= RULES_MAX:
            raise FaultError(f"there are {RULES_MAX} rules already; remove one first")
        rule.created_ms = now_ms
        rule.expires_ms = now_ms + rule.for_ms if rule.for_ms else 0
        rule.next_ms = now_ms + rule.every_ms
        rule.hits = 0
        # The rule's name takes part, so that two rules with one seed don't act in step; the
        # node's too, so that "each ten seconds, perhaps" does not pause all nodes at once.
        rule.rng = random.Random(f"{rule.seed}/{rule.name}/{self.node}")
        self._rules[rule.name] = rule
        self.unsaved = self.unsaved or rule.persist
        self._sort()
        self._report_rule("fault.added", rule, now_ms, **({"restored": True} if restored else {}))

    def remove(self, name: str, now_ms: float) -> int:
        """Returns the rule's hits. Raises FaultError if there is no such rule."""
        self.expire(now_ms)
        if name not in self._rules:
            raise FaultError(f'there is no rule "{name}"; {nearest(name, self._rules)}')
        hits = self._rules[name].hits
        self._heal(name, "removed", now_ms)
        return hits

    def clear(self, now_ms: float) -> int:
        """Remove every rule; returns how many there were."""
        self.expire(now_ms)
        names = list(self._rules)
        for name in names:
            self._heal(name, "cleared", now_ms)
        return len(names)

    def list(self, now_ms: float) -> Described:
        """Every rule in the order of adding, as :meth:`FaultRule.describe` has it."""
        self.expire(now_ms)
        return [rule.describe(now_ms) for rule in self._rules.values()]

    def persistent(self, now_ms: float) -> Described:
        """The arguments of the rules that survive a restart; ``for_ms`` is what is left."""
        self.expire(now_ms)
        kept = [rule for rule in self._rules.values() if rule.persist]
        return [
            rule.args() | {"for_ms": max(1, int(rule.expires_ms - now_ms)) if rule.for_ms else 0}
            for rule in kept
        ]

    def expire(self, now_ms: float) -> None:
        """End the rules whose time is over. To be called now and then while ``active``."""
        self.flush()
        over = [rule.name for rule in self._rules.values() if rule.is_over(now_ms)]
        for name in over:
            self._heal(name, "expired", now_ms)

    def flush(self) -> None:
        """Report the hits that other threads counted."""
        while self._noted:
            try:
                event, fields = self._noted.popleft()
            except IndexError:  # another thread, about to end the process, was faster
                return
            self._report(event, fields)

    # ---- messages

    def on_message(
        self, sender: NodeId, receiver: NodeId, kind_name: str, now_ms: float
    ) -> Verdict:
        """What happens to a message that arrives now.

        Every rule in scope draws its own chance, also if another has dropped the message, so
        that what one rule does depends on its own seed and traffic alone.
        """
        self.expire(now_ms)
        drop = False
        delay_ms = copies = copies_delay_ms = 0
        for rule in self._message_rules:
            if not rule.matches(sender, receiver, kind_name):
                continue
            if rule.kind == "flap" and int(now_ms - rule.created_ms) // rule.ms % 2:
                continue
            if not _by_chance(rule):
                continue
            self._hit(rule, now_ms)
            if rule.kind == "delay":
                delay_ms += rule.ms
            elif rule.kind == "reorder":
                delay_ms += rule.rng.randint(1, rule.ms)
            elif rule.kind == "duplicate":
                copies += 1
                if rule.ms:
                    copies_delay_ms = max(copies_delay_ms, rule.rng.randint(0, rule.ms))
            else:
                drop = True
        if drop:
            return DROP
        if delay_ms or copies:
            return Verdict(False, delay_ms, copies, copies_delay_ms)
        return DELIVER

    # ---- this node's disk

    def on_disk(self, operation: str, now_ms: float) -> DiskVerdict:
        """What happens to a read, write, sync or allocate that begins now; ``idle``: none does,
        but a bit may rot. May be called from any thread."""
        if not self.disk_active:
            return DISK_FINE
        delay_ms = errno = 0
        tear = rot = -1.0
        with self._disk_lock:
            for rule in self._disk_rules:
                if rule.is_over(now_ms):
                    continue
                if rule.kind == "bit-rot":
                    at_home = operation in (HOME_WRITE, HOME_SYNC)
                    if at_home or not _is_due(rule, now_ms):
                        continue
                elif operation not in _ON_OPERATION[rule.kind] or not _by_chance(rule):
                    continue
                rule.hits += 1
                if rule.hits == 1 or rule.kind in _EACH_HIT_TOLD:
                    self._noted.append(("fault.hit", _fields(rule, now_ms)))
                if rule.kind == "disk-slow":
                    delay_ms += rule.ms
                elif rule.kind == "torn-write":
                    tear = rule.rng.random()
                elif rule.kind == "bit-rot":
                    rot = rule.rng.random()
                else:
                    errno = os_errors.ENOSPC if rule.kind in _FULL else os_errors.EIO
        return DiskVerdict(delay_ms, errno, tear, rot)

    # ---- this node's clock and life

    def clock_skew_ms(self, now_ms: float) -> int:
        """How far the wall clock is ahead of the true one."""
        if not self.timed_active:
            return 0
        skew_ms = 0
        skewed = []
        for rule in self._timed_rules:
            if rule.kind != "clock-skew" or rule.is_over(now_ms):
                continue
            if rule.every_ms and int(now_ms - rule.created_ms) // rule.every_ms % 2:
                continue
            skew_ms += rule.ms
            skewed.append(rule.name)
            if rule.name not in self._skewed:
                self._hit(rule, now_ms)
        if skewed or self._skewed:
            self._skewed = frozenset(skewed)
        return skew_ms

    def pause_due_ms(self, now_ms: float) -> int:
        """For how long this node must stop now, and do nothing at all; 0: it need not. A pause
        is returned once: the caller has to carry it out."""
        if not self.timed_active:
            return 0
        return max([rule.ms for rule in self._due("pause", now_ms)], default=0)

    def crash_due(self, now_ms: float) -> bool:
        """Whether this node must die now."""
        return self.timed_active and bool(self._due("crash", now_ms))

    def next_due_ms(self) -> float:
        """When the next pause or crash may be due; infinite: none ever."""
        due_ms = [rule.next_ms for rule in self._timed_rules if rule.kind != "clock-skew"]
        return min(due_ms, default=math.inf)

    def _due(self, kind: str, now_ms: float) -> Rules:
        due = []
        for rule in self._timed_rules:
            if rule.kind == kind and not rule.is_over(now_ms) and _is_due(rule, now_ms):
                self._hit(rule, now_ms)
                due.append(rule)
        return due

    # ---- the rest

    def _sort(self) -> None:
        """Keep at hand which rules concern which operation. Tuples, never changed in place: the
        other threads' loops go over the old ones to the end."""
        rules = list(self._rules.values())
        here = [rule for rule in rules if rule.acts_on(self.node)]
        self._message_rules = tuple(
            rule for rule in rules if KINDS[rule.kind].paths or rule.kind in CUTTING_KINDS
        )
        self._disk_rules = tuple(rule for rule in here if rule.kind in DISK_KINDS)
        self._timed_rules = tuple(
            rule for rule in here if rule.kind in ("crash", "pause", "clock-skew")
        )
        self.active = bool(rules)
        self.messages_active = bool(self._message_rules)
        self.disk_active = bool(self._disk_rules)
        self.timed_active = bool(self._timed_rules)

    def hits(self) -> Counter[str]:
        """Kind → how often rules of it did something since the start, those that ended included."""
        found = self._ended_hits.copy()
        for rule in self._rules.values():
            found[rule.kind] += rule.hits
        return found

    def _heal(self, name: str, reason: str, now_ms: float) -> None:
        rule = self._rules.pop(name)
        self._ended_hits[rule.kind] += rule.hits
        self.unsaved = self.unsaved or rule.persist
        self._skewed -= {name}
        self._sort()
        self.flush()  # its first hit before its end
        self._report_rule("fault.healed", rule, now_ms, reason=reason)

    def _hit(self, rule: FaultRule, now_ms: float) -> None:
        rule.hits += 1
        if rule.hits == 1 or rule.kind in _EACH_HIT_TOLD:
            self._report_rule("fault.hit", rule, now_ms)

    def _report_rule(self, event: str, rule: FaultRule, now_ms: float, **more: Any) -> None:
        self._report(event, _fields(rule, now_ms) | more)


def _by_chance(rule: FaultRule) -> bool:
    return rule.probability >= 1.0 or rule.rng.random() < rule.probability


def _is_due(rule: FaultRule, now_ms: float) -> bool:
    """Whether a rule that acts by time does so now: once, or each ``every_ms``, by chance.
    Times that passed without a call are not made up for."""
    if now_ms < rule.next_ms:
        return False
    if rule.every_ms:
        periods = (now_ms - rule.next_ms) // rule.every_ms + 1
        rule.next_ms += periods * rule.every_ms
    else:
        rule.next_ms = math.inf
    return _by_chance(rule)


def _fields(rule: FaultRule, now_ms: float) -> dict[str, Any]:
    """For the log: only what the rule's kind takes and what was given."""
    given = {key: value for key, value in rule.describe(now_ms).items() if value not in (0, [], "")}
    given["fault"] = given.pop("name")
    return {"hits": rule.hits} | {key: v for key, v in given.items() if v is not False}
