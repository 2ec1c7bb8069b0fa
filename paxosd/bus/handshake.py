"""What becomes of the attempts to connect to one node: which key is expected next, and in words why
none is taken.

    connect, expecting a choice ──► STANDS: all is well
          ▲                    └──► refused ──► the next choice, at once
          └── after a pause, which doubles ◄──── all were tried: :attr:`Handshake.problem`

libzmq 4.3.5 reports on the monitor of the end that dials:

    MISMATCH   one end wants keys, the other has none; it does not dial again by itself
    AUTH       the other end does not take this key; nor does it then
    NO_DETAIL  the connection ended: the other end has another key than was expected, or has found
               a mismatch sooner than this one, or it is chance; it dials again. With EAGAIN, the
               errno of a read that found nothing: the other end was silent until HANDSHAKE_IVL, as
               a process is that was stopped, which says nothing of keys

No sockets here: their owner reports events, and connects them anew when that is due.
"""

import errno
import math

import zmq

from paxosd.bus.curve import PLAIN, NodeKeys
from paxosd.bus.monitors import STANDS
from paxosd.net.key_files import key_text

NO_DETAIL = int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
PROTOCOL = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
AUTH = int(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
FAILED = NO_DETAIL | PROTOCOL | AUTH
MISMATCH_VALUE = int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
CRYPTOGRAPHIC_VALUE = int(zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)

ENDED_TIMES = 4
"""Connections that end so often within their handshakes do so over the key."""
PAUSE_MS, PAUSE_MS_MAX = 250, 2000

REFUSED_KEY, OTHER_KEY, FOREIGN, WANTS_KEY, TAKES_NO_KEY, ENDS, UNKNOWN = (
    "key_refused", "other_key", "foreign", "wants_key", "takes_no_key", "ends", "no_key_known"
)  # fmt: skip
_MOST_TELLING = (REFUSED_KEY, OTHER_KEY, FOREIGN, WANTS_KEY, TAKES_NO_KEY, ENDS)
"""In this order: with a choice left the last three only mean that it was not this one."""


class Handshake:
    """The attempts to connect to one endpoint of one node."""

    def __init__(self, keys: NodeKeys | None, node: str, endpoint: str) -> None:
        """``keys``: of this node; None: it has none. ``node``: "" for one that is known by its
        endpoint alone, which has no choices but PLAIN."""
        self._keys = keys
        self._node = node
        self._endpoint = endpoint
        self._expected: bytes | None = None
        self._mismatched: set[bytes | None] = set()
        """The choices with which there was a mismatch, since a connection last stood."""
        self._ended = 0
        self._tried = 0
        self._found: set[str] = set()
        """Why the choices that were tried since the last pause were of no use."""
        self._pause_ms = PAUSE_MS
        self._due_ms = math.inf
        self.stands = False
        self.reason = ""
        """A word for why no choice is taken; "": some is, or none was tried."""

    @property
    def choices(self) -> tuple[bytes, ...]:
        """What may be expected of the other end, the first choice first."""
        return (PLAIN,) if self._keys is None else self._keys.choices(self._node)

    @property
    def expected(self) -> bytes | None:
        """What to expect with the next connect: a key, or PLAIN; None: do not connect, for no key
        of that node is known."""
        choices = self.choices
        if not choices:
            return None
        if self._expected not in choices:
            self._expected = choices[0]
        return self._expected

    def take(self, event: int, value: int, now_ms: float) -> None:
        """An event of the connection's monitor."""
        if event == STANDS:
            self.stands = True
            self._ended = self._tried = 0
            self._mismatched.clear()
            self._pause_ms, self._due_ms = PAUSE_MS, math.inf
            self._found.clear()
            self.reason = ""
        elif event in (PROTOCOL, AUTH):
            self._next(self._why(event, value), now_ms)
        elif event == NO_DETAIL and value != errno.EAGAIN:
            self._ended += 1
            if self._ended >= ENDED_TIMES:
                self._next(self._why(event, value), now_ms)

    def _why(self, event: int, value: int) -> str:
        if event == AUTH:
            return REFUSED_KEY
        if event == PROTOCOL and value != MISMATCH_VALUE:
            return FOREIGN
        if event == PROTOCOL:
            self._mismatched.add(self._expected)
        if self._expected == PLAIN:
            return WANTS_KEY if PLAIN in self._mismatched else ENDS
        return TAKES_NO_KEY if self._expected in self._mismatched else OTHER_KEY

    def _next(self, why: str, now_ms: float) -> None:
        self.stands = False
        self._found.add(why)
        self._ended = 0
        self._tried += 1
        choices = self.choices
        if self._expected in choices:
            place = choices.index(self._expected)
            self._expected = choices[(place + 1) % len(choices)]
        if self._tried < len(choices):
            self._due_ms = now_ms
            return
        self.reason = next(each for each in _MOST_TELLING if each in self._found)
        self._found.clear()
        self._tried = 0
        self._due_ms = now_ms + self._pause_ms
        self._pause_ms = min(2 * self._pause_ms, PAUSE_MS_MAX)

    def take_due(self, now_ms: float) -> bool:
        """Whether to connect anew now; asked again, not until another attempt has failed."""
        due = now_ms >= self._due_ms
        if due:
            self._due_ms = math.inf
        return due

    @property
    def why(self) -> str:
        """:attr:`reason`, or that no key of the node is known."""
        return self.reason if self.choices else UNKNOWN

    @property
    def problem(self) -> str:
        """Why there is no connection, and what to do, for people; "": nothing is known."""
        why = self.why
        return f"{self._node or 'the node'} at {self._endpoint} {self._words(why)}" if why else ""

    def _words(self, why: str) -> str:
        own = "" if self._keys is None else key_text(self._keys.public)
        return {
            WANTS_KEY: "wants a key, and this node has none: give it one, with [security] key_file",
            TAKES_NO_KEY: "takes no keys (it runs without [security]): give it a key, too; a "
            "cluster that runs is switched over by [security] rollout",
            OTHER_KEY: "proved itself by another key than this node expects: it is of another "
            "cluster, or its key was changed; compare it with [peers] of the trust file and "
            "paxosctl auth list (or it takes no keys)",
            REFUSED_KEY: f"does not know this node's key ({own}): it was revoked there, or never "
            "added; see [peers] of its trust file and paxosctl auth list",
            ENDS: "ends each connection within its handshake: it wants a key, or another program "
            "listens there",
            FOREIGN: "does not speak as a node does: another program listens there",
            UNKNOWN: "is not dialled: no key of it is known: it was revoked, or never added; see "
            "paxosctl auth list and [peers] of the trust file",
        }[why]
