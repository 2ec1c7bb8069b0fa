"""Which life of each peer this node has heard, remembered for good, and which it may hear next.

A *life* is one start of one data directory: its boot count, and random bits drawn at each start.
A Hello carries the identity of that directory: it *introduces* the life.

    the known life            → heard
    more starts than known    → a new life: written down durably, then heard
    fewer starts              → a replay of old frames, or a disk that was wiped or rolled back
    as many, other bits       → a directory that was wiped or rolled back: two lives of one
                                memory, and what the first one promised the second does not know

Once a peer's directory is known, a new life is heard only after a Hello out of the same one: a
wiped directory that is started often enough has more starts, too. (A node that has started says
Hello to all, again and again until it is answered, so that this costs nothing.) Such a Hello
introduces its life only if

- its log, when it started, was no shorter than the highest *log mark* heard from that directory:
  every envelope carries the number of the last durable group of its sender's log. A directory
  that was put back to an earlier state, in this life or before, is found by that;
- it repeats the *challenge* that this node sent to the peer's address: a second copy of a running
  member elsewhere never gets to see it, and what was recorded before this start does not hold it;
- the known life has fallen silent for ``silence_ms``, or its connection has closed, or it did not
  repeat a new challenge for so long (frames of it that come late, or again, are no sign of life):
  of two that live under one name the one that is there goes on.

The membership *pins* each peer to what may speak for it:

    0    nothing but the rules above: a member of the configuration files
    D    directory D alone. Its first Hello is heard whatever life was known of another one: that
         other's promises were made under an earlier epoch (``core/admission.py``)
    -1   it has no vote, so any directory may: the one that said Hello last

What is not heard is not counted: a node that forgot its promises must not vote (Chandra,
Griesemer, Redstone, "Paxos Made Live", section 5.1). It may ask for what it lacks, though, and
report decisions, which are true whichever node reports them (this node's pins may be the older
ones): such messages are taken as of life 0. The memory is durable because the peer that remembers
may itself be restarted before the one that forgot comes back: a life before it is heard, here;
marks soon after, in the log (``wal.py``), with which they cost no sync of their own (docs/DATA.md
says what that leaves open). A life that the disk does not take (it is full, say) is not heard yet:
that costs the vote of the peer that has started anew, and neither this node nor any other peer. It
is tried again with a later Hello.
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
"""Of a heartbeat the node takes the commit index alone then; of a Welcome the challenge, without
which two that have both just started would wait for each other, and that something was lost."""


class _Heard(NamedTuple):
    """The last life heard of a peer, and the directory that it was introduced with; 0: none."""

    run_id: int
    directory_id: int


class _Contest(NamedTuple):
    """Two lives out of one directory: which one repeats ``challenge``, asked at ``since_ms``?
    ``answered``: the known one did."""

    challenge: int
    since_ms: float
    answered: bool


CONTEST_SILENCES = 8
"""A contest counts for so many times ``silence_ms``; then the known life has to answer anew."""
WRITE_AGAIN_MS = 1000.0
"""So long after a write that failed a peer's life is not written down: the loop waits for it."""
_NOBODY = _Heard(0, 0)


class PeerLives:
    """The last life heard of each peer, kept in ``DIR/peers`` (JSON: name → [life, directory]).

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
        """``pins``: see :meth:`set_peers`; a peer that it lacks is not pinned. ``marks``: as the
        own log remembers them. ``challenge``: of this start, 0: none is asked for."""
        self._home = home
        self._heard: dict[NodeId, _Heard] = _read(home) if home is not None else {}
        """Also of those who are no peers now: they may be again."""
        self.marks: dict[NodeId, Mark] = dict(marks or {})
        """The highest log mark heard from each peer, with its directory."""
        self.marks_news = True
        """Whether they have changed. Whoever keeps them sets it."""
        self._top: dict[NodeId, int] = {}
        """The same numbers, of the present directory of each peer alone."""
        self._challenge = challenge
        self._challenge_count = 0
        self._contests: dict[NodeId, _Contest] = {}
        self.unwritten: dict[NodeId, str] = {}
        """The peers whose new life could not be written down, and why not."""
        self._write_due_ms = float("-inf")
        self.may_replace = False
        """Whether a peer that is not pinned may come out of another directory than the known one:
        before anything can have been founded (``core/founding.py``)."""
        self.silence_ms = silence_ms
        """So long after it was last heard a life may be followed by another."""
        self.heard_ms: dict[NodeId, float] = {}
        """When each peer was last heard, in the time that :meth:`admit` is given."""
        self._pins: dict[NodeId, int] = {}
        self._current: dict[NodeId, int] = {}
        """The life of each peer that is heard without a question; 0: none."""
        pins = pins or {}
        self.set_peers({name: pins.get(name, 0) for name in peers})

    def set_peers(self, pins: Mapping[NodeId, int]) -> None:
        """Who the peers are from now on, and each one's pin: the directory that may vote in its
        name, 0: not pinned, -1: it has no vote."""
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
        """The last life heard of a peer; 0: none."""
        return self._heard.get(name, _NOBODY).run_id

    def goes_on(
        self, sender: NodeId, run_id: int, message: PeerMessage, log_mark: int, now_ms: float
    ) -> bool:
        """Whether a message is of the life that is heard and no introduction: then it is admitted,
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
        """The life to hand on with a message; 0: its sender may only learn; -1: it is refused.
        A new life is durable before this returns. ``old``: it is of a program that knows neither
        marks nor challenges."""
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
        """The connection to a peer broke: another life may take the place of the known one."""
        self.heard_ms.pop(name, None)
        self._contests.pop(name, None)

    def answer(self, sender: NodeId, run_id: int, message: PeerMessage) -> Welcome | None:
        """The answer to a peer that is not heard, or may only learn. One that says Hello gets how
        it is known here, so that it learns what it has lost, and the challenge. One that may be
        heard once it says Hello, and may believe that it has, is asked to say it again. (This
        node's memory of it may be new or put back to an earlier state, so that it knows an earlier
        life of a peer that takes itself for known here; or an old Hello of another directory came
        after its own.)"""
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
        """Whether this Hello is of another process out of a copy of the data directory of one that
        has just shown that it is alive."""
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
        """Whether this Hello is of a later start of the known directory that has forgotten nothing:
        only the challenge, or another life, is between it and its being heard."""
        hello = message.body
        heard = self._heard.get(message.sender, _NOBODY)
        return (
            isinstance(hello, Hello)
            and _introduces(heard, self._pins[message.sender], message.run_id, hello.directory_id)
            and hello.start_mark >= self._mark_of(message.sender)
        )

    def is_alive(self, name: NodeId, now_ms: float) -> bool:
        """Whether a frame of the known life of a peer came a moment ago."""
        heard_ms = self.heard_ms.get(name)
        return heard_ms is not None and now_ms - heard_ms < self.silence_ms

    def _gives_way(self, name: NodeId, now_ms: float) -> bool:
        """Whether the known life of a peer has ended, as far as can be known: another one has said
        Hello. If frames of it came a moment ago it is asked to repeat a new challenge."""
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
        """The highest log mark heard out of the present directory of a peer."""
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
        """Take a Hello in, if it may be heard."""
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
                # It has no vote, and what it voted for before decides nothing any more.
                self.marks[sender] = Mark(directory_id, hello.start_mark)
                self.marks_news = True
        elif sender in self._contests and hello.challenge == self._contests[sender].challenge:
            self._contests[sender] = self._contests[sender]._replace(answered=True)
        if run_id == heard.run_id and heard.directory_id and not (pin and directory_id):
            # A directory that finds its memory lost takes another identity while it runs: this
            # life goes on, and later ones wait for a pin.
            directory_id = heard.directory_id
        new = _Heard(run_id, directory_id)
        return new == heard or self._write(sender, new, now_ms)

    def _current_of(self, name: NodeId) -> int:
        heard = self._heard.get(name, _NOBODY)
        return (
            heard.run_id if self._pins[name] <= 0 or heard.directory_id == self._pins[name] else 0
        )

    def _write(self, name: NodeId, heard: _Heard, now_ms: float) -> bool:
        """Remember it: durably first. Whether that was done."""
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
    """Whether a Hello of ``life``, out of ``directory``, may be heard after ``heard``."""
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
        raise _damaged("no lives in it")
    return {name: _heard_of(name, entry) for name, entry in found.items()}


def _heard_of(name: NodeId, entry: Any) -> _Heard:
    if type(entry) is int:
        entry = [entry, 0]  # as an older program wrote it
    if not isinstance(entry, list) or len(entry) != len(_Heard._fields):
        raise _damaged(f"no life of {name}")
    if not all(type(number) is int and number >= 0 for number in entry):
        raise _damaged(f"no life of {name}")
    return _Heard(*entry)


def _damaged(what: str) -> IdentityError:
    return IdentityError(f"the file {FILE} of the data directory is damaged: {what}")
