"""Which run of each peer this node has heard, remembered durably, and which it may hear next.

A *run* is one start of one data directory: its run_id holds the directory's boot count and random
bits that are drawn at each start. A Hello names the directory_id: it *introduces* the run. All
words are in docs/ACTING.md.

    the known run                → heard
    a higher boot count          → a new run: written down durably, then heard
    a lower boot count           → a replay of old frames, or a disk that was wiped or rolled back
    the same, other random bits  → a directory that was wiped or rolled back: two runs of one
                                   memory, and the second does not know what the first promised

Once a peer's directory is known, a new run is heard only after a Hello from the same directory: a
wiped directory that is started often enough has a higher boot count, too. (A node says Hello to all
peers after its start until they answer, so this costs nothing.) Such a Hello introduces its run
only if

- its log was, at the start, no shorter than the highest *log mark* heard from that directory. Every
  envelope holds the number of the last durable group of its sender's log, so a directory that was
  put back to an earlier state is noticed here;
- it repeats the *challenge* that this node sent to the peer's address. A second copy of a running
  member elsewhere never receives it, and a Hello that was recorded before this start does not
  hold it;
- the known run has been silent for ``silence_ms``, or its connection has closed, or it did not
  repeat a new challenge for that long. (Its frames that arrive late, or twice, do not count.) Of
  two processes under one name the one that is heard goes on.

The membership *pins* each peer to the directory that may speak for it:

    0    no pin, only the rules above: a member of the configuration files
    D    only directory D. Its first Hello is heard whatever run of another directory is known: the
         other one's promises were made under an earlier epoch (``core/admission.py``)
    -1   the peer has no vote, so any directory may: the one that said Hello last

What is not heard does not count: a node that forgot its promises must not vote (Chandra,
Griesemer, Redstone, "Paxos Made Live", section 5.1). Such a sender may still ask for what it
misses, and say what is decided, which is true whoever says it. Its messages get run_id 0.

The memory of runs is durable because this node may restart before the peer that forgot comes back.
A run is written down before it is heard; marks are written soon after, in the log (``wal.py``),
where they need no sync of their own (docs/DATA.md says what that leaves open). If the disk does not
take a run (it is full, for example), the run is not heard yet. That costs the vote of the peer that
has restarted, and nothing else. A later Hello tries again.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from paxosd.core.messages import (
    LEARNING_KINDS,
    Envelope,
    Heartbeat,
    Hello,
    PeerMessage,
    Welcome,
)
from paxosd.core.run_id import boot_count_of
from paxosd.core.types import Mark, NodeId
from paxosd.storage.disk import Disk
from paxosd.storage.identity import IdentityError
from paxosd.storage.small_files import read_file, write_file

FILE = "peers"

_HEARD_OF_ANYBODY = LEARNING_KINDS | {Heartbeat, Welcome}
"""Kinds that are handed on from a run that is not heard. Of a Heartbeat the node uses only the
commit index then. Of a Welcome it uses the challenge (without it, two nodes that have both just
started would wait for each other) and the fact that memory was lost."""


class _Heard(NamedTuple):
    """The last run heard of a peer, and the directory that it was introduced with; 0: none."""

    run_id: int
    directory_id: int


class _Contest(NamedTuple):
    """Two runs of one directory: which one repeats ``challenge``, sent at ``since_ms``?
    ``answered``: the known run did."""

    challenge: int
    since_ms: float
    answered: bool


CONTEST_SILENCES = 8
"""A contest counts for so many times ``silence_ms``; then the known run must answer again."""
WRITE_AGAIN_MS = 1000.0
"""After a failed write no run is written down for this long, because the loop waits for a write."""
_NOBODY = _Heard(0, 0)


class PeerRuns:
    """The last run heard of each peer, kept in ``DIR/peers`` (JSON: name → [run_id, directory_id]).

    ``home`` None: kept in memory only. Raises IdentityError for a damaged file, OSError.
    """

    def __init__(
        self,
        home: Disk | None,
        peers: Iterable[NodeId],
        pins: Mapping[NodeId, int] | None = None,
        *,
        marks: Mapping[NodeId, Mark] | None = None,
        challenge: int = 0,
        silence_ms: float = 0.0,
    ) -> None:
        """``pins``: see :meth:`set_peers`; a peer that is not in it has no pin. ``marks``: as this
        node's log remembers them. ``challenge``: the number of this run; 0: none is required."""
        self._home = home
        self._heard: dict[NodeId, _Heard] = _read(home) if home is not None else {}
        """Also of nodes that are no peers now: they may be peers again."""
        self.marks: dict[NodeId, Mark] = dict(marks or {})
        """The highest log mark heard from each peer, with its directory."""
        self.marks_news = True
        """Whether the marks have changed. The caller that writes them down sets it back."""
        self._top: dict[NodeId, int] = {}
        """The same numbers, only of the present directory of each peer."""
        self._challenge = challenge
        self._challenge_count = 0
        self._contests: dict[NodeId, _Contest] = {}
        self.unwritten: dict[NodeId, str] = {}
        """The peers whose new run could not be written down, and why not."""
        self._write_due_ms = float("-inf")
        self.may_replace = False
        """Whether a peer without a pin may use another directory than the known one: only while
        nothing can have been founded (``core/founding.py``)."""
        self.silence_ms = silence_ms
        """A run that was silent for this long may be followed by another one."""
        self.heard_ms: dict[NodeId, float] = {}
        """When each peer was last heard, in the time that :meth:`admit` is given."""
        self._pins: dict[NodeId, int] = {}
        self._current: dict[NodeId, int] = {}
        """The run of each peer whose messages are heard without further checks; 0: none."""
        pins = pins or {}
        self.set_peers({name: pins.get(name, 0) for name in peers})

    def set_peers(self, pins: Mapping[NodeId, int]) -> None:
        """The peers from now on, each with its pin: the directory that may vote in its name; 0: no
        pin; -1: it has no vote."""
        if pins != self._pins:
            self._pins = dict(pins)
            self._current = {name: self._current_of(name) for name in pins}
            self._top = {name: self._mark_of(name) for name in pins}
            for name in self.heard_ms.keys() - pins.keys():
                del self.heard_ms[name]
            for name in self.unwritten.keys() - pins.keys():
                del self.unwritten[name]

    def __contains__(self, name: NodeId) -> bool:
        return name in self._pins

    def known(self, name: NodeId) -> int:
        """The last run heard of a peer; 0: none."""
        return self._heard.get(name, _NOBODY).run_id

    def goes_on(
        self, sender: NodeId, run_id: int, message: PeerMessage, log_mark: int, now_ms: float
    ) -> bool:
        """Whether a message comes from the run that is heard, and is no Hello. Then it is admitted,
        as by :meth:`admit`."""
        if not run_id or run_id != self._current.get(sender) or type(message) is Hello:
            return False
        self.heard_ms[sender] = now_ms
        if log_mark > self._top[sender]:
            self._note_mark(sender, log_mark)
        return True

    def admit(
        self,
        sender: NodeId,
        run_id: int,
        message: PeerMessage,
        log_mark: int = 0,
        now_ms: float = 0.0,
        old: bool = False,
    ) -> int:
        """The run_id to hand on with a message; 0: its sender may only learn; -1: it is refused.
        A new run is durable before this returns. ``old``: the sender's program knows neither marks
        nor challenges."""
        if self.goes_on(sender, run_id, message, log_mark, now_ms):
            return run_id
        kind = type(message)
        if sender not in self._current:
            return -1
        if isinstance(message, Hello):
            if not run_id or not self._hear_hello(sender, run_id, message, now_ms, old):
                return -1
            self.heard_ms[sender] = now_ms
            return run_id
        heard = self._heard.get(sender, _NOBODY)
        unasked = old or not self._challenge
        if (
            unasked
            and not heard.directory_id
            and self._pins[sender] <= 0
            and _follows(run_id, heard.run_id)
        ):
            if not self._write(sender, _Heard(run_id, 0), now_ms):
                return -1
            self.heard_ms[sender] = now_ms
            return run_id
        return 0 if kind in _HEARD_OF_ANYBODY else -1

    def closed(self, name: NodeId) -> None:
        """The connection to a peer broke: another run may take the place of the known one."""
        self.heard_ms.pop(name, None)
        self._contests.pop(name, None)

    def answer(self, sender: NodeId, run_id: int, message: PeerMessage) -> Welcome | None:
        """The answer to a peer that is not heard, or may only learn; None: no answer. A Hello is
        answered with the known run, so that the peer finds out what it has lost, and with the
        challenge. A peer that would be heard after a Hello is asked for one. (It may believe that
        it is known: this node's memory of it may be new or put back to an earlier state, or an old
        Hello of another directory arrived after its own.)"""
        pin = self._pins.get(sender)
        if pin is None:
            return None
        heard = self._heard.get(sender, _NOBODY)
        if type(message) is Hello:
            mark, challenge = self._mark_of(sender), self._challenge_of(sender)
            return Welcome(*heard, mark=mark, challenge=challenge)
        if type(message) is Heartbeat:
            missed = heard.directory_id and boot_count_of(run_id) > boot_count_of(heard.run_id)
            if missed or (pin and pin != heard.directory_id):
                return Welcome(0, challenge=self._challenge_of(sender))
        return None

    def is_second(self, message: Envelope) -> bool:
        """Whether this Hello comes from a second process that uses a copy of the data directory of
        a run that has just shown that it is up."""
        hello = message.body
        heard = self._heard.get(message.sender, _NOBODY)
        contest = self._contests.get(message.sender)
        return (
            isinstance(hello, Hello)
            and contest is not None
            and contest.answered
            and message.run_id != heard.run_id
            and hello.directory_id == heard.directory_id
        )

    def is_waiting(self, message: Envelope) -> bool:
        """Whether this Hello comes from a later run of the known directory that has forgotten
        nothing: it will be heard once it repeats the challenge and no other run is up."""
        hello = message.body
        heard = self._heard.get(message.sender, _NOBODY)
        return (
            isinstance(hello, Hello)
            and _introduces(heard, self._pins[message.sender], message.run_id, hello.directory_id)
            and hello.start_mark >= self._mark_of(message.sender)
        )

    def is_alive(self, name: NodeId, now_ms: float) -> bool:
        """Whether a frame of a peer's known run arrived within ``silence_ms``."""
        heard_ms = self.heard_ms.get(name)
        return heard_ms is not None and now_ms - heard_ms < self.silence_ms

    def _gives_way(self, name: NodeId, now_ms: float) -> bool:
        """Another run has said Hello: whether the known run has ended, as far as can be known. If
        its frames still arrive, it must repeat a new challenge."""
        contest = self._contests.get(name)
        if contest is None or now_ms - contest.since_ms >= CONTEST_SILENCES * self.silence_ms:
            if not self.is_alive(name, now_ms):
                return True
            self._challenge_count += 1
            challenge = self._challenge + self._challenge_count if self._challenge else 0
            self._contests[name] = _Contest(challenge, now_ms, answered=False)
            return False
        return not contest.answered and now_ms - contest.since_ms >= self.silence_ms

    def _challenge_of(self, name: NodeId) -> int:
        contest = self._contests.get(name)
        return self._challenge if contest is None else contest.challenge

    # -- marks

    def _mark_of(self, name: NodeId) -> int:
        """The highest log mark heard from the present directory of a peer."""
        mark = self.marks.get(name)
        if mark is None or mark.directory_id != self._heard.get(name, _NOBODY).directory_id:
            return 0
        return mark.group

    def _note_mark(self, name: NodeId, log_mark: int) -> None:
        directory_id = self._heard.get(name, _NOBODY).directory_id
        self._top[name] = log_mark
        if directory_id:
            self.marks[name] = Mark(directory_id, log_mark)
            self.marks_news = True

    # -- introductions

    def _hear_hello(
        self, sender: NodeId, run_id: int, hello: Hello, now_ms: float, old: bool
    ) -> bool:
        """Whether a Hello is heard; then its run is written down."""
        self.unwritten.pop(sender, None)
        heard = self._heard.get(sender, _NOBODY)
        pin = self._pins[sender]
        directory_id = hello.directory_id
        replaced = self.may_replace and not pin and directory_id not in (0, heard.directory_id)
        if not replaced and not _introduces(heard, pin, run_id, directory_id):
            return False
        if run_id != heard.run_id:
            if not old and hello.challenge != self._challenge_of(sender):
                return False
            same = directory_id == heard.directory_id
            forgot = not old and hello.start_mark < self._mark_of(sender)
            if same and ((forgot and pin >= 0) or not self._gives_way(sender, now_ms)):
                return False
            if same and forgot:
                # The peer has no vote, and its earlier votes decide nothing any more.
                self.marks[sender] = Mark(directory_id, hello.start_mark)
                self.marks_news = True
        elif sender in self._contests and hello.challenge == self._contests[sender].challenge:
            self._contests[sender] = self._contests[sender]._replace(answered=True)
        if run_id == heard.run_id and heard.directory_id and not (pin and directory_id):
            # A node that finds its memory lost renews its directory's identity while it runs. The
            # run goes on to be heard; later runs wait for a pin.
            directory_id = heard.directory_id
        new = _Heard(run_id, directory_id)
        return new == heard or self._write(sender, new, now_ms)

    def _current_of(self, name: NodeId) -> int:
        heard = self._heard.get(name, _NOBODY)
        return (
            heard.run_id if self._pins[name] <= 0 or heard.directory_id == self._pins[name] else 0
        )

    def _write(self, name: NodeId, heard: _Heard, now_ms: float) -> bool:
        """Remember a run, durably first. Whether that was done."""
        changed = self._heard | {name: heard}
        if self._home is not None:
            if now_ms < self._write_due_ms:
                self.unwritten.setdefault(name, "the disk has just failed")
                return False
            try:
                write_file(self._home, FILE, json.dumps(changed, sort_keys=True) + "\n")
            except OSError as problem:
                self.unwritten[name] = problem.strerror or str(problem)
                self._write_due_ms = now_ms + WRITE_AGAIN_MS
                return False
        self.unwritten.pop(name, None)
        self._heard = changed
        self._contests.pop(name, None)
        self._current[name] = self._current_of(name)
        self._top[name] = self._mark_of(name)
        return True


def _introduces(heard: _Heard, pin: int, run_id: int, directory_id: int) -> bool:
    """Whether a Hello of this run, from this directory, may be heard after ``heard``."""
    if pin > 0 and directory_id != pin:
        return False
    if pin and directory_id and directory_id != heard.directory_id:
        return True  # pinned to it, or without a vote
    if run_id == heard.run_id:
        return True
    return heard.directory_id in (0, directory_id) and _follows(run_id, heard.run_id)


def _follows(run_id: int, known: int) -> bool:
    return run_id > 0 and (not known or boot_count_of(run_id) > boot_count_of(known))


def _read(home: Disk) -> dict[NodeId, _Heard]:
    try:
        found = json.loads(read_file(home, FILE))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as problem:
        raise _damaged(str(problem)) from None
    if not isinstance(found, dict):
        raise _damaged("no runs in it")
    return {name: _heard_of(name, entry) for name, entry in found.items()}


def _heard_of(name: NodeId, entry: Any) -> _Heard:
    if type(entry) is int:
        entry = [entry, 0]  # as an older program wrote it
    if not isinstance(entry, list) or len(entry) != len(_Heard._fields):
        raise _damaged(f"no run of {name}")
    if not all(type(number) is int and number >= 0 for number in entry):
        raise _damaged(f"no run of {name}")
    return _Heard(*entry)


def _damaged(what: str) -> IdentityError:
    return IdentityError(f"the file {FILE} of the data directory is damaged: {what}")
