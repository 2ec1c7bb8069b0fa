"""Safeguards of who may act: founding, epochs, log marks, restarts, two processes under one name.

See docs/ACTING.md. Some of these hold the same line twice; then both are removed, and the text says
so."""

from heapq import heappop
from unittest.mock import patch

from paxosd.bus.inbox import Inbox
from paxosd.core.admission import Admission
from paxosd.core.founding import Founding
from paxosd.core.genesis import Founder, Record
from paxosd.core.messages import Hello
from paxosd.storage import identity, peer_runs
from paxosd.storage.peer_runs import PeerRuns
from paxosd.storage.wal import Wal
from tests.bench.mutation import around, instead, row

# -- founding


def _found_alone_by_file(real, self):
    real(self)
    if self.alone and self.record is None:
        options = self._context.options
        members = {options.node: Founder(True, self._directory_id)}
        self.record = Record(options.cluster, members, self._settings)


def _see_no_difference(self, name, own, *, said=False):
    return "" if said or name in self._heard else "not heard yet"


def _judge_as_founded(real, self):
    with patch.object(self._founding, "active", False):
        return real(self)


_FOUNDING = (
    row("founds-by-file", "no file alone founds a cluster: its only node needs an explicit act",
        around(Founding, "tick", _found_alone_by_file), profiles="relics-grown", seed=396,
        in_suite=True),
    row("founds-though-files-differ", "a cluster is founded only if all proposals agree",
        instead(Founding, "_difference", _see_no_difference), profiles="first-files", seed=3,
        in_suite=True),
    row("newcomers-act", "a node that is not founded does not act",
        around(Admission, "_judge", _judge_as_founded), profiles="first-files relics relics-grown",
        seed=1, in_suite=True),
)  # fmt: skip


# -- the past


def _take_any_challenge(real, self, sender, run_id, hello, now_ms, old):
    hello = hello._replace(challenge=self._challenge_of(sender))
    return real(self, sender, run_id, hello, now_ms, old)


_ANY_CHALLENGE = around(PeerRuns, "_hear_hello", _take_any_challenge)

_PAST = (
    # Peers that know another life of it say so, too: both are removed.
    row("foreign-directory-acts", "only the directory that the membership names acts",
        instead(Admission, "_is_foreign", property(lambda self: False)),
        instead(Admission, "_knows_more", lambda self, *_: False),
        where="Admission._is_foreign, _knows_more", profiles="relics", seed=1),
    row("marks-not-compared", "a log that ends below what was heard of it has lost its memory",
        instead(PeerRuns, "_mark_of", lambda self, name: 0),
        where="PeerRuns, Admission._knows_more", profiles="rolled-back-greeted", seed=4,
        in_suite=True),
    row("marks-not-written", "what was heard of peers' logs outlasts a crash",
        instead(Wal, "note_heard", lambda self, marks: False), profiles="rolled-back-together",
        seed=3, in_suite=True),
    row("acts-uncompared", "nobody acts after a start before the others have compared it",
        instead(Admission, "_is_compared", lambda self: True), profiles="rolled-back-alone", seed=2,
        in_suite=True),
    row("challenge-ignored", "a new life repeats what was sent to the member's address",
        _ANY_CHALLENGE, profiles="doubled-stopped", seed=2, in_suite=True),
    # The challenge alone holds this line while the second process hears nothing: both are removed.
    row("silence-ignored", "a new life waits until the one that is heard falls silent",
        _ANY_CHALLENGE, instead(PeerRuns, "is_alive", lambda self, name, now_ms: False),
        where="PeerRuns.is_alive", profiles="doubled", seed=6, in_suite=True),
)  # fmt: skip

# -- what the simulator runs since it shares the daemon's inbox and assembly


def _answer_no_hello(real, self, sender, run_id, message):
    return None if type(message) is Hello else real(self, sender, run_id, message)


def _drop_what_is_due(self, taken, now_ms):
    while self.held and self.held[0][0] <= now_ms:
        heappop(self.held)


def _claim_unlost(real, *given, **named):
    return real(*given, **named)._replace(lost=False, repaired=False)


_RESTARTS = (
    row("hello-unanswered", "a Hello that is not heard is answered, with what is known and asked",
        around(PeerRuns, "answer", _answer_no_hello), seed=1, in_suite=True),
    row("known-runs-forgotten", "a restarted node knows which run of each peer it has heard",
        instead(peer_runs, "_read", lambda home: {}), profiles="rolled-back-together", seed=4,
        in_suite=True),
    row("held-back-dropped", "a message that was held back is admitted when it is due",
        instead(Inbox, "release", _drop_what_is_due), profiles="held-back", seed=7, in_suite=True),
    row("lost-memory-forgotten", "a restarted node knows that it lost its memory",
        around(identity, "claim", _claim_unlost), profiles="lost-logs", seed=246, in_suite=True),
)  # fmt: skip

ACTING = (*_FOUNDING, *_PAST, *_RESTARTS)
