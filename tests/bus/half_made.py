"""Make a bus again and again, each time with one descriptor more to be had: a program of
``test_half_made.py``, with ``keys`` or without. It says how each try ended, and fails if anything
of it was left."""

import os
import resource
import sys
import threading
import time

import zmq
from zmq.utils import z85

from paxosd.bus import bus
from paxosd.bus.connections import shares
from paxosd.bus.curve import DONE, NodeKeys
from paxosd.bus.peers import PeerEndpoints
from paxosd.bus.sockets import BusConfig
from paxosd.host.descriptors import DescriptorsError
from tests.bus.harness import MemoryLog, free_ports
from tests.bus.keyed import Ring

MOST = 200


def present():
    """The descriptors and threads that there are."""
    own = os.open("/proc/self/fd", os.O_RDONLY)
    numbers = set(map(int, os.listdir(own))) - {own}
    os.close(own)
    return numbers, threading.active_count()


def begin():
    """The same, once there is no number below the highest to be had."""
    time.sleep(0.2)  # for what libzmq still closes
    numbers, _ = present()
    for _ in range(max(numbers) + 1 - len(numbers)):
        os.dup(0)
    return present()


def settled(before):
    """Whether there is nothing else, once libzmq has closed what it was asked to."""
    deadline = time.monotonic() + 10.0
    while present() != before:
        if time.monotonic() > deadline:
            sys.exit(f"{present()} instead of {before}")
        time.sleep(0.005)  # between two looks at another thread


def configuration():
    ports = iter(free_ports(9))

    def place():
        return f"tcp://127.0.0.1:{next(ports)}"

    peers = {name: PeerEndpoints(place(), place()) for name in ("n2", "n3")}
    return BusConfig(
        node="n1", cluster="c", run_id=1, peer_bind=place(), client_bind=place(),
        events_bind=place(), peers=peers,
    )  # fmt: skip


def node_keys():
    public, secret = (z85.decode(each) for each in zmq.curve_keypair())
    return NodeKeys(public, secret, Ring(dict.fromkeys(("n1", "n2", "n3"), (public,))), DONE)


def attempt(config, context, keys):
    """How it ended; "": well."""
    try:
        made = bus.Bus(config, context, MemoryLog(), keys=keys)
    except (OSError, zmq.ZMQError, DescriptorsError) as error:
        return type(error).__name__
    try:
        made.ports.limit(shares(100, 3))
    except (OSError, zmq.ZMQError) as error:
        return f"limit: {type(error).__name__}"
    finally:
        made.close()
    return ""


def main():
    keyed = "keys" in sys.argv
    # Just enough for what libzmq and asyncio cannot do without: the rest must close behind itself.
    bus.OWN_DESCRIPTORS = 18
    config, context = configuration(), zmq.Context()
    keys = node_keys() if keyed else None
    assert attempt(config, context, keys) == ""  # all that is imported, and libzmq's threads
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = begin()
    for more in range(MOST):
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(before[0]) + more, hard))
        ended = attempt(config, context, keys)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        print(more, ended)
        settled(before)
        if not ended:
            break
    context.term()


if __name__ == "__main__":
    main()
