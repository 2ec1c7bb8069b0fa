"""Fills a cluster with keys, many to a request."""

import zmq

from paxosctl.client.transport import Transport
from paxosd.core.commands import OPEN, PUT, Entry
from paxosd.core.requests import RefusalAnswer, WriteRequest
from paxosd.wire import decode_answer, encode_client, encode_entry

PER_REQUEST = 500
REQUESTS = 8


def key_of(number):
    return b"bench/%09d" % number


def fill(leader, keys, size, *, first=0):
    """Put ``keys`` keys from number ``first`` on, with values of ``size`` bytes."""
    transport = Transport()
    try:
        socket = transport.socket(zmq.DEALER)
        socket.connect(leader)

        def ask(seq, acked, session, commands):
            entry = encode_entry(Entry(session, seq, acked, commands))
            socket.send(encode_client(WriteRequest(seq, entry), ""))

        def answer():
            assert socket.poll(60_000), "no answer"
            found = decode_answer(socket.recv())
            assert not isinstance(found, RefusalAnswer), found
            return found

        ask(1, 0, 0, [[OPEN]])
        session = answer().results[0][2]
        value = bytes(size)
        waiting, acked, at = 0, 0, 0
        while at < keys or waiting:
            while at < keys and waiting < REQUESTS:
                count = min(PER_REQUEST, keys - at)
                puts = [[PUT, key_of(first + at + n), value] for n in range(count)]
                ask(at + 1, acked, session, puts)
                at += count
                waiting += 1
            done = answer()
            waiting -= 1
            acked = max(acked, done.request_id - 1)
    finally:
        transport.close()
