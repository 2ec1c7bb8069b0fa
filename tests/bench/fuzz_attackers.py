"""The attackers of ``fuzz_ports``: each a function that a process of its own runs until it is over.

    function(target, rng, sent, over, **its own arguments)

``target``: the :class:`Target`; ``rng``: its random numbers; ``sent``: how many frames it has sent,
a shared number that nobody else writes; ``over``: a shared event.
"""

import contextlib
import os
import random
import socket

import zmq

from paxosctl.client import Client
from paxosd.core.commands import OPEN, PUT, Entry
from paxosd.core.requests import RANGE, ReadRequest, VouchedRequest, WriteRequest
from paxosd.net.key_files import make_key
from paxosd.wire import WireError, decode_peer, encode_client, encode_entry
from tests.bench.fuzz_frames import Mutator

CLUSTER = "test"
IDLE = 1000
BURST = 50
POOL = 2000
LIAR = "n3"
VALUE_BYTES = 60_000
VALUES = 100
"""So many of that size are there for who asks for everything."""
MIB = 1 << 20
PORTS = ("peer", "client", "events")
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01"


class Target:
    """What attackers know: endpoints, keys, and real frames by kind. Is given to processes."""

    def __init__(self, daemons, app, frames):
        self.endpoints = {
            name: {port: daemons.endpoint(name, port) for port in PORTS} for name in daemons.names
        }
        self.public = {name: key.public_key for name, key in daemons.keys.items()}
        self.names = list(daemons.names)
        self.keys = {"app": app, "alice": daemons.alice, "liar": daemons.keys[LIAR]}
        self.frames = frames

    def address(self, node, port):
        """Host and port."""
        host, number = self.endpoints[node][port].removeprefix("tcp://").split(":")
        return host, int(number)

    @property
    def clients(self):
        """The endpoints for clients."""
        return [self.endpoints[name]["client"] for name in self.names]

    def dial(self, context, node, port, key=None, kind=zmq.DEALER, *, receive_max=1000):
        """A socket on its way there. ``key``: whose it shows; "eve": nobody's; None: none.
        ``receive_max``: so many messages are taken in before anybody reads them."""
        made = context.socket(kind)
        made.setsockopt(zmq.RCVHWM, receive_max)
        made.setsockopt(zmq.LINGER, 0)
        made.setsockopt(zmq.SNDHWM, 200)
        if key is not None:
            pair = self.keys.get(key) or make_key("eve", "client", CLUSTER)
            made.curve_publickey, made.curve_secretkey = pair.public_key, pair.secret_key
            made.curve_serverkey = self.public[node]
        made.connect(self.endpoints[node][port])
        return made


def work(function, target, seed, sent, over, core, how):
    """The body of a process. ``core``: where it runs; None: anywhere, at the lowest priority, as
    one on another machine would take no processor time that the nodes need."""
    if core is None:
        os.nice(19)
    else:
        os.sched_setaffinity(0, {core})
    function(target, random.Random(seed), sent, over, **how)


def spinning(target, rng, sent, over):
    """Sends nothing, and is as busy as an attacker."""
    while not over.is_set():
        for _ in range(1000):
            rng.random()


# ---- frames

SUBSCRIPTION_BYTES_MAX = 4000


def flooding(target, rng, sent, over, *, key, port, frames, kind=zmq.DEALER):
    """Mutated frames by a key to a port; new sockets now and then. ``frames``: kinds of them."""
    mutator, context = Mutator(rng.random(), CLUSTER), zmq.Context()
    real = [frame for each in frames for frame in target.frames[each]]

    def changed():
        frame = _changed(mutator, real)
        return frame if kind != zmq.SUB else frame[:SUBSCRIPTION_BYTES_MAX]

    while not over.is_set():
        made = target.dial(context, rng.choice(("n1", "n2")), port, key, kind)
        for _ in range(200):
            if over.is_set():
                break
            for _ in range(BURST):
                _send(made, changed(), rng, sent)
            _read(made)
        made.close()
    context.destroy(0)


def _changed(mutator, real):
    """One of these frames, changed, but not into one in the liar's own name: whoever holds a node's
    key is trusted to follow the protocol (docs/SECURITY.md). A node that hears from it of a later
    membership waits for that without a vote, and two that do stop the cluster."""
    while True:
        frame = mutator.change(mutator.rng.choice(real))
        try:
            if decode_peer(frame, CLUSTER).sender != LIAR:
                return frame
        except WireError:
            return frame


def _send(made, frame, rng, sent):
    """One frame, or some in one message; waits a little where there is no room."""
    try:
        if made.type == zmq.SUB:
            made.subscribe(frame)
        else:
            made.send_multipart([frame] * rng.choice((1, 1, 1, 1, 1, 1, 1, 2, 5)), zmq.NOBLOCK)
    except zmq.Again:
        made.poll(20, zmq.POLLOUT)
        return
    sent.value += 1


def _read(made):
    while made.poll(0):
        made.recv_multipart()


def bursting(target, rng, sent, over, *, key, port, frames):
    """Frames that were mutated beforehand, as fast as they leave, on one connection for ever."""
    mutator, context = Mutator(rng.random(), CLUSTER), zmq.Context()
    real = [frame for each in frames for frame in target.frames[each]]
    pool = [_changed(mutator, real) for _ in range(POOL)]
    made = target.dial(context, "n1", port, key)
    while not over.is_set():
        for frame in pool:
            try:
                made.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                made.poll(20, zmq.POLLOUT)
            else:
                sent.value += 1
        _read(made)
    context.destroy(0)


def stranger(target, rng, sent, over):
    """Raw TCP: what is almost a greeting, and what is none."""
    mutator = Mutator(rng.random(), CLUSTER)
    while not over.is_set():
        where = target.address(rng.choice(target.names), rng.choice(PORTS))
        with contextlib.suppress(OSError), socket.create_connection(where, 2) as made:
            greeting = GREETING + rng.choice((b"CURVE", b"NULL", b"PLAIN")).ljust(20, b"\0")
            if rng.random() < 0.7:
                greeting = mutator.change(greeting + bytes(32))
            made.sendall(greeting)
            for _ in range(20):
                made.sendall(rng.randbytes(rng.randrange(1, 3000)))
                sent.value += 1


# ---- floods


def idle(target, rng, sent, over):
    """1,000 connections that send nothing, again and again."""
    while not over.is_set():
        held, where = [], target.address("n1", rng.choice(PORTS))
        for _ in range(IDLE):
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(where, 1))
                sent.value += 1
        over.wait(3)
        for each in held:
            each.close()


def deaf(target, rng, sent, over):
    """Asks for everything, and reads nothing: answers of half a MiB each."""
    context = zmq.Context()
    made = [target.dial(context, "n1", "client", "app", receive_max=1) for _ in range(20)]
    ask = encode_client(ReadRequest(1, 1, [[RANGE, b"fuzz/", b"fuzz0", 0, False, False]]), CLUSTER)
    while not over.is_set():
        for each in made:
            with contextlib.suppress(zmq.Again):
                each.send(ask, zmq.NOBLOCK)
                sent.value += 1
        over.wait(0.001)
    context.destroy(0)


def watching(target, rng, sent, over):
    """Subscribers to everything that never read, while 64 KiB are written again and again."""
    context = zmq.Context()
    for _ in range(50):
        target.dial(context, "n1", "events", "alice", zmq.SUB, receive_max=1).subscribe(b"")
    with Client(list(target.clients), timeout_s=60.0, key=target.keys["app"]) as client:
        while not over.is_set():
            client.put(b"fuzz/watched", rng.randbytes(VALUE_BYTES))
            sent.value += 1
    context.destroy(0)


def opener(target, rng, sent, over):
    """Opens sessions for ever."""
    context = zmq.Context()
    made = target.dial(context, "n1", "client", "app")
    open_one = encode_client(WriteRequest(1, encode_entry(Entry(0, 1, 0, [[OPEN]]))), CLUSTER)
    while not over.is_set():
        with contextlib.suppress(zmq.Again):
            made.send(open_one, zmq.NOBLOCK)
            sent.value += 1
        while made.poll(1):
            made.recv()
    context.destroy(0)


def knocking(target, rng, sent, over, *, key):
    """Handshakes that fail, twenty at a time, for ever."""
    context = zmq.Context()
    while not over.is_set():
        places = [(rng.choice(("n1", "n2")), rng.choice(PORTS)) for _ in range(20)]
        made = [target.dial(context, node, port, key) for node, port in places]
        sent.value += len(made)
        over.wait(0.02)
        for each in made:
            each.close(0)
    context.destroy(0)


def big(target, rng, sent, over):
    """Large frames: most are refused for their values or their form, and some end the
    connection."""
    context = zmq.Context()
    values = [rng.randbytes(size) for size in (70_000, 300_000, 900_000)]
    frames = [encode_client(WriteRequest(1, encode_entry(Entry(9, 1, 0, [[PUT, b"fuzz/k", each]]))),
                            CLUSTER) for each in values]  # fmt: skip
    frames += [bytes([0x9F]) + each for each in values] + [bytes(3 * MIB)]
    while not over.is_set():
        made = target.dial(context, "n1", "client", "app")
        for _ in range(100):
            with contextlib.suppress(zmq.Again):
                made.send(rng.choice(frames), zmq.NOBLOCK)
                sent.value += 1
            made.poll(5)
            _read(made)
        made.close()
    context.destroy(0)


VOUCHED = VouchedRequest(1, b"\x94\x00\x01\x00\x90", bytes(32))


def attackers(target):
    """Name → the function of a process, and its own arguments."""
    vouched = encode_client(VOUCHED._replace(key=target.public["n1"]), CLUSTER)
    target.frames["vouched"] = [vouched] * 20
    target.frames["topic"] = [b"kv/", b"kv/fuzz/", b"accepted/", b"", b"progress/",
                              *target.frames["peer"][:3]]  # fmt: skip
    client, peer = ("client", "seed client"), ("peer", "seed peer")
    flood = {
        "client": {"key": "app", "port": "client", "frames": client},
        "unknown key": {"key": "eve", "port": "client", "frames": client},
        "no key": {"key": None, "port": "peer", "frames": peer},
        "subscriber": {"key": "alice", "port": "events", "frames": ("topic", "event"),
                       "kind": zmq.SUB},
        "liar": {"key": "liar", "port": "peer", "frames": peer},
        "liar's clients": {"key": "liar", "port": "client", "frames": (*client, "vouched")},
    }  # fmt: skip
    made = {name: (flooding, how) for name, how in flood.items()}
    made["client, at once"] = bursting, flood["client"]
    made["liar, at once"] = bursting, flood["liar"]
    made["handshakes, unknown key"] = knocking, {"key": "eve"}
    made["handshakes, no key"] = knocking, {"key": None}
    floods = stranger, idle, deaf, watching, opener, big
    return made | {each.__name__: (each, {}) for each in floods}
