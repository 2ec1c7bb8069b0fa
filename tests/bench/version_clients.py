"""Clients and a watcher in a process of their own, of whichever version PYTHONPATH has.

    python -P version_clients.py '{"endpoints": […], "workload": {…}, "seed": 1, "prefix": "k/",
                                   "name": "old", "history": FILE}'

Line by line:

    ── ready FILE ──►   it works now; FILE is the module that it runs
    ◄── stop ──         end the clients, and ask what became of their writes without an answer
    ── stopped ──►
    ◄── REVISION ──     save the history once the watcher has seen that revision of the store
    ── JSON ──►         ``changes`` and ``gaps``: what the watcher saw

It uses only what both versions have.
"""

import json
import sys
import threading
from pathlib import Path

import paxosctl
from paxosctl.client.client import Client
from paxosctl.client.errors import RefusedError
from paxosctl.faultrun.clients import Workers
from paxosctl.faultrun.plan import Workload

SETTLE_S = 60.0
END_S = 60.0


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


def main():
    """See above."""
    given = json.loads(sys.argv[1])
    prefix = given["prefix"].encode()
    workers = Workers(given["endpoints"], Workload(**given["workload"]), given["seed"], prefix)
    for number, thread in enumerate(workers._threads):
        thread._work.process = f"{given['name']}{number}"  # unlike the other version's clients
    watching = Watching(given["endpoints"], prefix)
    watching.start()
    workers.start()
    say(f"ready {paxosctl.__file__}")
    sys.stdin.readline()
    workers.stop()
    with Client(given["endpoints"], timeout_s=SETTLE_S) as client:
        workers.settle(client)
    say("stopped")
    watching.finish(int(sys.stdin.readline()))
    workers.history.save(Path(given["history"]))
    changes = [(number, key.decode(), None if value is None else value.decode())
               for number, key, value in watching.changes]  # fmt: skip
    say(json.dumps({"changes": changes, "gaps": watching.gaps}))


def say(line):
    """One line to the process that started this one."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
