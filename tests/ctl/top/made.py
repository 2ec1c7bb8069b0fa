"""Looks at a cluster of three, one after another."""

from dataclasses import replace

from paxosctl.client.errors import NotSubmittedError
from paxosctl.top.model import Model, Sighting
from paxosd.core.types import Ballot
from tests.ctl.doctor.sound import NAMES, place, status

RULE = {
    "name": "slow", "kind": "disk-slow", "on": "n2", "message_kinds": [], "probability": 1.0,
    "ms": 20, "every_ms": 0, "for_ms": 60_000, "seed": 0, "oneway": False, "persist": False,
    "left_ms": 42_500, "hits": 7,
}  # fmt: skip
REFUSED = NotSubmittedError("unreachable", "the connection was refused", ())


class Looks:
    """``look(n2={…})``: one second later every node says what it said the last time, and these
    changes; None: it does not answer."""

    def __init__(self):
        self.model = Model()
        self.statuses = {name: status(name) for name in NAMES}
        self.now_s = 100.0

    def __call__(self, passed_s=1.0, **changes):
        self.now_s += passed_s
        for name in NAMES:
            more = changes.get(name, changes.get("every", {}))
            if more is not None:
                self.statuses[name] = replace(self.statuses[name], **more)
            said = self.statuses[name] if more is not None else None
            error = REFUSED if more is None else None
            seen = Sighting(name, place(name, "client"), said, error, self.now_s)
            self.model.take(seen, f"02:00:{int(self.now_s) % 60:02}")
        self.model.end_round()
        return self.model

    def busy(self, seconds=5, writes=100):
        """The same with so many writes a second, and syncs of 4 ms."""
        for _ in range(seconds):
            first = self.statuses["n1"]
            counts = dict(first.disk.sync_us_counts)
            counts["4096"] = counts.get("4096", 0) + 50
            disk = replace(first.disk, sync_us_counts=counts)
            more = {
                "revision": first.revision + writes,
                "applied": first.applied + writes,
                "disk": disk,
                "counters": {"requests": first.revision + writes, "requests.read": 0},
            }
            self(every=more)
        return self.model


def leads(name, round_=6):
    """What the nodes say once another one leads."""
    ballot = Ballot(round_, name)
    common = {"leader": name, "leader_client": place(name, "client"), "ballot": ballot}
    return {each: common | {"role": "leader" if each == name else "follower"} for each in NAMES}
