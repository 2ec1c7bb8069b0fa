"""A violation explained so that a person can follow it: what was done, which nodes were down, what
was sent.

    the seed and what was seen        seed 7 breaks it: stale-read: …
    the faults that it takes          1. at 12.0 s n1 loses its power …
    how things stood at the end       n1 is down; nothing passes n2 → n3
    what happened last                 12.310 s  n2  is promised ballot 4.n2 …
    how to see it again               paxosctl sim run --seed 7 …

Events about other slots and other keys than those the violation names are left out, and so is
what happens all the time (heartbeats, fsyncs).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from paxosd.sim.campaign.campaign import Minimised
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.campaign.story_words import happened, instructed, seconds
from paxosd.sim.nemesis.schedule import Directive, Schedule
from paxosd.sim.world.trace import Trace

LINES_MAX = 40
FILE = "FILE"

_ALWAYS = ("crash", "restart", "fault", "leader", "election", "nemesis", "storage", "node.",
           "process", "power", "wipe", "rollback", "heal", "pause", "resume", "disk.",
           "prepare", "promise", "nack")  # fmt: skip
_NEVER = ("heartbeat", "fsync", "prevote", "member.", "storage.segment", "violation", "run.begins",
          "process.start")  # fmt: skip
_NEMESIS = "nemesis."
_HEALED = "run.heals"
_TALK = ("prepare", "promise", "nack", "election", "catchup")
"""Events that are repeated often: a story has each once, and leaves them out first."""
_SLOT = re.compile(r"slots? (\d+)")
_KEY = re.compile(r"key ([^\s,:;]+)")


@dataclass(slots=True)
class Story:
    """``text``: all of it. The parts, for other formats: ``replay`` is a command line."""

    seed: int
    violation: str
    replay: str
    replay_small: str = ""
    """The same, of the small run. FILE stands for where its schedule was saved."""
    directives: list[str] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    left_out: int = 0
    directives_before: int = 0
    smallest: bool = True

    @property
    def text(self) -> str:
        """For people."""
        headline = self.violation.partition("\n")[0]
        parts = [f"seed {self.seed} breaks it: {headline}", ""]
        parts += [self._head(), *(f"  {n}. {each}" for n, each in enumerate(self.directives, 1))]
        if self.standing:
            parts += ["", "How things stood when it was seen:"]
            parts += [f"  {each}" for each in self.standing]
        if self.events:
            left_out = f" ({self.left_out} events that matter less left out)"
            parts += ["", f"What happened last{left_out if self.left_out else ''}:"]
            parts += [f"  {each}" for each in self.events]
        parts += ["", f"The checker saw: {self.violation}", "", "To see it again:"]
        parts.append(f"  {self.replay}")
        if self.replay_small:
            parts += ["in its small form:", f"  {self.replay_small}"]
        return "\n".join(parts)

    def _head(self) -> str:
        before = f"of the {self.directives_before} that the seed drew"
        if not self.directives:
            return f"It takes no fault at all ({before}, none is needed)."
        words = "Every one of these is needed" if self.smallest else "These suffice"
        return f"{words}, {before}:"


def explain(small: Minimised) -> Story:
    """Run it once more, with a trace, and explain what is seen."""
    report, options = small.report, small.options
    trace = Trace(keep="all")
    again = run_seed(report.seed, options, schedule=report.schedule, trace=trace)
    violation = again.violation or report.violation
    events = trace.events()
    lines, kept = chronicle(events, violation)
    done = carried_out(events, report.schedule)
    end_ms = events[-1]["at"] if events else 0.0
    healed = [Directive(round(each["at"]), "heal") for each in events if each["event"] == _HEALED]
    return Story(
        seed=report.seed,
        violation=violation,
        replay=replay_command(report.seed, small.options_before),
        replay_small=_small_command(small),
        directives=[instructed(each) for each in done],
        standing=standing(Schedule([*done, *healed]), end_ms),
        events=lines,
        left_out=len(events) - kept,
        directives_before=small.directives_before,
        smallest=small.complete,
    )


def _small_command(small: Minimised) -> str:
    options = small.options
    if not small.report.schedule:
        options = replace(options, faults=frozenset())  # nothing drawn: the same as an empty one
        return replay_command(small.report.seed, options)
    return f"{replay_command(small.report.seed, options)} --schedule {FILE}"


def replay_command(seed: int, options: RunOptions) -> str:
    """The command line that runs this seed with these options; defaults are left out."""
    words = [f"paxosctl sim run --seed {seed}"]
    usual = RunOptions()
    shown = ("nodes", "faults", "clients", "operations", "keys", "members", "watchers",
             "holders", "locks", "transactors", "rights", "level")  # fmt: skip
    for name in shown:
        value = getattr(options, name)
        if value == getattr(usual, name):
            continue
        if name == "faults":
            value = ",".join(sorted(value)) or "none"
        words.append("--members" if name == "members" else f"--{name} {value}")
    if options.duration_ms != usual.duration_ms:
        words.append(f"--duration {options.duration_ms}ms")
    return " ".join(words)


# -- which events matter


def select(events: Sequence[dict[str, Any]], violation: str) -> list[dict[str, Any]]:
    """Those that concern what the violation names, and those that move the whole cluster."""
    slots = {int(each) for each in _SLOT.findall(violation)}
    keys = {each.strip("'\"b") for each in _KEY.findall(violation)}
    return [each for each in events if _matters(each, slots, keys)]


def _matters(event: dict[str, Any], slots: set[int], keys: set[str]) -> bool:
    name = event["event"]
    if name.startswith(_NEVER):
        return False
    if any(word in name for word in _ALWAYS):
        return True
    if "slot" in event or "slots" in event:
        return not slots or bool(slots & set(_slots_of(event)))
    if "key" in event:
        return not keys or str(event["key"]).strip("'\"b") in keys
    return not slots and not keys


def _slots_of(event: dict[str, Any]) -> Iterable[int]:
    if type(event.get("slot")) is int:
        yield event["slot"]
    for each in event.get("slots") or ():
        if type(each) is int:
            yield each
        elif isinstance(each, list) and len(each) == 2:
            yield from range(each[0], min(each[1], each[0] + 1000) + 1)


def chronicle(
    events: Sequence[dict[str, Any]], violation: str, lines_max: int = LINES_MAX
) -> tuple[list[str], int]:
    """The lines of the events that matter, in order of time, and how many events they stand for. If
    there are more than ``lines_max``, the earliest are left out, messages before all others."""
    said: list[_Line] = []
    known: dict[str, _Line] = {}
    for event in select(events, violation):
        text = f"{event['node'] or '-':<4} {happened(event)}"
        talk = event["event"].startswith(_TALK)
        before = known.get(text)
        if before is not None and (talk or said[-1] is before):
            before.count += 1
        else:
            known[text] = _Line(event["at"], text, talk)
            said.append(known[text])
    for talk in (True, False):
        for entry in [each for each in said if each.talk is talk]:
            if len(said) > lines_max:
                said.remove(entry)
    return [str(entry) for entry in said], sum(entry.count for entry in said)


@dataclass(slots=True, eq=False)
class _Line:
    """One line of the story."""

    at_ms: float
    text: str
    talk: bool
    count: int = 1

    def __str__(self) -> str:
        times = f"  ({self.count} times)" if self.count > 1 else ""
        return f"{seconds(self.at_ms):>10}  {self.text}{times}"


# -- how things stood


def carried_out(events: Sequence[dict[str, Any]], schedule: Schedule) -> list[Directive]:
    """The directives as the trace has them: it names the leader of the time where the schedule
    says "the leader". Those that the run did not come to are left as they are."""
    done = [
        Directive(
            round(each["at"]),
            each["event"].removeprefix(_NEMESIS),
            each["node"],
            {key: value for key, value in each.items() if key not in {"at", "node", "event"}},
        )
        for each in events
        if each["event"].startswith(_NEMESIS)
    ]
    return [*done, *schedule.directives[len(done) :]]


def standing(schedule: Iterable[Directive], at_ms: float) -> list[str]:
    """What the directives up to then amount to: nodes that are down or paused, faults in force."""
    state = _Standing()
    for each in schedule:
        if each.at_ms <= at_ms:
            state.take(each, at_ms)
    return state.lines()


class _Standing:
    """The effect of a schedule, followed without a run."""

    def __init__(self) -> None:
        self.nodes: dict[str, str] = {}
        """Node → what is the matter with it as a process."""
        self.faults: dict[tuple[str, str], str] = {}
        """(node, rule name or verb) → the directive in words."""

    def take(self, directive: Directive, at_ms: float) -> None:
        verb, node, args = directive.verb, directive.node, directive.args
        if verb == "heal":
            self.nodes.clear()
            self.faults.clear()
        elif verb in {"crash", "wipe", "rollback"}:
            self.nodes[node] = f"{node or 'every node'} is down"
        elif verb == "pause":
            self.nodes[node] = f"{node or 'every node'} is paused"
        elif verb in {"restart", "resume"}:
            self.nodes = {name: what for name, what in self.nodes.items() if node and name != node}
        elif verb == "fault_add":
            for_ms = args.get("for_ms", 0)
            if not for_ms or directive.at_ms + for_ms > at_ms:
                self.faults[node, str(args.get("name"))] = instructed(directive)
        elif verb == "fault_rm":
            self.faults.pop((node, str(args.get("name"))), None)
        elif verb == "fault_clear":
            self.faults = {at: what for at, what in self.faults.items() if node and at[0] != node}
        elif verb == "client_heal":
            self.faults.pop((node, "client_cut"), None)
        elif verb in {"starve", "net", "disk", "client_cut", "clock_drift"}:
            self.faults[node, verb] = instructed(directive)

    def lines(self) -> list[str]:
        """One sentence each."""
        return [*self.nodes.values(), *(f"in force: {each}" for each in self.faults.values())]
