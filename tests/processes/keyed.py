"""Clusters of real daemons with keys."""

import os
from pathlib import Path

from paxosctl.auth.tables import first_table
from paxosctl.client import Client
from paxosd.core.cluster_settings import LEVEL_KEYS
from paxosd.core.commands import RIGHTS, Entry, Status
from paxosd.core.requests import WriteAnswer, WriteRequest
from paxosd.core.rights import NO_RIGHTS
from paxosd.net.key_files import (
    ServerKey,
    TrustFile,
    key_file_text,
    make_key,
    trust_file_text,
    write_secret,
)
from paxosd.wire import encode_entry
from tests.processes.growing import Growing
from tests.processes.processes import Daemons, Raw, wait_for


class KeyedDaemons(Daemons):
    """A cluster whose nodes have keys, in ``NAME.key``, and trust the same, in ``paxosd.trust``;
    ``keys``: node → its key; ``alice``: the key of an admin. ``rollout``: of each node, None: the
    node starts without keys."""

    def __init__(self, path, size=3, *, rollout="done", **settings):
        names = [f"n{i + 1}" for i in range(size)]
        self.keys = {name: make_key(name, "peer", "test") for name in names}
        self.rollouts = dict.fromkeys(names, rollout)
        super().__init__(path, size, **settings)
        self.alice = make_key("alice", "admin", "test", self.servers())
        for name in names:
            self.write_key(name)
        self.write_trust()

    def servers(self):
        return {
            name: ServerKey(self.endpoint(name), self.keys[name].public_key) for name in self.names
        }

    def key_path(self, name):
        return Path(self.path) / f"{name}.key"

    def write_key(self, name):
        write_secret(self.key_path(name), key_file_text(self.keys[name]), replace=True)

    def write_trust(self, **more):
        """``more``: further peers, name → public key."""
        peers = {name: key.public_key for name, key in self.keys.items()} | more
        trust = TrustFile(peers, {"alice": self.alice.public_key})
        (Path(self.path) / "paxosd.trust").write_text(trust_file_text(trust))

    def write_config(self, name):
        rollout = self.rollouts[name]
        settings = self.settings
        if rollout is not None:
            security = {
                "key_file": f"{name}.key", "trust_file": "paxosd.trust", "rollout": rollout,
            }  # fmt: skip
            self.settings = settings | {"security": security | settings.get("security", {})}
        super().write_config(name)
        self.settings = settings

    def switch(self, name, rollout, **how):
        """Restart a node with another state of the switch to keys; ``how`` as for kill."""
        self.kill(name, **how)
        self.rollouts[name] = rollout
        self.write_config(name)
        self.start(name)

    def client(self, *names, timeout_s=10.0, key=None):
        """A client with the admin's key, or another, which talks to nodes without keys as well."""
        endpoints = [self.endpoint(name) for name in names] if names else self.endpoints
        return Client(endpoints, timeout_s=timeout_s, key=key or self.alice, allow_plain=True)

    def knock(self, name, port, key=None, server=None, kind=None):
        """A bare socket to a port of a node. ``key``: the key file that it shows; None: none."""
        options = {} if kind is None else {"kind": kind}
        if key is not None:
            expected = server or self.keys[name].public_key
            options |= {
                "CURVE_PUBLICKEY": key.public_key,
                "CURVE_SECRETKEY": key.secret_key,
                "CURVE_SERVERKEY": expected,
            }
        return Raw(self.endpoint(name, port), **options)

    def set_rights(self, table, version):
        """Bring the rights table about that follows ``version``."""
        command = [RIGHTS, version, table.to_command(), b""]
        request = WriteRequest(0, encode_entry(Entry(0, 1, 0, [command])))

        def done():
            leader = self.wait_leader()
            with self.knock(leader, "client", self.alice) as raw:
                answer = raw.ask(request)
            return type(answer) is WriteAnswer and answer.results[0][0] in (
                Status.OK,
                Status.CAS_MISS,
            )

        wait_for(done, what="the rights")

    def left_behind(self):
        """Every file of this cluster but those of keys, with its bytes."""
        for directory, _, files in os.walk(self.path):
            for name in files:
                path = Path(directory) / name
                if path.suffix != ".key" and path.is_file():
                    yield path, path.read_bytes()


class KeyedGrowing(Growing):
    """Nodes that join a cluster with keys. Each is handed its key and the trust file as credentials
    of a service; ``known``: the nodes that all trust from the beginning."""

    def __init__(self, path, *, size=3, more=1, **settings):
        super().__init__(path, size=size, more=more, **settings)
        self.keys = {name: make_key(name, "peer", "test") for name in self.names}
        servers = {
            name: ServerKey(self.endpoint(name), self.keys[name].public_key) for name in self.names
        }
        self.alice = make_key("alice", "admin", "test", servers)
        write_secret(Path(self.path) / "alice.key", key_file_text(self.alice))
        trust = TrustFile(
            {name: key.public_key for name, key in self.keys.items()},
            {"alice": self.alice.public_key},
        )
        for name, key in self.keys.items():
            place = Path(self.path) / "credentials" / name
            place.mkdir(parents=True)
            write_secret(place / "paxosd.key", key_file_text(key))
            (place / "paxosd.trust").write_text(trust_file_text(trust))

    def spawn(self, name, *, env=None, **how):
        place = str(Path(self.path) / "credentials" / name)
        return super().spawn(name, env={"CREDENTIALS_DIRECTORY": place} | (env or {}), **how)

    def client(self, *names, timeout_s=10.0):
        endpoints = [self.endpoint(name) for name in names] if names else self.endpoints
        return Client(endpoints, timeout_s=timeout_s, key=self.alice)

    def run(self, program, *arguments):
        key = ("--key-file", str(Path(self.path) / "alice.key")) if program == "paxosctl" else ()
        return super().run(program, *key, *arguments)


class RequiringDaemons(KeyedDaemons):
    """A cluster that requires rights as soon as a test has waited for its leader. ``admin_key``:
    that of the admin of the cluster that was made last."""

    admin_key = None

    def __init__(self, path, size=3, **settings):
        super().__init__(path, size, **settings)
        self._requires = False
        type(self).admin_key = self.alice._replace(allow_plain=True)

    def wait_leader(self, timeout_s=30.0):
        leader = super().wait_leader(timeout_s)
        if not self._requires:
            self._requires = True
            wait_for(
                lambda: (self.status(leader) or {}).get("level", 0) >= LEVEL_KEYS,
                what="the level of keys",
            )
            peers = {name: (key.public_key,) for name, key in self.keys.items()}
            self.set_rights(first_table(NO_RIGHTS, "alice", self.alice.public_key, peers), 0)
            return super().wait_leader(timeout_s)
        return leader
