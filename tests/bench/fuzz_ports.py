"""Frames, connections and floods of people who mean harm, on all ports of a real cluster with keys.

    python -m tests.bench.fuzz_ports [--frames 1000000] [--seconds 300] [--seed N]

Attackers are processes of their own, each with a way of its own, all at the same time. They are
nice (19), for on other machines they would take no processor time from the nodes:

    stranger    no key, or an unknown one: mutated ZMTP and random bytes on every port
    client      the key of a client that may write fuzz/ alone: mutated requests
    subscriber  an admin's key on the events port: mutated subscriptions
    liar        the key of a node: mutated messages in its own and in other nodes' names, to the
                peer port of another node, and vouched requests to its client port
    idle        1,000 connections that send nothing, again and again
    deaf        connections that ask for much and never read
    opener      opens sessions for ever

Meanwhile an honest client writes, in a process of its own. Printed: how many frames were sent, what
was refused and why, each node's memory before, at most, and after, whether all nodes run, the p50
and p99 of the honest client before and during it, and whether all that it wrote is there. The exit
code is 1 if a node ended, grew by more than MEMORY_MIB, or lost a write.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import zmq

from paxosctl.auth import tables
from paxosctl.client import Client
from paxosd.core.cluster_settings import LEVEL_KEYS
from paxosd.core.commands import OPEN, Entry
from paxosd.core.requests import RANGE, ReadRequest, VouchedRequest, WriteRequest
from paxosd.core.rights import NO_RIGHTS, Principal
from paxosd.net.key_files import make_key
from paxosd.wire import encode_client, encode_entry
from tests.bench.fuzz_frames import Mutator, seeds
from tests.processes.keyed import KeyedDaemons
from tests.processes.processes import wait_for

CLUSTER = "test"
IDLE = 1000
BURST = 50
MEMORY_MIB = 400
BASELINE_S = 10.0
PORTS = ("peer", "client", "events")
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01"


def dial(context, endpoint, key=None, server=None, kind=zmq.DEALER):
    """A socket on its way there."""
    made = context.socket(kind)
    made.setsockopt(zmq.LINGER, 0)
    made.setsockopt(zmq.SNDHWM, 200)
    if key is not None:
        made.curve_publickey, made.curve_secretkey = key.public_key, key.secret_key
        made.curve_serverkey = server
    made.connect(endpoint)
    return made


class Target:
    """What attackers know: endpoints, and the public keys of the nodes. Is given to processes."""

    def __init__(self, daemons, app):
        self.endpoints = {
            name: {port: daemons.endpoint(name, port) for port in PORTS} for name in daemons.names
        }
        self.public = {name: key.public_key for name, key in daemons.keys.items()}
        self.names = list(daemons.names)
        self.keys = {"app": app, "alice": daemons.alice, "liar": daemons.keys["n3"]}


def flooding(target, seed, sent, over, *, key, port, kind, frames, nodes):
    """Mutated frames by a key to a port, until it is over; new sockets now and then."""
    rng, mutator, context = random.Random(seed), Mutator(seed, CLUSTER), zmq.Context()
    while not over.is_set():
        node = rng.choice(nodes)
        pair = None if key is None else target.keys.get(key) or make_key("eve", "client", CLUSTER)
        made = dial(context, target.endpoints[node][port], pair, target.public[node], kind)
        for _ in range(200):
            if over.is_set():
                break
            for _ in range(BURST):
                frame = mutator.change(rng.choice(frames))
                if kind == zmq.SUB:
                    frame = frame[:4000]
                try:
                    if kind == zmq.SUB:
                        made.subscribe(frame)
                    else:
                        parts = [frame] * rng.choice((1, 1, 1, 1, 1, 1, 1, 2, 5))
                        made.send_multipart(parts, zmq.NOBLOCK)
                except zmq.Again:
                    made.poll(20, zmq.POLLOUT)
                    continue
                with sent.get_lock():
                    sent.value += 1
            while made.poll(0):
                made.recv_multipart()
        made.close()
    context.destroy(0)


def stranger(target, seed, sent, over):
    """Raw TCP: what is almost a greeting, and what is none."""
    rng, mutator = random.Random(seed), Mutator(seed, CLUSTER)
    while not over.is_set():
        endpoint = target.endpoints[rng.choice(target.names)][rng.choice(PORTS)]
        host, port = endpoint.removeprefix("tcp://").split(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 2) as made:
            greeting = GREETING + rng.choice((b"CURVE", b"NULL", b"PLAIN")).ljust(20, b"\0")
            if rng.random() < 0.7:
                greeting = mutator.change(greeting + bytes(32))
            made.sendall(greeting)
            for _ in range(20):
                made.sendall(rng.randbytes(rng.randrange(1, 3000)))
                with sent.get_lock():
                    sent.value += 1


def idle(target, seed, sent, over):
    """Many connections that send nothing."""
    rng = random.Random(seed)
    while not over.is_set():
        held = []
        endpoint = target.endpoints["n1"][rng.choice(PORTS)]
        host, port = endpoint.removeprefix("tcp://").split(":")
        for _ in range(IDLE):
            with contextlib.suppress(OSError):
                held.append(socket.create_connection((host, int(port)), 1))
        over.wait(3)
        for each in held:
            each.close()


def deaf(target, seed, sent, over):
    """Asks for everything, and reads nothing."""
    context = zmq.Context()
    made = [dial(context, target.endpoints["n1"]["client"], target.keys["app"], target.public["n1"])
            for _ in range(20)]  # fmt: skip
    for each in made:
        each.setsockopt(zmq.RCVHWM, 1)
    ask = encode_client(ReadRequest(1, 1, [[RANGE, b"fuzz/", b"fuzz0", 0, False, False]]), CLUSTER)
    while not over.is_set():
        for each in made:
            with contextlib.suppress(zmq.Again):
                each.send(ask, zmq.NOBLOCK)
                with sent.get_lock():
                    sent.value += 1
        over.wait(0.02)
    context.destroy(0)


def opener(target, seed, sent, over):
    """Opens sessions for ever."""
    context = zmq.Context()
    made = dial(context, target.endpoints["n1"]["client"], target.keys["app"], target.public["n1"])
    open_one = encode_client(WriteRequest(1, encode_entry(Entry(0, 1, 0, [[OPEN]]))), CLUSTER)
    while not over.is_set():
        with contextlib.suppress(zmq.Again):
            made.send(open_one, zmq.NOBLOCK)
            with sent.get_lock():
                sent.value += 1
        while made.poll(1):
            made.recv()
    context.destroy(0)


def honest(endpoints, key, took, over):
    """One put after another; how long each took."""
    with Client(endpoints, timeout_s=60.0, key=key) as client:
        number = 0
        while not over.is_set():
            began_s = time.monotonic()
            client.put(b"honest/%d" % number, b"%d" % number)
            took.append((began_s, time.monotonic() - began_s))
            number += 1


def nicely(work, *args, **how):
    """As an attacker on another machine: takes no processor time that the nodes need."""
    os.nice(19)
    work(*args, **how)


def attackers(target):
    """Name → the function of a process, and its own arguments."""
    real = seeds()
    requests, peers = real["client"], real["peer"]
    vouched = VouchedRequest(1, b"\x94\x00\x01\x00\x90", target.public["n1"])
    topics = [b"kv/", b"kv/fuzz/", b"accepted/", b"", b"progress/", *peers[:3]]
    flood = {
        "client": {"key": "app", "port": "client", "kind": zmq.DEALER, "frames": requests},
        "unknown key": {"key": "eve", "port": "client", "kind": zmq.DEALER, "frames": requests},
        "no key": {"key": None, "port": "peer", "kind": zmq.DEALER, "frames": peers},
        "subscriber": {"key": "alice", "port": "events", "kind": zmq.SUB, "frames": topics},
        "liar": {"key": "liar", "port": "peer", "kind": zmq.DEALER, "frames": peers},
        "liar's clients": {"key": "liar", "port": "client", "kind": zmq.DEALER,
                           "frames": requests + [encode_client(vouched, CLUSTER)] * 20},
    }  # fmt: skip
    made = {name: (flooding, {**how, "nodes": ["n1", "n2"]}) for name, how in flood.items()}
    return made | {each.__name__: (each, {}) for each in (stranger, idle, deaf, opener)}


def rss_mib(daemons):
    """Resident memory of each node; 0: it does not run."""
    found = {}
    for name, process in daemons.processes.items():
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        except OSError:
            pages = 0
        found[name] = pages * 4096 >> 20
    return found


def quantiles(took):
    """p50 and p99 in ms."""
    cuts = statistics.quantiles([each for _, each in took], n=100) if len(took) > 1 else [0] * 99
    return round(cuts[49] * 1000, 1), round(cuts[98] * 1000, 1)


def give_rights(daemons, app):
    """A rights table in which the attackers' client may write fuzz/ alone."""
    daemons.wait_leader()
    wait_for(lambda: (daemons.status("n1") or {}).get("level", 0) >= LEVEL_KEYS, what="the level")
    peers = {name: (key.public_key,) for name, key in daemons.keys.items()}
    table = tables.first_table(NO_RIGHTS, "alice", daemons.alice.public_key, peers)
    daemons.set_rights(table, 0)
    client = Principal("app", "client", (b"fuzz/",), (b"fuzz/",), (app.public_key,))
    daemons.set_rights(tables.new(table, client), 1)


def attack(daemons, frames, seconds, seed, *, baseline_s=BASELINE_S):
    """Everything at once; what was seen: (sent, memory at most, puts before, puts during)."""
    app = make_key("app", "client", CLUSTER)
    give_rights(daemons, app)
    spawn = multiprocessing.get_context("spawn")
    target, sent, over, end = (Target(daemons, app), spawn.Value("q", 0), spawn.Event(),
                               spawn.Event())  # fmt: skip
    with spawn.Manager() as manager:
        took = manager.list()
        client = spawn.Process(target=honest, args=(daemons.endpoints, daemons.alice, took, end))
        client.start()
        time.sleep(baseline_s)
        began_s = time.monotonic()
        processes = [
            spawn.Process(target=nicely, args=(work, target, seed + place, sent, over), kwargs=how)
            for place, (work, how) in enumerate(attackers(target).values())
        ]
        for each in processes:
            each.start()
        most = rss_mib(daemons)
        while sent.value < frames and time.monotonic() - began_s < seconds:
            time.sleep(0.25)
            most = {name: max(most[name], mib) for name, mib in rss_mib(daemons).items()}
        over.set()
        for each in processes:
            each.join(20)
            each.kill()
        ended_s = time.monotonic()
        end.set()
        client.join(90)
        all_of_them = list(took)
    before = [each for each in all_of_them if each[0] < began_s]
    during = [each for each in all_of_them if began_s <= each[0] < ended_s]
    return sent.value, most, before, during


def report(daemons, first, found):
    """Print it; whether all is well."""
    sent, most, before, during = found
    alive = {name: process.poll() is None for name, process in daemons.processes.items()}
    print(f"{sent} frames sent; nodes that run: {alive}")
    after = rss_mib(daemons)
    for name in daemons.names:
        print(f"  {name}: {first[name]} MiB before, {most[name]} at most, {after[name]} after")
    print(f"  an honest client's put (p50, p99 in ms): {quantiles(before)} before, "
          f"{quantiles(during)} meanwhile ({len(before)} and {len(during)} puts)")  # fmt: skip
    if not all(alive.values()):
        return False
    for name in daemons.names:
        counters = wait_for(lambda name=name: daemons.status(name), 60, "a status")["counters"]
        refused = {k: n for k, n in sorted(counters.items()) if k.startswith("refused")}
        print(f"  {name}: {refused}")
    with daemons.client(timeout_s=60.0) as client:
        there = sum(1 for _ in client.scan(b"honest/"))
    print(f"  {there} of the honest client's {len(before) + len(during)} or more puts are there")
    grown = max(most[name] - first[name] for name in daemons.names)
    return grown <= MEMORY_MIB and there >= len(before) + len(during)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory() as place, KeyedDaemons(Path(place)) as daemons:
        daemons.start()
        daemons.wait_leader()
        first = rss_mib(daemons)
        found = attack(daemons, asked.frames, asked.seconds, asked.seed)
        sys.exit(0 if report(daemons, first, found) else 1)


if __name__ == "__main__":
    main()
