"""The watcher's half of the watch protocol, sans-IO: it never skips a change in silence.

The shell (``paxosctl/client/watch.py``, or a simulated watcher) owns the sockets and the clock.
For each :class:`Connect` it drops the old pair of sockets and makes a new one to the next node:

    SUB    ── subscribe kv/P, then progress/P (in this order) ──► events endpoint
    DEALER ── HistoryRequest ──► client endpoint ── HistoryAnswer | RefusalAnswer ──►

and it calls :meth:`WatchState.on_event`, :meth:`~WatchState.on_answer` and
:meth:`~WatchState.on_tick`, which return the effects to carry out, in order. A shell that asks the
node which history it has calls :meth:`~WatchState.on_identity` before it subscribes.

The rules:

1. ``complete_to``: every change of the watched range with a revision up to it was delivered.
   It never goes down. A change at or below it is never delivered again.
2. A change says what comes before it (see ``wire/events.py``): the revision of the change of P
   before it, and how many of its own revision. It is delivered live only if that revision is at
   or below ``complete_to`` and exactly those of its own were delivered. Both are facts of the
   log, so it does not matter from which node or run of a node, how late, how often, or in which
   order messages come: a message that is not the next one is never taken for it.
3. A change or a progress message that names a change which was not delivered starts a pull of
   the history from ``complete_to + 1``. Live messages wait in a bounded buffer meanwhile; what
   the buffer loses is a gap like any other. A pull that finds the history compacted goes to the
   next node: below feature level 4 each node keeps what it has published, and one that took over
   a snapshot has none of that. Once all nodes have refused it the watch ends.
4. A revision that removes many keys makes many messages, in order of the keys. As long as a
   revision is not complete, its delivered changes are counted and the last key is kept, so that a
   pull, or another node, gives the rest once. A page of history may end within such a revision,
   too (SPLIT in ``core/requests.py``).
5. A node that is silent, that is out of contact with its leader, or that does not answer a pull is
   left for another; the watch goes on from ``complete_to + 1``.
6. Nodes of version 0.1 number the messages of P instead. ``anchor`` is the number of the last one
   known to be covered: a change is the next one only if its number is exactly ``anchor + 1``, and
   messages of another node, or of another run of it, have no anchor yet.
7. A client that may not listen to a node asks it for the history again and again, sooner after
   changes than after none, and by a stale read how old its state is.
8. A watch is of one cluster and of one history of it. If a cluster was founded anew, or restored
   from an earlier snapshot, the same revisions stand for other changes: the watch ends. The number
   of the founding shows it; so do nodes whose state is fresh and whose newest revision stays below
   ``complete_to``.

Rules 1, 2, 4 and 6 are kept in ``delivery_order.py``, the others here.

Changes of one watch come in order of revision, each exactly once. A watcher that itself dies
resumes from :attr:`WatchState.resume_revision`.
"""

from paxosd.core.client.cluster_info import ClusterInfo
from paxosd.core.client.delivery_order import DeliveryOrder, Event
from paxosd.core.client.held_events import HeldEvents
from paxosd.core.client.watch_effects import (
    FAILED_CLUSTER,
    FAILED_HISTORY,
    Ask,
    Connect,
    Effect,
    Fail,
    Pull,
    WatchOptions,
    deliver,
)
from paxosd.core.commands import Change, ChangeOf
from paxosd.core.effects import COMPACTED, FORBIDDEN, INVALID
from paxosd.core.events import ProgressEvent
from paxosd.core.requests import (
    COUNT,
    PREVIOUS,
    SPLIT,
    STALE,
    HistoryAnswer,
    HistoryRequest,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
)

_ANEW = "it was restored from an earlier snapshot, or founded anew"
_FATAL = frozenset({INVALID, FORBIDDEN})


class WatchState:
    """One watch of one key (``prefix=False``) or of every key with a prefix.

    ``from_revision``: the first revision wanted; None: what is applied at the node at the
    moment of the first contact, exclusive. ``history``: the number of the founding that it is of;
    "": that of the first node that says one. ``prev``: each change is to come with the key as it
    was before. Messages do not have that: they only start pulls then, and a pull gives all that
    came meanwhile. Call :meth:`start` once, then feed inputs.
    """

    def __init__(
        self,
        key: bytes,
        *,
        prefix: bool = False,
        from_revision: int | None = None,
        history: str = "",
        prev: bool = False,
        options: WatchOptions | None = None,
    ) -> None:
        self.key = key
        self.prefix = prefix
        self.prev = prev
        self.history = history
        self.options = options or WatchOptions()
        complete_to = -1 if from_revision is None else max(from_revision, 1) - 1
        self._order = DeliveryOrder(key, prefix=prefix, complete_to=complete_to)
        self.attempt = 0
        self.live = False
        self.failed: Fail | None = None
        self.pulls = 0
        self.gaps = 0
        self._cluster = ""
        self._origin = ""  # of the cluster of the present node, in words
        self._held = HeldEvents(self.options.buffer_messages_max, self.options.buffer_bytes_max)
        self._request: HistoryRequest | None = None
        self._next_request_id = 1
        self._target = 0
        self._pull_due_ms: int | None = None
        self._heard_ms = 0
        self._stale_since_ms: int | None = None
        self._ahead: tuple[int, int] | None = None  # complete_to, and since when nodes are behind
        self._connected_ms = 0
        self._connect_due_ms: int | None = None
        self._connect_reason = ""
        self._failures = 0
        self._node = ""  # of this attempt, as it says
        self.polls = False
        """Whether the present node sends no events, so that it is asked again and again."""
        self._poll_pause_ms = 0
        self._age_due_ms: int | None = None
        self._age_id = 0  # of the last question how old its state is
        self._age_asked_ms: int | None = None  # when that was asked; None: it is answered
        self._misses: list[RefusalAnswer] = []
        """The refusals of nodes that keep or give too little, since missed changes were given."""

    # -- what the shell asks ------------------------------------------------------------------

    @property
    def topics(self) -> tuple[bytes, bytes]:
        """What to subscribe to, in this order: the subscription to the changes must be in force
        before the first progress message arrives."""
        return b"kv/" + self.key, b"progress/" + self.key

    @property
    def complete_to(self) -> int:
        """Every change with a revision up to this was delivered; -1: not known yet."""
        return self._order.complete_to

    @property
    def cluster(self) -> str:
        """The cluster of this watch; "" before the first contact. The shell must make sure that a
        pull is answered by the same cluster."""
        return self._cluster

    @property
    def resume_revision(self) -> int | None:
        """A later watch from this revision misses nothing; it can repeat changes of one
        revision that was being delivered. None before the first contact of a watch "from now"."""
        return None if self.complete_to < 0 else self.complete_to + 1

    @property
    def failures(self) -> int:
        """Failed attempts since a node was last in order, for a shell that gives up some time."""
        return self._failures

    def next_due_ms(self) -> int | None:
        """When to call :meth:`on_tick` at the latest; None once the watch has failed."""
        if self.failed is not None:
            return None
        if self._connect_due_ms is not None:
            return self._connect_due_ms
        dues = (self._silent_at_ms(), self._pull_due_ms, self._age_due_ms)
        return min([due for due in dues if due is not None])

    def _silent_at_ms(self) -> int | None:
        """When the node is to be left for its silence. One that is asked may be silent between
        questions: nobody asks while the user of the watch does something else."""
        since_ms = self._age_asked_ms if self.polls else self._heard_ms
        return None if since_ms is None else since_ms + self.options.silence_ms

    # -- inputs -------------------------------------------------------------------------------

    def start(self, now_ms: int) -> list[Effect]:
        """The first connection. ``now_ms`` is any clock that never goes backward."""
        assert self.attempt == 0, "a watch starts once"
        return self._connect(now_ms, "")

    def on_tick(self, now_ms: int) -> list[Effect]:
        """Leaves a node after silence or an unanswered pull; connects again after the back-off."""
        if self.failed is not None:
            return []
        if self._connect_due_ms is not None:
            if now_ms < self._connect_due_ms:
                return []
            return self._connect(now_ms, self._connect_reason)
        silent_at_ms = self._silent_at_ms()
        if silent_at_ms is not None and now_ms >= silent_at_ms:
            waited = f"{self.options.silence_ms / 1000:g} s"
            what = "answer" if self.polls else "progress message"
            return self._leave(now_ms, f"no {what} for {waited}")
        effects: list[Effect] = []
        if self._age_due_ms is not None and now_ms >= self._age_due_ms:
            effects.append(self._ask_age(now_ms))
        if self._pull_due_ms is not None and now_ms >= self._pull_due_ms:
            if self._request is not None:
                return self._leave(now_ms, "no answer to a request for missed changes")
            effects.append(self._pull(now_ms))
        return effects

    def on_disconnect(self, attempt: int, reason: str, now_ms: int) -> list[Effect]:
        """The connection was refused or broke."""
        if not self.is_current(attempt):
            return []
        return self._leave(now_ms, reason)

    def on_identity(self, attempt: int, info: ClusterInfo, now_ms: int) -> list[Effect]:
        """The node of this attempt has said of which cluster and which history it is. Fails the
        watch if that is another one; leaves a node that does not know its history yet."""
        cluster, node, history = info.cluster, info.node, info.history
        if not self.is_current(attempt):
            return []
        self._origin, self._node = info.origin, node
        if self._cluster and cluster != self._cluster:
            return self._fail_cluster(cluster, node)
        self._cluster = cluster
        if self.history and history == "":
            return self._leave(now_ms, f"node {node} has not heard yet which history it is of")
        if self.history and history and history != self.history:
            return self._fail(
                FAILED_HISTORY,
                f"node {node} has another history of cluster {cluster!r} than this watch began on "
                f"({history}, not {self.history}): {self._whence()}. Read the present state, then "
                "watch from its revision on",
                0,
            )
        self.history = self.history or history or ""
        return []

    def on_event(self, attempt: int, cluster: str, event: Event, now_ms: int) -> list[Effect]:
        """A decoded message of the SUB socket; ``cluster`` is the one named in its envelope."""
        if not self.is_current(attempt):
            return []
        if isinstance(event, ProgressEvent) and event.prefix != self.key:
            return []  # progress/a is a ZeroMQ prefix of progress/ab, another watcher's
        if self._cluster and cluster != self._cluster:
            return self._fail_cluster(cluster, event.node)
        self._cluster = cluster
        self._heard_ms = now_ms
        if isinstance(event, ProgressEvent):
            if ended := self._judge(event, event.node, now_ms):
                return ended
        elif self.complete_to < 0:
            return []  # a watch "from now" that does not know the present revision yet
        if self._pulling():
            self._held.add(event)
            return []
        effects: list[Effect] = []
        self._take_in_order(event, effects, now_ms)
        return effects

    def _judge(self, said: ProgressEvent | ReadAnswer, node: str, now_ms: int) -> list[Effect]:
        """Take in the newest revision of a node, and how old its state is; what is to be done if
        that is no node, or no history, to go on with. A watch "from now" begins here."""
        if self._stays_stale(said.age_ms, now_ms):
            age = "of unknown age" if said.age_ms < 0 else f"{said.age_ms / 1000:g} s old"
            return self._leave(now_ms, f"the state of node {node} is {age}")
        if self.complete_to < 0:
            self._order.begin_after(said.revision)
        if self._is_ahead_of(said, now_ms):
            return self._fail(
                FAILED_HISTORY,
                f"the newest revision of cluster {self._cluster!r} is {said.revision}, but this "
                f"watch goes on from revision {self.complete_to + 1}: {self._whence()}. Read "
                f"the present state, then watch from revision {said.revision + 1} on",
                said.revision + 1,
            )
        return []

    def _stays_stale(self, age_ms: int, now_ms: int) -> bool:
        """Whether this node has been too far behind for too long."""
        if 0 <= age_ms <= self.options.stale_max_ms:
            self._stale_since_ms = None
        elif self._stale_since_ms is None:
            self._stale_since_ms = now_ms
        since_ms = self._stale_since_ms
        return since_ms is not None and now_ms - since_ms >= self.options.stale_grace_ms

    def _is_ahead_of(self, event: ProgressEvent | ReadAnswer, now_ms: int) -> bool:
        """Whether a fresh state lacks what this watch has, for longer than the grace time."""
        grace_ms = self.options.history_grace_ms
        if grace_ms is None or event.revision >= self.complete_to:
            self._ahead = None
            return False
        if self._ahead is None or self._ahead[0] != self.complete_to:
            self._ahead = self.complete_to, now_ms
        return 0 <= event.age_ms <= now_ms - self._ahead[1] - grace_ms

    def on_answer(
        self,
        attempt: int,
        answer: HistoryAnswer | RefusalAnswer,
        now_ms: int,
        *,
        nodes: int = 1,
    ) -> list[Effect]:
        """The answer to a :class:`Pull`; answers to anything else are ignored. ``nodes``: how many
        nodes the shell connects to in turn."""
        request = self._request
        if not self.is_current(attempt) or request is None:
            return []
        if answer.request_id != request.request_id:
            return []
        self._request, self._pull_due_ms = None, None
        if isinstance(answer, RefusalAnswer):
            if answer.code == COMPACTED:
                return self._miss(answer, now_ms, nodes)
            if answer.code in _FATAL:
                return self._fail(answer.code, answer.message, answer.detail)
            return self._leave(now_ms, f"missed changes were refused: {answer.message}")
        if self.prev and any(type(change) is not ChangeOf for change in answer.changes):
            words = "the node gives no previous values, which are there from feature level 4 on"
            answer = RefusalAnswer(request.request_id, INVALID, words, "", "", 0)
            return self._miss(answer, now_ms, nodes)
        if not self._order.is_sound(request, answer):
            return self._leave(now_ms, "a history answer that breaks the protocol")
        self._misses.clear()
        effects: list[Effect] = []
        deliver(effects, self._order.take_page(request, answer))
        if self.polls:
            self._after_poll(answer, effects, now_ms)
            return effects
        if self.complete_to < self._target:
            if answer.next_revision == request.from_revision and not answer.changes:
                # The node restarted and has not yet applied again what it published before.
                self._pull_due_ms = now_ms + self.options.pull_retry_ms
            else:
                effects.append(self._pull(now_ms))
            return effects
        while self._held and not self._pulling():
            self._take_in_order(self._held.take(), effects, now_ms)
        return effects

    # -- without events -----------------------------------------------------------------------

    def on_no_events(self, attempt: int, now_ms: int) -> list[Effect]:
        """The node of this attempt does not let this client listen."""
        if not self.is_current(attempt) or self.polls:
            return []
        self.polls = True
        self._poll_pause_ms = self.options.poll_min_ms
        self._target = 0
        self._held.clear()
        effects: list[Effect] = [self._ask_age(now_ms)]
        if self.complete_to >= 0 and not self._pulling():
            effects.append(self._pull(now_ms))
        return effects

    def on_age(self, attempt: int, answer: ReadAnswer | RefusalAnswer, now_ms: int) -> list[Effect]:
        """The answer to an :class:`Ask`; answers to anything else are ignored."""
        if not self.is_current(attempt) or not self.polls or answer.request_id != self._age_id:
            return []
        if isinstance(answer, RefusalAnswer):
            if answer.code in _FATAL:
                return self._fail(answer.code, answer.message, answer.detail)
            return self._leave(now_ms, f"a read was refused: {answer.message}")
        self._age_asked_ms = None
        self._age_due_ms = now_ms + self.options.poll_age_ms
        if ended := self._judge(answer, self._node, now_ms):
            return ended
        return [] if self._pulling() else [self._pull(now_ms)]

    def _ask_age(self, now_ms: int) -> Ask:
        self._age_id = self._next_request_id
        self._next_request_id += 1
        self._age_asked_ms, self._age_due_ms = now_ms, None
        query = [COUNT, self.key, self.key + b"\0"]
        return Ask(ReadRequest(self._age_id, STALE, [query]))

    def _after_poll(self, answer: HistoryAnswer, effects: list[Effect], now_ms: int) -> None:
        """Ask for the next page at once; after the last one, in a while."""
        options = self.options
        if answer.next_revision <= answer.revision:
            self._poll_pause_ms = options.poll_min_ms
            effects.append(self._pull(now_ms))
            return
        self._failures = 0
        self.live = True
        doubled_ms = min(options.poll_max_ms, 2 * self._poll_pause_ms)
        self._poll_pause_ms = options.poll_min_ms if answer.changes else doubled_ms
        self._pull_due_ms = now_ms + self._poll_pause_ms

    def _miss(self, answer: RefusalAnswer, now_ms: int, nodes: int) -> list[Effect]:
        """This node does not have the missed changes any more, or does not give what is wanted of
        them. As many refusals as there are nodes end the watch, with the one that has the most."""
        self._misses.append(answer)
        if len(self._misses) < nodes:
            return self._leave(now_ms, answer.message)
        best = min(self._misses, key=lambda each: each.detail)
        return self._fail(best.code, best.message, best.detail)

    # -- live messages in order ---------------------------------------------------------------

    def _take_in_order(self, event: Event, effects: list[Effect], now_ms: int) -> None:
        changes: list[Change] = []
        covered = not self._must_pull(event) and self._order.take(event, changes)
        deliver(effects, changes)
        self.live = covered
        if covered:
            self._failures = 0
            return
        self.gaps += 1
        if isinstance(event, ProgressEvent):
            self._target = event.last_revision
        else:
            self._target = event.revision
        self._held.put_back(event)  # once the pull covers it, it sets the anchor
        effects.append(self._pull(now_ms))

    def _must_pull(self, event: Event) -> bool:
        """Whether it announces a change of this watch that a message alone does not give."""
        return (
            self.prev
            and not isinstance(event, ProgressEvent)
            and event.revision > self.complete_to
            and event.key.startswith(self.key)
            and (self.prefix or event.key == self.key)
        )

    # -- pulls and the buffer -----------------------------------------------------------------

    def _pulling(self) -> bool:
        return self._pull_due_ms is not None

    def _pull(self, now_ms: int) -> Pull:
        start, end = self._order.missing_range()
        self.pulls += 1
        limit_bytes = self.options.page_bytes | SPLIT | (PREVIOUS if self.prev else 0)
        self._request = HistoryRequest(
            self._next_request_id, start, end, self.complete_to + 1, limit_bytes
        )
        self._next_request_id += 1
        self._pull_due_ms = now_ms + self.options.pull_timeout_ms
        return Pull(self._request)

    # -- connections --------------------------------------------------------------------------

    def is_current(self, attempt: int) -> bool:
        """Whether the node of this attempt is still the one to listen to."""
        return self.failed is None and self._connect_due_ms is None and attempt == self.attempt

    def _connect(self, now_ms: int, reason: str) -> list[Effect]:
        self.attempt += 1
        self._connect_due_ms = None
        self._heard_ms = self._connected_ms = now_ms
        self._stale_since_ms = None
        return [Connect(self.attempt, reason)]

    def _leave(self, now_ms: int, reason: str) -> list[Effect]:
        """Forget the node, but not what was delivered. Connect to the next one, at once or, after
        repeated failures, after a pause that doubles."""
        self.live = False
        self._order.leave_source()
        self._held.clear()
        self._request = None
        self._pull_due_ms = None
        self._target = 0
        self.polls = False
        self._age_due_ms = self._age_asked_ms = None
        self._failures += 1
        options = self.options
        doubled_ms = options.reconnect_min_ms << min(self._failures - 1, 16)
        pause_ms = min(options.reconnect_max_ms, doubled_ms)
        self._connect_reason = reason
        self._connect_due_ms = max(now_ms, self._connected_ms + pause_ms)
        return self.on_tick(now_ms)

    def _fail_cluster(self, cluster: str, node: str) -> list[Effect]:
        return self._fail(
            FAILED_CLUSTER,
            f"node {node} belongs to cluster {cluster!r}, but this watch began on "
            f"{self._cluster!r}: "
            + (
                f"{self._whence()}. Read its present state, then watch from there on"
                if self._origin
                else "check the endpoints"
            ),
            0,
        )

    def _whence(self) -> str:
        """Why the cluster of the present node has another history."""
        return f"it was {self._origin}" if self._origin else _ANEW

    def _fail(self, code: str, message: str, detail: int) -> list[Effect]:
        self.live = False
        self.failed = Fail(code, message, detail)
        self._held.clear()
        return [self.failed]
