"""Buses whose sockets want keys: a key for each node, some for clients, and a ring that a test
changes."""

import zmq
from zmq.utils import z85

from paxosd.bus.bus import Bus
from paxosd.bus.curve import DONE, NodeKeys
from paxosd.bus.peers import PeerEndpoints
from paxosd.bus.sockets import BusConfig
from tests.bus.harness import World, until


def new_key():
    """A public and a secret key."""
    public, secret = zmq.curve_keypair()
    return z85.decode(public), z85.decode(secret)


class Ring:
    """A key ring of mappings. ``peers``: node → its keys, the newest first; ``readers``: keys that
    may read everything; ``clients``: keys of others."""

    def __init__(self, peers, readers=(), clients=()):
        self.version = 0
        self.peers = {name: tuple(keys) for name, keys in peers.items()}
        self.readers = set(readers)
        self.clients = set(clients)

    def admits(self, socket, key):
        peer = any(key in keys for keys in self.peers.values())
        reader = key in self.readers
        return {"peer": peer, "events": peer or reader}.get(
            socket, peer or reader or key in self.clients
        )

    def keys_of(self, node):
        return self.peers.get(node, ())

    def change(self, **fields):
        for name, value in fields.items():
            setattr(self, name, value)
        self.version += 1


class KeyedWorld(World):
    """Each bus has a context of its own, for each has a door of its own, and a ring of its own."""

    def __init__(self, nodes=("n1", "n2"), **config):
        super().__init__(nodes, **config)
        self.pairs = {name: new_key() for name in nodes}
        self.alice, self.app, self.eve = new_key(), new_key(), new_key()
        self.contexts = {}
        self.rings = {name: self.ring() for name in nodes}

    def ring(self):
        peers = {name: (public,) for name, (public, _) in self.pairs.items()}
        return Ring(peers, {self.alice[0]}, {self.app[0]})

    def start(self, name, *, rollout=DONE, keyed=True, pair=None, **options):
        own = self.where[name]
        config = BusConfig(
            node=name,
            cluster="dev",
            run_id=1,
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
        keys = None
        if keyed:
            public, secret = pair or self.pairs[name]
            keys = NodeKeys(public, secret, self.rings[name], rollout)
        context = self.contexts[name] = zmq.Context()
        bus = self.buses[name] = Bus(config, context, self.logs[name], keys=keys, **options)
        bus.ports.limit(dict.fromkeys(("peer", "client", "events"), 100))
        return bus

    def stop(self, name):
        self.buses.pop(name).close()
        self.contexts.pop(name).term()

    def __exit__(self, *_):
        for name in list(self.buses):
            self.stop(name)
        super().__exit__()

    def dial(self, kind, endpoint, pair=None, server=None, **options):
        """A raw socket on its way to an endpoint. ``pair``: the key it shows, None: none."""
        if pair is not None:
            options |= {
                "CURVE_PUBLICKEY": pair[0],
                "CURVE_SECRETKEY": pair[1],
                "CURVE_SERVERKEY": server,
            }
        return self.raw(kind, endpoint, **options)


def step(*buses):
    """A turn of each: everything is taken in."""
    came = []
    for bus in buses:
        bus.poll(5)
        came += bus.receive_peers(1000)
        bus.receive_clients(1000)
        bus.receive_subscriptions()
        bus.disconnected()
    return came


def await_count(bus, counter, *others, least=1):
    until(
        lambda: bus.counters[counter] >= least,
        f"{counter} in {dict(bus.counters)}",
        lambda: step(bus, *others),
    )
