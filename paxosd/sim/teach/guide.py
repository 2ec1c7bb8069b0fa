"""What the script of a lesson works with: a stage, words for the reader, claims that are checked.

lesson.play(guide) ──► Stage (real nodes, scripted trouble) ──► Happenings ──► Narrator
                   └─► guide.claim(...)  fails loudly if the protocol did otherwise
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from paxosd.core.commands import OPEN, PUT, Entry, Status
from paxosd.core.effects import WriteReply
from paxosd.core.types import NodeId, Slot
from paxosd.sim.teach.happenings import Happening
from paxosd.sim.teach.narrator import Narrator
from paxosd.sim.teach.narrator_2pc import TwoPhaseNarrator
from paxosd.sim.teach.narrator_paxos import PaxosNarrator
from paxosd.sim.teach.stage import Stage
from paxosd.sim.teach.story import Act, Check, Part, Remark, Table
from paxosd.sim.teach.two_phase_machines import Machines
from paxosd.sim.teach.values import show_value
from paxosd.sim.world.world import World

_GREETINGS = ("Hello", "Welcome")


class LessonError(AssertionError):
    """The protocol did not do what the lesson says it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """``shows``: what to look out for; ``moral``: what is to be remembered."""

    title: str
    shows: str
    moral: str
    source: str
    play: Callable[["Guide"], None]


class Guide:
    """What a lesson's script works with."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.world = World(f"teach/{seed}")
        self.parts: list[Part] = []
        self._heard: list[Happening] = []
        self._sent: dict[str, int] = {}
        self._explained: set[str] = set()
        self._hushed: set[str] = set(_GREETINGS)
        self._narrator: Narrator
        self._on: Stage | None = None
        self._disaster_expected = False

    # -- the stage

    def stage(self, *names: str, order: str = "") -> Stage:
        """Real nodes; ``order``: whose election timer runs out first (names separated by
        blanks)."""
        self._on = stage = Stage(self.world, names, self.hear, tuple(order.split()))
        self._narrator = PaxosNarrator(stage.quorums.phase2, self._explained, self._hushed)
        self._disaster_expected = False
        return stage

    def machines(self, *names: str) -> tuple[Machines, TwoPhaseNarrator]:
        """Machines that run Two-Phase Commit instead."""
        narrator = TwoPhaseNarrator(self._explained, self._hushed)
        self._narrator = narrator
        return Machines(self.world, names, self.hear), narrator

    @property
    def _stage(self) -> Stage:
        assert self._on is not None, "no stage yet"
        return self._on

    def start_over(self) -> None:
        """A new world of the same seed: the same will happen again, if the same is done."""
        self.show()
        self.world = World(f"teach/{self._seed}")

    def elect(self, name: NodeId) -> None:
        """Let the nodes find their leader, which must be this one."""
        stage = self._stage
        stage.run_while(lambda: any(stage.node(n).leader != stage.leader() or not stage.leader()
                                    for n in stage.up()))  # fmt: skip
        self.require(stage.leader() == name, f"{name} leads, as the timers were set")

    def open_session(self, client: str, to: NodeId) -> int:
        """The client's session; every node has applied that when this returns."""
        stage = self._stage
        reply = stage.reply(stage.write(client, to, Entry(0, 1, 0, [[OPEN]])))
        opened = reply.results[0] if isinstance(reply, WriteReply) else 0
        self.require(isinstance(opened, tuple) and opened[0] == Status.OK, "the session was opened")
        assert isinstance(reply, WriteReply)
        assert isinstance(opened, tuple)
        stage.run_until_applied(reply.slot, *stage.up())
        return int(opened[2])

    def settle(self, leader: NodeId, *clients: str) -> dict[str, int]:
        """Let the nodes find this leader, and each client open a session; nothing of it is shown.
        Returns the sessions by client."""
        self.elect(leader)
        sessions = {client: self.open_session(client, leader) for client in clients}
        self.pass_over()
        return sessions

    # -- the story

    def hear(self, happening: Happening) -> None:
        """Take note of something that happened."""
        if happening.kind == "send":
            kind = type(happening.body).__name__
            self._sent[kind] = self._sent.get(kind, 0) + 1
        self._heard.append(happening)

    def sent(self, kind: str) -> int:
        """How many messages of a kind have been sent so far."""
        return self._sent.get(kind, 0)

    def act(self, title: str) -> None:
        """What happened so far is shown; a new act begins."""
        self.show()
        self.parts.append(Act(title))

    def show(self, *, shown: bool = True) -> None:
        """Show what happened since the last time; if not ``shown`` the narrator alone hears it."""
        if self._heard:
            heard, self._heard = self._heard, []
            self.parts.extend(self._narrator.recount(heard, shown=shown))
            self._check_rules()

    def pass_over(self) -> None:
        """What happened since the last time is not shown."""
        self.show(shown=False)

    def expect_disaster(self) -> None:
        """This lesson means to show two values chosen for one slot."""
        self._disaster_expected = True

    def _check_rules(self) -> None:
        """What must hold at any time, in any lesson."""
        breach = self._narrator.breach
        if self._on is not None:
            if self._on.observer.conflicts and not self._disaster_expected:
                breach = f"two values were chosen for slot {self._on.observer.conflicts[0][0]}"
            breach = self._on.observer.breach or breach
        if breach:
            raise LessonError(breach)

    def hush(self, *kinds: str, greetings: bool = True) -> None:
        """From here on these messages and happenings are not shown, as there are too many; nor
        are the greetings at each start of a node, unless ``greetings`` is cleared."""
        self.show()
        self._hushed.clear()
        self._hushed.update(kinds, _GREETINGS if greetings else ())

    def remark(self, text: str) -> None:
        """Say what the script does now."""
        self.show()
        self.parts.append(Remark(text))

    def preface(self, text: str) -> None:
        """A remark ahead of what has happened and is not shown yet."""
        self.parts.append(Remark(text))
        self.show()

    def claim(self, holds: bool, text: str) -> None:
        """The text is true of what happened; raises LessonError if it is not."""
        self.show()
        self.require(holds, text)
        self.parts.append(Check(text))

    def require(self, holds: bool, text: str) -> None:
        """A claim that is not shown if it holds."""
        if not holds:
            self.show()  # a rule that was broken says more than a claim that failed
            raise LessonError(f"this did not hold: {text}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table of anything."""
        self.show()
        cells = tuple(tuple(str(cell) for cell in row) for row in rows)
        self.parts.append(Table(title, tuple(columns), cells))

    def memory(self, slot: Slot) -> None:
        """What each node's disk holds of one slot, and what it has applied. ``learned``: as
        chosen, by those that it did not vote with."""
        stage = self._stage
        observer = stage.observer
        rows = []
        for name in stage.names:
            held = (observer.accepted_at(name, slot), observer.learned_at(name, slot))
            value = stage.value_at(name, slot)
            rows.append((
                name,
                stage.node(name).role if name in stage.up() else "down",
                observer.promised_at(name).shown(),
                *(f"{each[0].shown()}: {show_value(each[1])}" if each else "-"
                  for each in held),
                "-" if value is None else show_value(value),
            ))  # fmt: skip
        self.table(
            f"What the nodes hold, at {self.world.now_ms:.1f} ms",
            ("node", "is", "promised", f"accepted in slot {slot}", "learned", "applied"),
            rows,
        )


def put(session: int, seq: int, key: str, value: str) -> Entry:
    """A client's write, the ``seq``-th of its session."""
    return Entry(session, seq, seq - 1, [[PUT, key.encode(), value.encode()]])
