"""Turns what happened on a stage into sentences: which node sends what, and by which rule.

    Happenings ──► merge (one message to many is one step) ──► Step(text, why, source)

Each sentence is made from a message, a record or a notice that was really there. The reason
(``why``) stands at the first step of its kind in a lesson; later ones name the source alone.
Heartbeats and repairs of the vote stream are left out: there are too many. The words for each
protocol are in ``narrator_paxos.py`` and ``narrator_2pc.py``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from paxosd.core.types import Ballot, Slot
from paxosd.host.wording import listed
from paxosd.sim.teach.happenings import Happening
from paxosd.sim.teach.rules import RULES

QUIET = frozenset(
    ("Heartbeat", "HeartbeatAck", "Votes", "VotesRequest", "ReadIndex", "ReadIndexReply")
)
FATES = {"lose": "lost", "hold": "held", "cut": "cut"}
DOWN = "down"
_WIPED = {
    False: ("log", "Starts again, without the log that it had."),
    True: ("data directory", "Starts on an empty data directory, as if it were new."),
}
"""Whether all was wiped → what is gone, and the words for the next start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened. ``actor`` is the sender or the place; ``role`` is one of client,
    proposer, acceptor, learner, network, disk, observer, script."""

    at_ms: float
    actor: str
    role: str
    text: str
    """The words of the sender if ``message`` is set, else what happens."""
    note: str = ""
    """What became of the message, and what the observer adds."""
    to: tuple[str, ...] = ()
    message: str = ""
    ballot: str = ""
    slot: int | None = None
    why: str = ""
    source: str = ""


@dataclass(slots=True)
class Sending:
    """A message to one or more, and what became of it for each."""

    first: Happening
    to: list[str] = field(default_factory=list)
    fates: dict[str, str] = field(default_factory=dict)
    """The receivers that do not get it, and why not."""


@dataclass(slots=True)
class Draft:
    """A step in the making; ``rule`` names its reason."""

    role: str
    text: str
    rule: str = ""
    note: str = ""
    message: str = ""
    ballot: Ballot | None = None
    slot: Slot | None = None


class Narrator:
    """Remembers all that happened in a run, shown or not, so that it can refer to it.

    ``explained``: the rules whose reason was given already; ``hushed``: kinds of messages and
    happenings that are not shown for now. Both belong to the caller, who changes them.
    """

    remembers = "stable"
    """The rule by which a node knows after its start what it must not forget."""

    def __init__(self, explained: set[str], hushed: set[str]) -> None:
        self._explained = explained
        self._hushed = hushed
        self._down: set[str] = set()
        self._wiped: dict[str, str] = {}
        """Nodes whose disk was wiped, and the words for their next start."""
        self.breach = ""
        """What no node may ever do, if one did it: then the lesson must fail."""

    def recount(self, happenings: Iterable[Happening], *, shown: bool) -> list[Step]:
        """The steps of what happened; none if it is not to be shown."""
        steps = []
        for each in _merge(happenings):
            if isinstance(each, Sending):
                draft, first, to = self._sent(each), each.first, tuple(each.to)
            else:
                draft, first = self._event(each), each
                to = (each.to,) if each.kind == "release" else ()
            if draft is None or not shown:
                continue
            why, source = self._reason(draft.rule)
            steps.append(
                Step(
                    at_ms=round(first.at_ms, 1),
                    actor="observer" if draft.role == "observer" else first.node,
                    role=draft.role,
                    text=draft.text,
                    note=draft.note.strip(),
                    to=to,
                    message=draft.message,
                    ballot=draft.ballot.shown() if draft.ballot else "",
                    slot=draft.slot,
                    why=why,
                    source=source,
                )
            )
        return steps

    def _reason(self, rule: str) -> tuple[str, str]:
        if not rule:
            return "", ""
        why, source = RULES[rule]
        if rule in self._explained:
            return "", source
        self._explained.add(rule)
        return why, source

    def _sent(self, sent: Sending) -> Draft | None:
        kind = type(sent.first.body).__name__
        for name in sent.to:
            if name in self._down and name not in sent.fates:
                sent.fates[name] = DOWN
        draft = None if kind in QUIET else self._message(sent)
        if draft is None or kind in self._hushed:
            return None
        draft.message = kind
        draft.ballot = getattr(sent.first.body, "ballot", None)
        draft.note += _fates(sent)
        return draft

    def _event(self, happening: Happening) -> Draft | None:
        kind, body, node = happening.kind, happening.body, happening.node
        if kind == "release":
            name = type(body).__name__
            if name in QUIET:
                return None
            ballot = getattr(body, "ballot", None)
            which = f"{name} {ballot.shown()}" if ballot else name
            return Draft("network", f"The {which} that was held up goes on its way now.")
        if kind == "crash":
            self._down.add(node)
            self._forget(node, disk=False)
            return Draft("disk", "CRASHES. Only what its disk holds remains.")
        if kind == "wipe":
            self._forget(node, disk=True)
            what, self._wiped[node] = _WIPED[happening.detail["whole"]]
            return Draft("disk", f"ITS {what.upper()} IS EMPTY: promises and votes are gone.")
        if kind == "start":
            self._down.discard(node)
            if node in self._wiped:
                return Draft("disk", self._wiped.pop(node))
            return Draft("disk", "Starts again, with what its disk holds.", self.remembers)
        draft = self._other(happening)
        return None if kind in self._hushed else draft

    # -- the words of one protocol

    def _message(self, sent: Sending) -> Draft | None:
        """What a message says; None: it is not shown."""
        raise NotImplementedError

    def _other(self, happening: Happening) -> Draft | None:
        """What else happened, arrivals included; None: it is not shown."""
        raise NotImplementedError

    def _forget(self, node: str, *, disk: bool) -> None:
        """A node lost its memory, and its disk as well if ``disk``."""


def _merge(happenings: Iterable[Happening]) -> list[Happening | Sending]:
    """One message to many becomes one; what the network does to it at once, too."""
    merged: list[Happening | Sending] = []
    for each in happenings:
        last = merged[-1] if merged else None
        if each.kind == "send":
            if (
                isinstance(last, Sending)
                and last.first.node == each.node
                and last.first.at_ms == each.at_ms
                and last.first.body == each.body
            ):
                last.to.append(each.to)
            else:
                merged.append(Sending(each, [each.to]))
        elif each.kind in FATES:
            if (
                isinstance(last, Sending)
                and last.to[-1] == each.to
                and last.first.body == each.body
            ):
                last.fates[each.to] = FATES[each.kind]
        else:
            merged.append(each)
    return merged


def _fates(sent: Sending) -> str:
    by_fate: dict[str, list[str]] = {}
    for name, fate in sent.fates.items():
        by_fate.setdefault(fate, []).append(name)
    words = {
        "lost": "LOST on the way to {}.",
        "held": "HELD UP on the way to {}.",
        "cut": "The cut keeps it from {}.",
        DOWN: "({} is down.)",
    }
    return "".join(
        " " + words[fate].format(listed(sorted(names))) for fate, names in by_fate.items()
    )
