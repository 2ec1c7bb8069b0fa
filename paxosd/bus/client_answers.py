"""Answers to clients: never blocking, bounded in bytes for each client and for all of them.

An answer to a client that has gone, or that does not read, is dropped and counted: the client asks
again with the same session and sequence number.
"""

import time
from collections import Counter
from collections.abc import Callable

import zmq

from paxosd.bus.pollers import CLIENTS, Pollers
from paxosd.bus.refusal_log import RefusalLog
from paxosd.bus.send_tracker import AnswerTrackers, SendTracker
from paxosd.bus.socket_set import Socket
from paxosd.bus.sockets import MIB
from paxosd.core.effects import BUSY
from paxosd.core.requests import HistoryAnswer, ReadAnswer, RefusalAnswer, ServerMessage
from paxosd.faults.plan import FaultPlan
from paxosd.host.byte_limits import ANSWER_BYTES_MAX, CLIENT_BYTES_MAX
from paxosd.wire import encode_client

ANSWERS_LEAVE_S = 1.0
"""So long a process that is about to crash waits for ZeroMQ to finish its last answers …"""
ANSWER_WRITE_S = 0.02
"""… and so long for the kernel to have the last one, which ZeroMQ finishes just before."""
REFUSE_BYTES_MAX = CLIENT_BYTES_MAX + MIB
"""A client for which so much is held does not even get a refusal any more."""
_SLOW = (
    "answers wait for clients that do not read them: read what this one has asked for, ask for less"
)

_SNDMORE = int(zmq.SNDMORE) | int(zmq.NOBLOCK)


class ClientAnswers:
    """The answers of one daemon, on its client socket."""

    def __init__(
        self,
        cluster: str,
        socket: Socket,
        pollers: Pollers,
        refusals: RefusalLog,
        counters: Counter[str],
        faults: FaultPlan,
        now_ms: Callable[[], int],
    ) -> None:
        """``counters``: where to count (``sent.client``, ``unsent.client_full``, …)."""
        self._cluster = cluster
        self._socket = socket
        self._pollers = pollers
        self._refusals = refusals
        self.counters = counters
        self._faults = faults
        self._now_ms = now_ms
        self.trackers = AnswerTrackers(CLIENT_BYTES_MAX, ANSWER_BYTES_MAX)
        """What is held for clients that are slow."""
        self.is_ending = False
        """Whether this process is about to crash: each answer is followed until it has left."""

    def expect_end(self) -> None:
        """This process is about to crash; :meth:`flush` is to know when the answers from now on
        have left."""
        self.is_ending = True

    def flush(self) -> None:
        """Wait until the answers given since :meth:`expect_end`, or since a fault was added that
        may end this process at once, have left; at most ANSWERS_LEAVE_S."""
        end_s = time.monotonic() + ANSWERS_LEAVE_S
        while self.trackers.held_bytes and time.monotonic() < end_s:
            time.sleep(0.001)  # ZeroMQ's thread sends them, and offers nothing to wait for
        time.sleep(ANSWER_WRITE_S)  # nor does it say when the kernel has the last one

    def answer(self, client: bytes, message: ServerMessage) -> bool:
        """Send to one client; False if it has gone or does not read its answers. Then a read is
        refused as BUSY, as long as the client takes small answers; for what became of a write it
        may ask again."""
        frame = encode_client(message, self._cluster)
        tracker = self.trackers.of(client)
        if self.trackers.has_room(tracker, len(frame)):
            return self._send_answer(client, tracker, frame)
        self._note_slow_client(client, tracker.held_bytes)
        if type(message) in (ReadAnswer, HistoryAnswer) and tracker.held_bytes < REFUSE_BYTES_MAX:
            refusal = (message.request_id, BUSY, _SLOW, "", "", 0)
            frame = encode_client(RefusalAnswer(*refusal), self._cluster)
            self._send_answer(client, tracker, frame)
        return False

    def _send_answer(self, client: bytes, tracker: SendTracker, frame: bytes) -> bool:
        socket = self._socket
        self._pollers.touched |= CLIENTS
        try:
            socket.send(client, _SNDMORE)
            tracker.send(socket, frame, mark=self.is_ending or self._faults.timed_active)
        except zmq.Again:
            self.counters["unsent.client_full"] += 1
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self.counters["unsent.client_gone"] += 1
            self.trackers.forget(client)
            return False
        self.counters["sent.client"] += 1
        return True

    def _note_slow_client(self, client: bytes, held_bytes: int) -> None:
        self.counters["unsent.client_slow"] += 1
        self._refusals.note(
            "bus.client_slow",
            client.hex(),
            "slow",
            self._now_ms(),
            waiting_bytes=held_bytes,
            waiting_bytes_of_all=self.trackers.held_bytes,
        )
