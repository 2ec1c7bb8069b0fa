"""Golden transcripts: what a few nodes do, step by step, as a text that people read.

Each ``*.txt`` here is one scenario. It begins with a title and a few sentences: what to watch for,
and the section of the paper it shows. Then come commands, each on a line of its own that begins
with ``> ``. Below a command, indented, is what the nodes did: the driver runs the commands on real
nodes (``paxosd.core.node.Node``) and compares. If the core does anything else, the test fails.

    pytest tests/core/golden             compare
    pytest tests/core/golden --record    write anew what is below the commands; then read the diff

To add a scenario, write a file with title, text and commands, record it, and read what it says.

    > cluster of 3                       new nodes n1, n2, n3
    > cluster of 3, led by n1, with session 1      as after the first commands of election.txt
    > n1 campaigns                       its clock goes on until it asks for pre-votes
    > n1 waits 300 ms                    its clock goes on by so much; no other clock does
    > n2 loses its connection to n1      so that it does not wait for its leader any longer
    > deliver n1→n2 Prepare              the oldest such message arrives
    > deliver n1→n2                      all messages of that link that are on their way now
    > deliver to n2 / from n2 / all      and what follows from them, until nothing is left
    > drop n1→n2 Prepare                 the same for messages that get lost: n1→n2, to n2, from n2,
    > drop all                           all
    > n2's disk stalls / works again     what it should write waits
    > n2 crashes / starts                with what its disk has
    > n2's disk is replaced              while it is down: an empty one, of another identity
    > n4 joins                           a new node, which knows nobody but the first members
    > client opens a session at n1
    > client puts k=a at n1 (session 1, seq 1)
    > client reads k at n2               linearizable
    > admin makes n4 a learner at n1     also: a voter; "admin removes n4 at n1"
    > n1 hands over to n2
    > n1 takes a snapshot                and gives back the log up to it
    > show Heartbeat                     messages of this kind are hidden unless this was said
    > state                              one line for each node
    > quietly deliver all                any command, without what it does: for what leads up to it

``n1→n2 Promise …`` means: n1 sends this to n2; it is on its way until it is delivered. ``n1 writes
…`` means: this record is durable now. A ballot is ``2.n1``, the second round, of n1. A line that
begins with ``#`` is a remark.
"""

import re
from collections.abc import Callable
from pathlib import Path

from paxosd.core.commands import OPEN, PUT, Entry
from tests.core.changes import change_entry, changed
from tests.core.golden.stage import Stage, StageError

NODE = r"(n\d)"
LINES_BEFORE_ERROR = 25
COMMANDS: list[tuple[re.Pattern[str], Callable[..., None]]] = []


def command(pattern):
    """Register what a command line does; its groups are the arguments."""

    def register(function):
        COMMANDS.append((re.compile(pattern), function))
        return function

    return register


class Transcript:
    """A file in parts: ``preamble``, then steps of ``(remarks, command, recorded lines)``."""

    def __init__(self, text: str) -> None:
        lines = text.rstrip().split("\n")
        first = next(i for i, line in enumerate(lines) if line.startswith("> "))
        while first and lines[first - 1].startswith("#"):
            first -= 1
        self.preamble = "\n".join(lines[:first]).rstrip()
        self.steps: list[tuple[list[str], str, list[str]]] = []
        remarks: list[str] = []
        for line in lines[first:]:
            if line.startswith("#"):
                remarks.append(line)
            elif line.startswith("> "):
                self.steps.append((remarks, line[2:].strip(), []))
                remarks = []
            elif line.strip():
                self.steps[-1][2].append(line)
        assert not remarks, "a remark belongs above a command"

    def played(self) -> str:
        """The same file with what the nodes do now."""
        world = World()
        parts = [self.preamble, ""]
        for remarks, line, _ in self.steps:
            parts += ["", *remarks] if remarks else []
            parts.append(f"> {line}")
            try:
                parts += [f"    {each}" for each in world.play(line)]
            except StageError as error:
                before = "\n".join(parts[-LINES_BEFORE_ERROR:])
                raise StageError(f"{error}. What happened before:\n{before}") from None
        return "\n".join(parts) + "\n"


class World:
    """The nodes of one transcript; ``stage`` is there after ``cluster of …``."""

    def __init__(self) -> None:
        self.stage: Stage | None = None

    def play(self, line: str) -> list[str]:
        """Carry out one command; returns what happened, unless it is to be done quietly."""
        if line.startswith("quietly "):
            self.play(line.removeprefix("quietly "))
            return []
        for pattern, function in COMMANDS:
            found = pattern.fullmatch(line)
            if found:
                if function is not _cluster and self.stage is None:
                    raise StageError("a transcript begins with a cluster")
                try:
                    function(self, *found.groups())
                except StageError as error:
                    raise StageError(f"> {line}: {error}") from None
                assert self.stage is not None
                happened, self.stage.log = self.stage.log, []
                return happened
        raise StageError(f"> {line}: there is no such command")


def read(path: Path) -> Transcript:
    return Transcript(path.read_text())


@command(rf"cluster of (\d)(, led by {NODE}, with session 1)?")
def _cluster(world, size, led, leader):
    world.stage = stage = Stage(int(size), seed=1)
    stage.arrive_all()
    if led:
        stage.campaign(leader)
        stage.arrive_all()
        stage.submit(leader, Entry(0, 1, 0, [[OPEN]]))
        stage.arrive_all()
    stage.log = []


@command(rf"{NODE} campaigns")
def _campaigns(world, name):
    world.stage.campaign(name)


@command(rf"{NODE} waits (\d+) ms")
def _waits(world, name, ms):
    world.stage.wait(name, int(ms))


@command(rf"{NODE} loses its connection to {NODE}")
def _loses(world, name, peer):
    world.stage.node(name).peer_disconnected(peer)
    world.stage.turn(name)


@command(rf"deliver {NODE}→{NODE}(?: (\w+))?")
def _deliver(world, src, dst, kind):
    if kind:
        world.stage.arrive(src, dst, kind)
        return
    count = len(world.stage.links.get((src, dst), ()))
    if not count:
        raise StageError(f"nothing is on its way from {src} to {dst}")
    for _ in range(count):
        world.stage.arrive(src, dst)


@command(rf"deliver (?:to {NODE}|from {NODE}|all)")
def _deliver_all(world, dst, src):
    world.stage.arrive_all(src or "", dst or "")


@command(rf"drop {NODE}→{NODE} (\w+)")
def _drop(world, src, dst, kind):
    world.stage.take(src, dst, kind)


@command(rf"drop (?:{NODE}→{NODE}|to {NODE}|from {NODE}|all)")
def _drop_all(world, src, dst, only_dst, only_src):
    for link in world.stage.waiting(src or only_src or "", dst or only_dst or ""):
        world.stage.links[link].clear()


@command(rf"{NODE}'s disk stalls")
def _stalls(world, name):
    world.stage.stalled.add(name)


@command(rf"{NODE}'s disk works again")
def _works(world, name):
    world.stage.write_stalled(name)


@command(rf"{NODE} crashes")
def _crashes(world, name):
    world.stage.stop(name)


@command(rf"{NODE} starts")
def _starts(world, name):
    world.stage.begin(name)


@command(rf"{NODE}'s disk is replaced")
def _replaced(world, name):
    world.stage.wipe(name, directory_id=100 + int(name[1:]))


@command(rf"{NODE} joins")
def _joins(world, name):
    world.stage.join(name, directory_id=int(name[1:]))


@command(rf"client opens a session at {NODE}")
def _opens(world, name):
    world.stage.node(name)
    world.stage.submit(name, Entry(0, 1, 0, [[OPEN]]))


@command(rf"client puts (\w+)=(\w+) at {NODE} \(session (\d+), seq (\d+)\)")
def _puts(world, key, value, name, session, seq):
    world.stage.node(name)
    put = [PUT, key.encode(), value.encode()]
    world.stage.submit(name, Entry(int(session), int(seq), int(seq) - 1, [put]))


@command(rf"client reads k at {NODE}")
def _reads(world, name):
    world.stage.node(name)
    world.stage.read(name)


@command(rf"admin makes {NODE} a (learner|voter) at {NODE}")
def _makes(world, name, role, at):
    _change(world.stage, at, **{f"{role}s": [name]})


@command(rf"admin removes {NODE} at {NODE}")
def _removes(world, name, at):
    _change(world.stage, at, gone=[name])


def _change(stage, at, **what):
    present = stage.node(at).membership
    new = changed(stage, present, **what)
    stage.submit(at, change_entry(present.epoch, new.to_command()))


@command(rf"{NODE} hands over to {NODE}")
def _hands_over(world, name, heir):
    refusal = world.stage.node(name).hand_leadership_to(heir)
    if refusal:
        raise StageError(refusal)
    world.stage.turn(name)


@command(rf"{NODE} takes a snapshot")
def _snapshot(world, name):
    world.stage.compact(name)
    held = world.stage.members[name].snapshot
    world.stage.say(f"{name} has a snapshot as of slot {held[0].slot}, and no log up to there")


@command(r"show (\w+)")
def _show(world, kind):
    world.stage.shown.add(kind)


@command(r"state")
def _state(world):
    for line in world.stage.summary():
        world.stage.say(line)
