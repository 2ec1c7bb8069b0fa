"""Fills a cluster with keys, many to a request."""

import time
from collections import Counter

import zmq

from paxosctl.client.transport import Transport
from paxosd.core.commands import OPEN, PUT, Entry
from paxosd.core.effects import BUSY, INTERRUPTED, NO_LEADER, NOT_LEADER, STOPPING
from paxosd.core.requests import RefusalAnswer, WriteRequest
from paxosd.wire import decode_answer, encode_client, encode_entry

PER_REQUEST = 500
REQUESTS = 8
ANSWER_S = 60.0
"""So long nothing may succeed."""
PAUSE_S = 0.1
PASSING = {BUSY, INTERRUPTED, NO_LEADER, NOT_LEADER, STOPPING}
"""Refusals after which the same request may be sent again: a command is applied once for each
session and number."""


def key_of(number):
    return b"bench/%09d" % number


class _Filler:
    """The requests under way to one node, the leader as far as it is known."""

    def __init__(self, transport, endpoint):
        self._transport = transport
        self._endpoint = endpoint
        self._socket = None
        self._frames = {}
        self.refusals = Counter()
        """How often what was refused and sent again."""
        self._connect()

    def _connect(self):
        if self._socket is not None:
            self._socket.close(0)
        self._socket = self._transport.socket(zmq.DEALER)
        self._socket.connect(self._endpoint)
        for frame in self._frames.values():
            self._socket.send(frame)

    @property
    def waiting(self):
        """The numbers of the requests that have no answer yet."""
        return self._frames.keys()

    def ask(self, seq, session, commands):
        acked = min(self._frames, default=seq) - 1
        entry = encode_entry(Entry(session, seq, acked, commands))
        self._frames[seq] = encode_client(WriteRequest(seq, entry), "")
        self._socket.send(self._frames[seq])

    def answer(self):
        """The next answer; a request that met a change of the leader is sent again."""
        until_s = time.monotonic() + ANSWER_S
        while self._socket.poll(max(0, 1000 * (until_s - time.monotonic()))):
            found = decode_answer(self._socket.recv())
            if not isinstance(found, RefusalAnswer):
                if self._frames.pop(found.request_id, None) is not None:
                    return found
            elif found.code in PASSING:
                self._again(found)
            else:
                raise AssertionError(found)
        raise AssertionError(f"no answer in {ANSWER_S} s; refused before: {dict(self.refusals)}")

    def _again(self, refusal):
        if not self.refusals[refusal.code]:
            print(f"fill: {refusal.code} ({refusal.message}): going on", flush=True)
        self.refusals[refusal.code] += 1
        time.sleep(PAUSE_S)
        if refusal.leader_endpoint not in ("", self._endpoint):
            self._endpoint = refusal.leader_endpoint
            self._connect()  # sends all that waits
        elif refusal.request_id in self._frames:
            self._socket.send(self._frames[refusal.request_id])


def fill(leader, keys, size, *, first=0):
    """Put ``keys`` keys from number ``first`` on, with values of ``size`` bytes, by way of the
    client endpoint ``leader``; goes on when the leader changes, and says so. Returns how often each
    kind of refusal was answered."""
    transport = Transport()
    try:
        filler = _Filler(transport, leader)
        filler.ask(1, 0, [[OPEN]])
        session = filler.answer().results[0][2]
        value = bytes(size)
        at = 0
        while at < keys or filler.waiting:
            while at < keys and len(filler.waiting) < REQUESTS:
                count = min(PER_REQUEST, keys - at)
                puts = [[PUT, key_of(first + at + n), value] for n in range(count)]
                filler.ask(at + 1, session, puts)
                at += count
            filler.answer()
        return filler.refusals
    finally:
        transport.close()
