"""Frames for ``fuzz_ports`` to change: those that a real cluster exchanged, and the examples.

A cluster with keys records traces (``docs/TRACE.md``) while clients do a little of everything, a
node starts anew and the leader is killed. Its traces hold each frame that came from a peer or a
client. What it publishes is read from its events ports.
"""

import signal
import threading
from contextlib import suppress

import msgpack
import zmq

from paxosctl.client import Compare, Operation
from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.trace.operations import PEER, REQUESTS
from paxosd.trace.reader import read_trace
from tests.bench.fuzz_frames import seeds
from tests.processes.keyed import KeyedDaemons
from tests.processes.processes import wait_for

CLUSTER = "test"
OF_A_KIND_MAX = 40
"""So many frames of each kind of message are kept."""


def real_frames(path):
    """Kind → frames: "peer", "client" and "event" as they were recorded in a cluster in ``path``;
    "seed peer" and "seed client": the examples of every message."""
    path.mkdir()
    published = []
    with KeyedDaemons(path, trace={"enabled": True}) as daemons:
        daemons.start()
        daemons.wait_leader()
        wait_for(
            lambda: (daemons.status("n1") or {}).get("level") == LEVEL_LATEST, what="the level"
        )
        over = threading.Event()
        reader = threading.Thread(target=_read_events, args=(daemons, published, over))
        reader.start()
        try:
            _live(daemons)
        finally:
            over.set()
            reader.join()
        daemons.kill(sig=signal.SIGTERM)
    peer, client = _frames(path)
    examples = seeds()
    return {"peer": peer, "client": client, "event": published[-500:] + examples["event"],
            "seed peer": examples["peer"], "seed client": examples["client"]}  # fmt: skip


def _live(daemons):
    """A little of everything that nodes and clients say."""
    with daemons.client(timeout_s=60.0) as client:
        for round_ in range(3):
            _ask(client, b"%d/" % round_)
            if round_ == 0:
                follower = daemons.followers(daemons.wait_leader())[0]
                daemons.kill(follower)
                for number in range(50):
                    client.put(b"missed/%d" % number, bytes(2000))
                daemons.start(follower)
                daemons.wait_up(follower)
            elif round_ == 1:
                leader = daemons.wait_leader()
                daemons.kill(leader)
                client.put(b"elected", b"anew")
                daemons.start(leader)
                daemons.wait_up(leader)
    for name in daemons.names:
        with daemons.client(name, timeout_s=60.0) as alone:
            alone.put(b"by/%s" % name.encode(), b"passed on")
            alone.get_stale(b"by/n1")
    daemons.checksums()


def _ask(client, key):
    client.put(key + b"a", b"1")
    client.get(key + b"a")
    client.get_many([key + b"a", key + b"b"])
    client.cas_value(key + b"a", b"1", b"2")
    client.count(key)
    list(client.scan(key))
    lease = client.grant(5)
    client.put(key + b"leased", b"x", lease=lease)
    client.keepalive([lease])
    list(client.leases())
    client.revoke(lease)
    client.txn(
        [Compare.value(key + b"a", "=", b"2")], [Operation.put(key + b"t", b"3")], [], timeout_s=30
    )
    with client.watch(key, prefix=True, from_revision=1) as watcher:
        next(watcher)
    client.delete(key + b"a")
    client.delete_prefix(key)
    client.status()


def _read_events(daemons, published, over):
    context = zmq.Context()
    readers = [daemons.knock(name, "events", daemons.alice, kind=zmq.SUB) for name in daemons.names]
    for each in readers:
        each.socket.subscribe(b"")
    while not over.is_set():
        for each in readers:
            while each.socket.poll(10):
                with suppress(zmq.ZMQError):
                    published.extend(each.socket.recv_multipart()[1:])
    for each in readers:
        each.__exit__()
    context.term()


def _frames(path):
    """What came from peers and from clients, a few of each kind of message."""
    found = {PEER: {}, REQUESTS: {}}
    for file in sorted(path.glob("*/trace/*.trc")):
        for turn in read_trace(file.read_bytes()).turns:
            for operation in turn.operations:
                if operation[0] == PEER:
                    _keep(found[PEER], operation[1])
                elif operation[0] == REQUESTS:
                    for request in operation[1]:
                        _keep(found[REQUESTS], request[1])
    for each in found.values():
        assert len(each) >= KINDS_MIN, f"only {sorted(each)} were recorded"
    return [[frame for of in found[code].values() for frame in of] for code in (PEER, REQUESTS)]


KINDS_MIN = 4


def _keep(kinds, frame):
    """A frame, under the cluster's name, which traces leave out."""
    tree = msgpack.unpackb(frame, use_list=True, strict_map_key=False)
    of_kind = kinds.setdefault(tree[2], [])
    if len(of_kind) < OF_A_KIND_MAX:
        tree[1] = CLUSTER
        of_kind.append(msgpack.packb(tree))


def kinds_of(frames):
    """How many kinds of messages these are."""
    return len({msgpack.unpackb(frame, strict_map_key=False)[2] for frame in frames})
