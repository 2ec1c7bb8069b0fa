"""Buses on real sockets of this machine, a log that remembers, and raw intruders."""

import socket
import time
from contextlib import suppress

import zmq

from paxosd.bus.binding import BindError
from paxosd.bus.bus import Bus
from paxosd.bus.peers import PeerEndpoints
from paxosd.bus.sockets import BusConfig
from paxosd.core.messages import Accepted, Heartbeat
from paxosd.core.types import Ballot

DEADLINE_S = 10.0
MEETING_VOTE = Accepted(Ballot(1, "n1"), ((1, 1),), 1)


class MemoryLog:
    """A logger that keeps its lines as (level, event, fields)."""

    def __init__(self):
        self.lines = []

    def info(self, event, **fields):
        self.lines.append(("info", event, fields))

    def warning(self, event, **fields):
        self.lines.append(("warning", event, fields))

    def of(self, event):
        return [fields for _, name, fields in self.lines if name == event]


def free_ports(count):
    """Ports that were free a moment ago; held open together, so they differ."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def heartbeat(number=1):
    return Heartbeat(Ballot(1, "n1"), "n1", number, 0, 0, 0)


class Clock:
    """A clock in the hands of the test."""

    def __init__(self):
        self.ms = 1000

    def __call__(self):
        return self.ms


class World:
    """Some nodes' buses in one context; closes everything at its end."""

    def __init__(self, nodes=("n1", "n2"), **config):
        self.context = zmq.Context()
        self.config = config
        self.nodes = nodes
        ports = iter(free_ports(3 * len(nodes)))
        self.where = {
            name: {kind: f"tcp://127.0.0.1:{next(ports)}" for kind in ("peer", "events", "client")}
            for name in nodes
        }
        self.logs = {name: MemoryLog() for name in nodes}
        self.buses = {}
        self.sockets = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for bus in self.buses.values():
            bus.close()
        for each in self.sockets:
            each.close(0)
        self.context.term()

    def start(self, name, **options):
        own = self.where[name]
        run_id = options.pop("run_id", 1)
        genesis = options.pop("genesis", 0)
        config = BusConfig(
            node=name,
            cluster="dev",
            run_id=run_id,
            peer_bind=own["peer"],
            client_bind=own["client"],
            events_bind=own["events"],
            peers={
                other: PeerEndpoints(at["peer"], at["events"])
                for other, at in self.where.items()
                if other != name
            },
            **self.config,
        )
        bus = Bus(config, self.context, self.logs[name], **options)
        bus.inbox.header.genesis = genesis
        self.buses[name] = bus
        return bus

    def restart(self, name, **options):
        """Close the bus and open it anew, as soon as its ports are free: ZeroMQ closes in the
        background."""
        self.buses.pop(name).close()

        def start():
            with suppress(BindError):
                return self.start(name, **options)

        return until(start, f"a new start of {name}")

    def raw(self, kind, endpoint, **options):
        """A ZeroMQ socket of an intruder or a client, connected."""
        made = self.context.socket(kind)
        made.setsockopt(zmq.LINGER, 0)
        for option, value in options.items():
            made.setsockopt(getattr(zmq, option), value)
        made.connect(endpoint)
        self.sockets.append(made)
        return made

    def tcp(self, endpoint):
        """A plain TCP connection."""
        host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
        made = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
        self.sockets.append(Closing(made))
        return made


class Closing:
    def __init__(self, made):
        self.made = made

    def close(self, _linger):
        self.made.close()


def until(condition, what="the condition", step=None):
    """Wait until ``condition()`` gives something true, and return that."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        if step is not None:
            step()
        else:
            time.sleep(0.002)
    raise AssertionError(f"{what} did not come about in {DEADLINE_S} s")


def take_peers(bus, limit=1000):
    """What has come from peers: ``(sender, run id, message)`` of each envelope."""
    return [envelope[:3] for envelope in bus.receive_peers(limit)]


def next_envelopes(bus, count=1, but=()):
    """The next ``count`` messages from peers, with all that their senders say of themselves;
    ``but``: messages that are let go by."""
    got = []
    until(
        lambda: len(got) >= count,
        f"{count} messages (got {got})",
        lambda: (bus.poll(10), got.extend(m for m in bus.receive_peers(1000) if m.body not in but)),
    )
    return got


def next_peers(bus, count=1):
    """The next ``count`` messages from peers, as :func:`take_peers` gives them."""
    return [envelope[:3] for envelope in next_envelopes(bus, count)]


def next_clients(bus, count=1):
    """The next ``count`` requests: ``(client, message)`` of each."""
    got = []
    until(
        lambda: len(got) >= count,
        f"{count} requests (got {got})",
        lambda: (bus.poll(10), got.extend(each[:2] for each in bus.receive_clients(1000))),
    )
    return got


def next_notices(bus, count=1):
    got = []
    until(
        lambda: len(got) >= count,
        f"{count} subscription notices (got {got})",
        lambda: (bus.poll(10), got.extend(bus.receive_subscriptions())),
    )
    return got


def meet(world, *names, losing=False):
    """Exchange messages until every one of ``names`` has heard each other one by DEALER and by
    PUB; then nothing of that is left on the way from the DEALERs (but perhaps MEETING_VOTEs).
    ``losing``: whether connections may break meanwhile, which the buses are asked for."""
    buses = [world.buses[name] for name in names]
    voted = {name: set() for name in names}
    beaten = {name: set() for name in names}

    def step():
        for name, bus in zip(names, buses, strict=True):
            others = [other for other in names if other != name]
            for other in others:
                bus.send(other, heartbeat())
            bus.publish_accepted(MEETING_VOTE)
            bus.poll(10)
            bus.receive_subscriptions()
            if losing:
                bus.disconnected()
            for sender, _, message in take_peers(bus):
                (voted if isinstance(message, Accepted) else beaten)[name].add(sender)

    wanted = len(names) - 1
    until(
        lambda: all(len(seen[n]) == wanted for seen in (voted, beaten) for n in names),
        "hearing each other",
        step,
    )
    for bus, name in zip(buses, names, strict=True):
        for other in names:
            if other != name:
                until(lambda b=bus, o=other: b.send(o, heartbeat(999)), "a send")
    for bus in buses:
        left = {other for other in names if world.buses[other] is not bus}
        while left:
            for sender, _, message in next_peers(bus):
                if isinstance(message, Heartbeat) and message.commit == 999:
                    left.discard(sender)
