"""The timed part of ``paxosctl fault run``: adds faults when they are due, takes them back, and
heals the cluster at the end, whatever happened.

What is added carries an end of its own, a little after the planned one, so that a cluster heals
by itself should this program be killed.
"""

import heapq
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from paxosctl.cli.survey import NodeView, ask_all, survey
from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError, RefusedError
from paxosctl.faultrun.nodes import NoSuchNodeError, add_everywhere, ask, holders, resolve, took
from paxosctl.faultrun.plan import FaultScript, Step
from paxosctl.faultrun.view import how, where

GRACE_MS = 5000
HEAL_S = 15.0
"""How long a node that does not answer is waited for, to be healed."""
_ASK_S = 0.6
_SCOPE = ("from", "to", "on")

Say = Callable[[float, str], None]
"""Takes the time since the start in s, and what happens."""


@dataclass(slots=True)
class Incident:
    """One fault as it was: ``hits`` as far as nodes could report them; ``note``: anything else."""

    at_s: float
    name: str
    kind: str
    where: str
    how: str = ""
    hits: int = 0
    note: str = ""
    at: list[str] = field(default_factory=list)
    """The nodes that have the rule."""


class Timeline:
    """Carries out the steps of a plan. Use it from one thread; :meth:`heal` always."""

    def __init__(self, client: Client, script: FaultScript, say: Say) -> None:
        self.happened: list[Incident] = []
        self.waited_for: list[str] = []
        """Nodes that the healing had to wait for, with how long."""
        self._client = client
        self._script = script
        self._say = say
        self._order = itertools.count()
        self._due: list[tuple[float, int, Step | str]] = []
        """When, in which order, and what: a step begins, or the rule of that name ends."""
        self._names: dict[str, int] = {}
        self._live: dict[str, Incident] = {}
        self._began_s = time.monotonic()
        self._endpoints: dict[str, str] = {}
        for step in script.steps:
            self._plan(step.at_ms / 1000, step)

    @property
    def now_s(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began_s

    def run(self, look: Callable[[], None]) -> None:
        """Until the end of the plan. ``look`` is called between the steps; it may raise. A step
        that a machine without time did not come to is reported as not done."""
        self._survey()
        self._began_s = time.monotonic()
        end_s = self._script.duration_ms / 1000
        while (now_s := self.now_s) < end_s:
            if self._due and self._due[0][0] <= now_s:
                what = heapq.heappop(self._due)[2]
                if isinstance(what, str):
                    self._end(what)
                else:
                    self._act(what)
                continue
            look()
            next_s = min(end_s, self._due[0][0] if self._due else end_s)
            time.sleep(max(0.0, min(next_s - now_s, 0.1)))  # till the next step is due
        for at_s, _, what in sorted(self._due):
            if isinstance(what, Step) and at_s < end_s:
                self._not_done(what, "the time of the plan was over")

    def heal(self) -> list[str]:
        """Take every fault from every node; what could not be done, in words. A node that does
        not answer is waited for, as it may be paused or starting."""
        for name in list(self._live):
            self._end(name)
        began_s = time.monotonic()
        give_up_s = began_s + HEAL_S
        left = dict(self._endpoints)
        waited: dict[str, float] = {}
        said = False
        while left:
            answers = self._ask_all(left)
            left = {name: at for name, at in left.items() if not answers[name]}
            waited |= dict.fromkeys(left, time.monotonic() - began_s)
            if not left or time.monotonic() >= give_up_s:
                break
            if not said:
                self._say(self.now_s, f"waiting for {', '.join(left)}")
                said = True
            time.sleep(0.2)  # between two tries; there is nothing to wait on
        self.waited_for += [
            f"{name} to answer, {waited_s:.1f} s" + (", in vain" if name in left else "")
            for name, waited_s in waited.items()
        ]
        return [f"{name} does not answer: it is down, or still to be healed" for name in left]

    # -- steps

    def _plan(self, at_s: float, what: Step | str) -> None:
        heapq.heappush(self._due, (at_s, next(self._order), what))

    def _act(self, step: Step) -> None:
        try:
            views = self._survey()
            with self._briefly():
                if step.args is None:
                    self._crash(step, views)
                else:
                    self._add(step, step.args, views)
        except (ClientError, NoSuchNodeError) as error:
            self._not_done(step, str(error))

    def _not_done(self, step: Step, why: str) -> None:
        self._say(self.now_s, f"{step.name}: not done: {why}")
        self.happened.append(Incident(self.now_s, step.name, "", "", note=f"not done: {why}"))

    def _add(self, step: Step, planned: dict[str, Any], views: list[NodeView]) -> None:
        args = dict(planned)
        for key in _SCOPE:
            if isinstance(args.get(key), str):
                args[key] = resolve(args[key], views)
        args["name"] = self._fresh(step.name)
        lasts_ms = step.for_ms or max(0, self._script.duration_ms - int(self.now_s * 1000))
        args["for_ms"] = lasts_ms + GRACE_MS
        at = holders(args, views)
        answers = add_everywhere(self._client, at, args)
        happened = Incident(self.now_s, args["name"], args["kind"], where(args), how(args))
        happened.at = [name for name, answer in answers.items() if took(answer)]
        missed = [view.name for view in at if view.name not in happened.at]
        if missed:
            happened.note = f"not at {', '.join(missed)}"
        self.happened.append(happened)
        self._live[args["name"]] = happened
        words = f"{happened.name}: {happened.kind} {happened.where} {happened.how}".rstrip()
        self._say(self.now_s, f"{words} ({happened.note})" if missed else words)
        if step.for_ms:
            self._plan(self.now_s + lasts_ms / 1000, args["name"])

    def _crash(self, step: Step, views: list[NodeView]) -> None:
        name = resolve(step.on, views)
        view = next((each for each in views if each.name == name and each.status), None)
        if view is None:
            raise NoSuchNodeError(f"{name} is down already")
        seen = ask(self._client, [view], "fault_list", {})[name]
        self._client.admin("fault_crash", endpoint=view.endpoint)
        self._keep_hits(seen.body.get("rules", ()) if took(seen) else ())
        self.happened.append(Incident(self.now_s, self._fresh("crash"), "crash", name, hits=1))
        self._say(self.now_s, f"crash: {name}")

    def _keep_hits(self, rules: Iterable[dict[str, Any]]) -> None:
        """Count what rules did at a node that is dead by now, and cannot be asked any more."""
        for rule in rules:
            happened = self._live.get(rule["name"])
            if happened is not None:
                happened.hits += rule["hits"]

    def _end(self, name: str) -> None:
        happened = self._live.get(name)
        if happened is not None:
            self._collect(name)
            words = f"{name}: over, {happened.hits} hits"
            self._say(self.now_s, f"{words} ({happened.note})" if happened.note else words)

    def _collect(self, name: str) -> None:
        """Remove a rule where it was added, and count its hits."""
        happened = self._live.pop(name)
        endpoints = {self._endpoints[node]: node for node in happened.at}
        with self._briefly():
            answers = ask_all(self._client, endpoints, "fault_rm", {"name": name})
        happened.hits += sum(answer.body.get("hits", 0) for answer in answers.values())
        # The count of a node that died is lost, except for what was asked for before a crash.
        died = {at for at, answer in answers.items() if isinstance(answer.error, RefusedError)}
        silent = {at for at, answer in answers.items() if answer.error is not None} - died
        notes = [happened.note] if happened.note else []
        notes += [f"{endpoints[at]} died" for at in sorted(died)]
        notes += [f"{endpoints[at]} does not answer" for at in sorted(silent)]
        happened.note = ", ".join(notes)
        if happened.kind in _SILENCING:
            happened.hits = max(happened.hits, len(died | silent))

    def _fresh(self, name: str) -> str:
        """The name, with a number from its second use on."""
        self._names[name] = count = self._names.get(name, 0) + 1
        return name if count == 1 else f"{name[:58]}-{count}"

    # -- nodes

    def _survey(self) -> list[NodeView]:
        with self._briefly():
            views = survey(self._client)
        for view in views:
            if view.status is not None:
                self._endpoints[view.name] = view.endpoint
        return views

    def _ask_all(self, endpoints: dict[str, str]) -> dict[str, bool]:
        """Clear the faults of these nodes; node → whether it has done so."""
        with self._briefly():
            answers = ask_all(self._client, endpoints.values(), "fault_clear")
        return {name: answers[at].error is None for name, at in endpoints.items()}

    @contextmanager
    def _briefly(self) -> Iterator[None]:
        """A node that is down or paused must not hold up the plan."""
        timeout_s, self._client.timeout_s = self._client.timeout_s, _ASK_S
        try:
            yield
        finally:
            self._client.timeout_s = timeout_s


_SILENCING = frozenset({"crash", "pause", "torn-write", "fsync-error", "disk-full"})
"""After a hit of one of these the node cannot report it: its silence is the hit."""


def rules_present(client: Client, views: list[NodeView]) -> dict[str, list[str]]:
    """Node → the names of the rules that it has."""
    answers = ask(client, views, "fault_list", {})
    found = {
        name: [rule["name"] for rule in answer.body.get("rules", ())]
        for name, answer in answers.items()
    }
    return {name: names for name, names in found.items() if names}
