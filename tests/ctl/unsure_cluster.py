"""A cluster that does everything a cluster may do to a client, in simulated time, on one seed.

The state machine is the real one. Around it: a leader that changes, requests that are lost, late
or refused, answers that are lost, late or doubled, connections that break with requests in them,
sessions that expire. What was carried out is known to the test, but not to the client.
"""

import heapq
import random

from paxosd.core.client.calls import ClientOptions, OutcomeUnknown
from paxosd.core.client.protocol import ClientProtocol
from paxosd.core.commands import CAS_REVISION, Batch
from paxosd.core.effects import BUSY, INTERRUPTED, INVALID, NO_LEADER, NOT_LEADER, STOPPING
from paxosd.core.requests import (
    AdminAnswer,
    AdminRequest,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
    WriteAnswer,
)
from paxosd.core.state.machine import Machine, MachineLimits
from paxosd.core.state.sessions import SessionLimits
from paxosd.wire.status import decode_status

NODES = ("tcp://a:1", "tcp://b:1", "tcp://c:1")
CONNECT_MS = 3
BAD_KEY = b"bad"
"""A request with a command on a key that begins so breaks a limit: two nodes refuse it, but the
last, being configured with a wider limit, carries it out."""


class UnsureCluster:
    """One client and its cluster. ``trouble``: how likely each single thing goes wrong; 0: it
    is a healthy cluster. ``done_admin``: how often each admin request was carried out."""

    def __init__(self, seed):
        self.rng = rng = random.Random(seed)
        self.now = 1000
        self.trouble = 0.06
        self.limits = SessionLimits(
            sessions_max=rng.choice([3, 1000]),
            session_ttl_ms=rng.choice([1500, 3_600_000]),
            session_idle_evict_ms=300,
            session_window_max=rng.choice([6, 8192]),
        )
        self.machine = Machine(MachineLimits(sessions=self.limits))
        self.protocol = ClientProtocol(
            NODES,
            encode_entry=lambda entry: entry,
            decode_status=decode_status,
            rng=random.Random(seed),
            options=ClientOptions(
                frame_commands_max=rng.choice([1, 3, 20]),
                window_max=rng.choice([8, 4096]),
                attempt_timeout_ms=rng.choice([60, 300]),
                backoff_min_ms=5,
                suspect_ms=200,
                unreachable_ms=rng.choice([None, 400]),
            ),
        )
        self.leader = rng.choice(NODES)
        self.proposed = []  # (endpoint, generation, request): not chosen yet
        self.generation = dict.fromkeys(NODES, 0)
        self.linked = set()
        self.done_admin = {}
        self.calls_by_key = {}
        self.keys_by_seq = {}
        self.ended = []
        self._events = []
        self._count = 0

    # -- time ---------------------------------------------------------------------------------

    def chance(self, weight=1.0):
        return self.rng.random() < self.trouble * weight

    def later(self, delay_ms, act, *args):
        self._count += 1
        heapq.heappush(self._events, (self.now + delay_ms, self._count, act, args))

    def run(self, ms):
        until = self.now + ms
        while True:
            self._turn()
            due = min(self._events[0][0] if self._events else until, self.protocol.next_due_ms())
            if max(due, self.now + 1) > until:
                self.now = until
                return
            self.now = max(self.now, due)
            while self._events and self._events[0][0] <= self.now:
                _, _, act, args = heapq.heappop(self._events)
                act(*args)

    def _turn(self):
        self.protocol.on_tick(self.now)
        for _ in range(200):
            connects, sends = self.protocol.take(self.now)
            for endpoint in connects:
                self.later(CONNECT_MS, self._connect, endpoint)
            for endpoint, message in sends:
                self._send(endpoint, message)
            if not sends:
                break
        else:
            raise AssertionError("the protocol sends without end")
        self.ended += self.protocol.take_completed()

    # -- the network --------------------------------------------------------------------------

    def _connect(self, endpoint):
        if self.chance(3):
            self.protocol.on_disconnected(endpoint, "refused", self.now)
            self.later(self.rng.choice([20, 300]), self._connect, endpoint)
        else:
            self.linked.add(endpoint)
            self.protocol.on_connected(endpoint, self.now)

    def break_link(self, endpoint):
        if endpoint in self.linked:
            self.linked.remove(endpoint)
            self.generation[endpoint] += 1
            self.protocol.on_disconnected(endpoint, "lost", self.now)
            self.later(self.rng.choice([20, 300]), self._connect, endpoint)

    def _send(self, endpoint, message):
        assert endpoint in self.linked, "sent on a connection that is not there"
        if self.chance():
            # As a real socket would: told in the same turn, before anything else happens.
            self.protocol.on_unsent(message.request_id, self.now)
            return
        self._check_entry(message)
        if not self.chance():
            delay = self.rng.choice([1, 2, 5]) if not self.chance(2) else self.rng.choice([80, 900])
            self.later(delay, self._arrive, endpoint, self.generation[endpoint], message)

    def _answer(self, endpoint, generation, answer):
        if self.chance(2) or (generation != self.generation[endpoint] and self.rng.random() < 0.7):
            return
        for _ in range(2 if self.chance(2) else 1):
            delay = self.rng.choice([1, 3]) if not self.chance(2) else self.rng.choice([70, 1200])
            self.later(delay, self._deliver, answer)

    def _deliver(self, answer):
        self.protocol.on_answer(answer, self.now)

    # -- the nodes ----------------------------------------------------------------------------

    def _arrive(self, endpoint, generation, message):
        if isinstance(message, AdminRequest):
            name = message.args["name"]
            self.done_admin[name] = self.done_admin.get(name, 0) + 1
            self._answer(endpoint, generation, AdminAnswer(message.request_id, {"name": name}))
            return
        code = self._refusal_code(endpoint, message)
        if code:
            hint = ""
            if code == NOT_LEADER:
                hint = (self.leader or "") if not self.chance(3) else self.rng.choice(NODES)
            refusal = RefusalAnswer(message.request_id, code, f"it says {code}", "", hint, 0)
            self._answer(endpoint, generation, refusal)
        elif isinstance(message, ReadRequest):
            results = self.machine.query(message.queries, 1 << 20)
            applied, revision = self.machine.applied, self.machine.revision
            answer = ReadAnswer(message.request_id, applied, revision, 0, results)
            self._answer(endpoint, generation, answer)
        else:
            self.proposed.append((endpoint, generation, message))
            self.later(self.rng.choice([1, 4, 30]), self._choose, message)

    def _refusal_code(self, endpoint, message):
        if self.leader is None:
            return NO_LEADER
        if endpoint != self.leader:
            return NOT_LEADER
        if self.chance(2):
            return self.rng.choice([BUSY, STOPPING])
        if endpoint == NODES[-1] or isinstance(message, ReadRequest):
            return ""
        keys = [command[1] for command in message.entry.commands if command[0] <= CAS_REVISION]
        return INVALID if any(key.startswith(BAD_KEY) for key in keys) else ""

    def _choose(self, message):
        for place, (endpoint, generation, proposed) in enumerate(self.proposed):
            if proposed is message:
                del self.proposed[place]
                slot, results = self._apply(message)
                answer = WriteAnswer(message.request_id, slot, results)
                self._answer(endpoint, generation, answer)
                return

    def _apply(self, message):
        slot = self.machine.applied + 1
        (results,) = self.machine.apply(slot, Batch(self.now, [message.entry]))
        return slot, list(results)

    def change_leader(self):
        """What the old leader proposed is carried out by the new one, or never."""
        proposed, self.proposed = self.proposed, []
        self.rng.shuffle(proposed)
        for endpoint, generation, message in proposed:
            words = "leadership was lost"
            refusal = RefusalAnswer(message.request_id, INTERRUPTED, words, "", "", 0)
            self._answer(endpoint, generation, refusal)
            if self.rng.random() < 0.5:
                self._apply(message)
        self.leader = None if self.chance(4) else self.rng.choice(NODES)

    def heal(self):
        self.trouble = 0.0
        self.leader = self.leader or self.rng.choice(NODES)

    # -- what the client must keep to on the way ----------------------------------------------

    def submit(self, key, command, timeout_ms):
        call = self.protocol.submit(command, self.now, timeout_ms)
        self.calls_by_key.setdefault(key, []).append(call)
        return call

    def _check_entry(self, message):
        entry = getattr(message, "entry", None)
        if entry is None or entry.session == 0 or len(entry.commands[0]) == 1:
            return
        for seq, command in enumerate(entry.commands, entry.first_seq):
            place = (entry.session, seq)
            kept = self.keys_by_seq.setdefault(place, command)
            assert kept == command, f"{place} carried {kept} and now {command}"
        if entry.session not in self.machine.sessions.table:
            return  # its commands may have moved to another session; nobody answers for this one
        for (session, seq), command in self.keys_by_seq.items():
            if session == entry.session and seq <= entry.acked:
                calls = self.calls_by_key[command[1]]
                assert any(call.done for call in calls), f"acked {entry.acked} passes {seq}"
        for call in self.ended:
            if isinstance(call.failure, OutcomeUnknown) and call.failure.session == entry.session:
                assert entry.acked < call.failure.seq, "the outcome cannot be asked any more"
