"""Where a client sends: the endpoints that it knows, their states, and which comes next.

    IDLE ── Connect ──► CONNECTING ──► UP ──► DOWN ──► UP …
                             └── refused, or no connection in time ──► DOWN

One endpoint is the *target*: it is believed to lead, and every request that is not pinned to an
endpoint goes there. The target changes when an answer names another leader, or when it fails. An
endpoint that did not answer is *suspect* for a while: a hint that it leads is not followed.

Beside the endpoints that the user gave there are those that were learned: of a leader that an
answer named, and of the members. A learned one is forgotten once it is no member's, a given one
never.

What went wrong last with an endpoint is kept as its *trouble*, for a diagnosis.
"""

from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from paxosd.core.client.calls import NO_DEADLINE_MS


class EndpointState(Enum):
    """Of the connection, as the shell reports it."""

    IDLE = "idle"
    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"


UNREACHABLE = "unreachable"
"""Trouble: the connection was refused or lost, or did not come about in time."""
TOO_SLOW = "no connection within"
"""How the message of an UNREACHABLE begins if a connection was neither made nor refused in time."""
KEY_NEEDED = "key_needed"
"""Trouble: the node wants a key, and the client has none."""
KEYS_NOT_TAKEN = "keys_not_taken"
"""Trouble: the client has a key, and the node takes none."""
OTHER_KEY = "other_server_key"
"""Trouble: the node is not the one that the client's file of keys describes."""
KEY_UNKNOWN = "key_unknown"
"""Trouble: the node does not know the client's key, or no more."""
HANDSHAKE_REFUSED = frozenset({KEY_NEEDED, KEYS_NOT_TAKEN, OTHER_KEY, KEY_UNKNOWN})
"""What is tried again, but hardly gets better by itself."""
HANDSHAKE_PATIENCE_MS = 1000
"""How long a call waits where no endpoint can be reached, one of them for such a reason."""
NO_ANSWER = "no_answer"
"""Trouble: connected, but a request was not answered in time."""


class Trouble(NamedTuple):
    """What is wrong with one endpoint. ``code``: UNREACHABLE, one of HANDSHAKE_REFUSED, NO_ANSWER,
    a refusal code of :data:`paxosd.core.effects.REFUSALS`, or "" for nothing that was noticed."""

    endpoint: str
    state: EndpointState
    code: str
    message: str


class Endpoint:
    """One place to send to. ``since_ms``: when it entered its state. ``is_learned``: the user did
    not name it."""

    __slots__ = (
        "answered_ms", "code", "is_learned", "message", "name", "passes_on_to", "since_ms",
        "state", "suspect_until_ms",
    )  # fmt: skip

    def __init__(self, name: str, *, is_learned: bool = False) -> None:
        self.name = name
        self.is_learned = is_learned
        self.state = EndpointState.IDLE
        self.since_ms = 0
        self.suspect_until_ms = 0
        self.answered_ms = 0
        """When it last answered the request that was waited for."""
        self.code = ""
        self.message = ""
        self.passes_on_to = ""
        """The leader that this one passes writes on to, and that could not be reached itself."""

    def enter(self, state: EndpointState, now_ms: int) -> None:
        """Change state; staying in it does not move ``since_ms``."""
        if state is not self.state:
            self.passes_on_to = ""
            self.state = state
            self.since_ms = now_ms

    def trouble(self, code: str, message: str) -> None:
        """Note what went wrong last; ("", "") once it works again."""
        self.code = code
        self.message = message


class Endpoints:
    """The endpoints of one client, in the order in which they are tried.

    ``connects``: endpoints that the shell has to connect to; it clears the list.
    ``drops``: the same for connections that are not needed any more.
    """

    def __init__(self, names: Iterable[str], *, connect_timeout_ms: int, count_max: int) -> None:
        self.connects: list[str] = []
        self.drops: list[str] = []
        self._connect_timeout_ms = connect_timeout_ms
        self._count_max = count_max
        self._order = [Endpoint(name) for name in dict.fromkeys(names)]
        if not self._order:
            raise ValueError("a client needs at least one endpoint")
        self._by_name = {each.name: each for each in self._order}
        self._target = 0

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._order)

    @property
    def target(self) -> str:
        """Where writes go now."""
        return self._order[self._target].name

    def get(self, name: str, now_ms: int) -> Endpoint:
        """The endpoint of this name, known or new; if it has no connection, one is requested."""
        each = self._by_name.get(name)
        if each is None:
            each = self._add(Endpoint(name))
        return self._connect(each, now_ms)

    def find(self, name: str) -> Endpoint | None:
        """The endpoint of this name, if it is known."""
        return self._by_name.get(name)

    def choose(self, now_ms: int) -> Endpoint | None:
        """The target; if it is down, the next endpoint that is not, which becomes the target.

        It may still be connecting; then wait for it. None: all are down.
        """
        order = self._order
        for step in range(len(order)):
            index = (self._target + step) % len(order)
            each = order[index]
            if each.state is not EndpointState.DOWN:
                self._target = index
                return self._connect(each, now_ms)
        return None

    def follow(self, name: str, now_ms: int) -> bool:
        """Make the leader that a hint names the target, unless there is a reason to doubt it."""
        if not self.can_follow(name, now_ms):
            return False
        if name not in self._by_name:
            self._add(Endpoint(name, is_learned=True))
        self._target = self._order.index(self.get(name, now_ms))
        return True

    def can_follow(self, name: str, now_ms: int) -> bool:
        """Whether :meth:`follow` would accept this hint."""
        each = self._by_name.get(name)
        if each is None:
            return bool(name) and len(self._order) < self._count_max
        return each.state is not EndpointState.DOWN and now_ms >= each.suspect_until_ms

    def learn(self, names: Collection[str], in_use: Collection[str]) -> None:
        """These are the members' endpoints now: new ones are tried after all others. Forget
        learned ones that are not among them, unless they are ``in_use``."""
        kept = {*names, *in_use, self.target}
        for each in list(self._order):
            if each.is_learned and each.name not in kept:
                self._forget(each)
        for name in names:
            if name not in self._by_name and len(self._order) < self._count_max:
                self._add(Endpoint(name, is_learned=True))

    def move_on(self, name: str) -> None:
        """This endpoint failed: if it is still the target, the next one becomes the target."""
        if self._order[self._target].name == name:
            self._target = (self._target + 1) % len(self._order)

    def tick(self, now_ms: int) -> int:
        """Give up connections that take too long; returns when to look again."""
        due_ms = NO_DEADLINE_MS
        for each in self._order:
            if each.state is EndpointState.CONNECTING:
                at = each.since_ms + self._connect_timeout_ms
                if now_ms >= at:
                    each.enter(EndpointState.DOWN, now_ms)
                    waited = self._connect_timeout_ms
                    each.trouble(UNREACHABLE, f"{TOO_SLOW} {waited} ms")
                else:
                    due_ms = min(due_ms, at)
        return due_ms

    def all_down_since(self) -> int | None:
        """Since when no endpoint can be reached; None if one can, or may."""
        if any(each.state is not EndpointState.DOWN for each in self._order):
            return None
        return max(each.since_ms for each in self._order)

    def refused_handshake(self) -> Endpoint | None:
        """The first that ended the handshake for a reason that does not pass by itself."""
        return next((each for each in self._order if each.code in HANDSHAKE_REFUSED), None)

    def all_in(self, names: Collection[str]) -> bool:
        """Whether every endpoint that is not down is among these."""
        return all(each.state is EndpointState.DOWN or each.name in names for each in self._order)

    def troubles(self) -> list[Trouble]:
        """The diagnosis of each endpoint, except learned ones that were never used."""
        return [
            Trouble(each.name, each.state, each.code, each.message)
            for each in self._order
            if not each.is_learned or each.state is not EndpointState.IDLE
        ]

    def _add(self, each: Endpoint) -> Endpoint:
        self._order.append(each)
        self._by_name[each.name] = each
        return each

    def _forget(self, each: Endpoint) -> None:
        target = self._order[self._target]
        self._order.remove(each)
        self._target = self._order.index(target)
        del self._by_name[each.name]
        if each.state is EndpointState.IDLE:
            return
        if each.name in self.connects:
            self.connects.remove(each.name)
        else:
            self.drops.append(each.name)

    def _connect(self, each: Endpoint, now_ms: int) -> Endpoint:
        if each.state is EndpointState.IDLE:
            each.enter(EndpointState.CONNECTING, now_ms)
            self.connects.append(each.name)
        return each
