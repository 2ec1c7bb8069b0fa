"""The clients and watchers of one version: a load, in this process or in one of the version before.

    load = Load({"endpoints": […], "workload": {…}, "pairs": 1, "seed": 1, "name": "new", …})
    load.start()  …  load.stop()  …  load.finish(revision)  →  what they saw, as plain values

As a program it runs what PYTHONPATH has, ``python -P version_clients.py '{…}'``, line by line:

    ── ready FILE ──►   it works now; FILE is the module that it runs
    ◄── stop ──         end the clients, and ask what became of their writes without an answer
    ── stopped ──►
    ◄── REVISION ──     save the history once the watcher has seen that revision of the store
    ── JSON ──►         what they saw

It uses only what all versions of ``version_before.py`` have; transactions, leases and locks
(``pairs`` of a Transactor and a Locker) and a lease that is kept need feature level 4.
"""

import json
import sys
import threading
from dataclasses import fields
from pathlib import Path

import paxosctl
from paxosctl.client.client import Client
from paxosctl.client.errors import RefusedError
from paxosctl.faultrun.clients import Workers
from paxosctl.faultrun.plan import Workload

SETTLE_S = 60.0
END_S = 60.0
STEADY_S = 60.0
"""How long a steady client waits for an answer: longer than any fault, so that none is lost."""
PAUSE_S = 0.05
PAIR = ("transactors", "lockers")
"""Fields of a Workload of later versions; a Load makes its own, with names of its own."""
TTL_S = 45
"""Of the lease that is kept: longer than any fault lasts."""


class Watching(threading.Thread):
    """Watches a prefix to the end. ``changes``: (revision, key, value or None) each. ``gaps``: the
    revisions [first, end) that no node had any more, by its word: below feature level 4 each node
    keeps what it has published since its start. It goes on behind them, as a user would."""

    def __init__(self, endpoints, prefix):
        super().__init__(daemon=True)
        self.changes, self.gaps = [], []
        self.error = None
        self._endpoints, self._prefix = endpoints, prefix
        self._until = None
        """The revision to wait for, once the writers have ended."""

    def run(self):
        try:
            with Client(self._endpoints, timeout_s=30.0) as client:
                first = 1
                while first:
                    first = self._watch(client, first)
        except BaseException as error:  # noqa: BLE001 - raised again by finish
            self.error = error

    def _watch(self, client, first):
        """Until all is over: 0; or until history is gone: the revision to go on from."""
        watcher = client.watch(self._prefix, prefix=True, from_revision=first)
        try:
            while True:
                change = watcher.poll(50)
                if change is not None:
                    self.changes.append((change.revision, change.key, change.value))
                elif self._is_over():
                    return 0
        except RefusedError as error:
            if error.code != "compacted":
                raise
            seen = self.changes[-1][0] if self.changes else first - 1
            self.gaps.append((seen, error.detail))
            return error.detail

    def _is_over(self):
        """Whether nothing more comes: a revision may have several changes."""
        last = self.changes[-1][0] if self.changes else 0
        return self._until is not None and last >= self._until

    def finish(self, revision):
        """Wait until it has seen this revision, the last one. Raises what broke it, and
        AssertionError."""
        self._until = revision
        self.join(END_S)
        if self.error is not None:
            raise self.error
        seen = self.changes[-1:]
        assert not self.is_alive(), f"the watcher has not seen revision {revision}: {seen}"


class Steady(threading.Thread):
    """A client with one session from the first moment to the last, whichever nodes there are. It
    adds to a counter that all of its kind share, by compare-and-set and, once it ``coordinates``,
    by transactions; and it keeps a lease with a key. ``added``: how often by which."""

    def __init__(self, endpoints, prefix, name, *, coordinates):
        super().__init__(daemon=True)
        self.added = {"cas": 0, "incr": 0}
        self.error = None
        self.sessions = set()
        self.coordinates = coordinates
        self._endpoints, self._prefix = endpoints, prefix
        self._key = prefix + b"kept/" + name.encode()
        self._lease = 0
        self._over = threading.Event()

    def run(self):
        try:
            with Client(self._endpoints, timeout_s=STEADY_S) as client:
                while not self._over.wait(PAUSE_S):
                    self._act(client)
                    self.sessions.add(client.session)
                if self._lease:
                    self._give_back(client)
        except BaseException as error:  # noqa: BLE001 - raised again by stop
            self.error = error

    def _act(self, client):
        key = self._prefix + b"count/cas"
        row = client.get(key)
        number, revision = (0, 0) if row is None else (int(row.value), row.modify_revision)
        self.added["cas"] += client.cas_revision(key, revision, b"%d" % (number + 1)).ok
        if self.coordinates:
            if not self._lease:
                self._lease = client.grant(TTL_S)
                client.put(self._key, b"kept", lease=self._lease)
            client.incr(self._prefix + b"count/incr")
            self.added["incr"] += 1
            kept = client.keepalive([self._lease])[self._lease]
            assert kept, f"lease {self._lease} has ended although it was kept"

    def _give_back(self, client):
        row = client.get(self._key)
        assert row is not None, "a key went, although its lease was kept"
        assert client.lease(self._lease).keys == [self._key]
        assert client.revoke(self._lease).keys == 1

    def stop(self):
        """End it. Raises what broke it, and AssertionError."""
        self._over.set()
        self.join(STEADY_S + END_S)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), "a steady client does not end"
        assert len(self.sessions) == 1, f"it had the sessions {self.sessions}"


class Load:
    """All clients of one version. ``given``: ``endpoints``, ``workload`` (the fields of a Workload
    that all versions have), ``pairs``, ``seed``, ``name`` (unlike that of the other load), and
    ``keys``, ``steady``, ``watched``: the prefixes of the workload, of steady clients, and of all
    that is watched."""

    def __init__(self, given):
        endpoints, name = given["endpoints"], given["name"]
        self.name = name
        self._endpoints = endpoints
        plain = {field.name: 0 for field in fields(Workload) if field.name in PAIR}
        workload = Workload(**given["workload"], **plain)
        self.workers = Workers(endpoints, workload, given["seed"], given["keys"].encode())
        for number, thread in enumerate(self.workers._threads):
            thread._work.process = f"{name}{number}"
        self._pairs = given["pairs"]
        for place in range(self._pairs):
            self._add_pair(place)
        self._watching = Watching(endpoints, given["watched"].encode())
        self._steady = Steady(
            endpoints, given["steady"].encode(), name, coordinates=bool(self._pairs)
        )

    def _add_pair(self, place):
        from paxosctl.faultrun.lockers import Locker  # not in the version of level 3
        from paxosctl.faultrun.transactors import Transactor

        workers = self.workers
        transactor = Transactor(workers, place, f"{self.name}-t{place}")
        locker = Locker(workers, place, f"{self.name}-l{place}", workers.locks)
        workers._transactors.append(transactor)
        workers._threads += [transactor, locker]

    def start(self):
        """Begin."""
        self._watching.start()
        self.workers.start()
        self._steady.start()

    def coordinate(self):
        """The cluster has come to feature level 4: go on with the same sessions."""
        self._steady.coordinates = True

    def raise_error(self):
        """What broke a client so far."""
        self.workers.raise_error()
        for each in (self._steady, self._watching):
            if each.error is not None:
                raise each.error

    def halt(self):
        """Whatever happened: end soon, in the background."""
        self.workers.over.set()
        self._steady._over.set()

    def stop(self):
        """End all but the watcher; what became of open writes is known then. Raises what broke a
        client."""
        self._steady._over.set()
        self.workers.stop()
        self._steady.stop()
        with Client(self._endpoints, timeout_s=SETTLE_S) as client:
            self.workers.settle(client)

    def expect(self):
        """Say in the history from when on leases may have ended; the audit of this process's own
        clients does that itself."""
        for transactor in getattr(self.workers, "_transactors", ()):
            for term in transactor.terms:
                term.expect(self.workers.history)

    def finish(self, revision):
        """What they saw, once the watcher has seen this revision of the store."""
        self._watching.finish(revision)
        locks, breaches = [], []
        if self._pairs:
            kept = self.workers.locks
            parts = (kept.acquisitions, kept.beliefs, kept.writes, kept.refusals)
            locks = [[list(each) for each in part] for part in parts]
            breaches = self.workers.breaches()
        return {
            "changes": [
                (number, key.decode(), None if value is None else value.decode())
                for number, key, value in self._watching.changes
            ],
            "gaps": self._watching.gaps,
            "added": self._steady.added,
            "locks": locks,
            "breaches": breaches,
        }


def main():
    """See above."""
    given = json.loads(sys.argv[1])
    load = Load(given)
    load.start()
    say(f"ready {paxosctl.__file__}")
    sys.stdin.readline()
    load.stop()
    load.expect()
    say("stopped")
    seen = load.finish(int(sys.stdin.readline()))
    load.workers.history.save(Path(given["history"]))
    say(json.dumps(seen))


def say(line):
    """One line to the process that started this one."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
