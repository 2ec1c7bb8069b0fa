"""Recordings and logs made by hand, by the real writers: the auditor reads what they write."""

import json

from paxosctl.audit.kinds import (
    ACCEPT,
    ACCEPTED,
    ADOPTED,
    APPLIED,
    MEMBER,
    PREPARE,
    PROMISE,
    PROMISED,
    PUBLISHED,
    RECEIVED,
    SENT,
    START,
    SYNCED,
    VOTED,
    WRITE,
)  # fmt: skip
from paxosd.core.effects import AcceptRecord, PromiseRecord
from paxosd.core.types import NULL_BALLOT, Ballot, Mark
from paxosd.recorder.block import BlockHead, encode_block
from paxosd.recorder.digest import digest_of
from paxosd.recorder.event import FORM, NOBODY
from paxosd.storage.wal_format import GroupBuilder, Release, SegmentHeader

NODES = ("n1", "n2", "n3")
B1, B2, B3 = Ballot(1, "n1"), Ballot(2, "n2"), Ballot(3, "n3")
X, Y = digest_of(b"x"), digest_of(b"y")
"""Digests of two values."""


class Recording:
    """One node's runs. Every event is a millisecond after the one before it."""

    def __init__(self, directory, node, *, directory_id=7, members=NODES):
        self.node = node
        self.home = directory / node
        self.directory_id = directory_id
        self.members = members
        self.runs = []

    def start(self, *, applied=0, promised=NULL_BALLOT, lost=0, directory_id=None):
        """A run begins."""
        self.directory_id = directory_id or self.directory_id
        self.runs.append((self.directory_id, []))
        self.add(START, code=lost, slot=applied, ballot=promised, y=self.directory_id)
        for name in self.members:
            self.add(MEMBER, name, 1, 0, Ballot(0, ""))
        return self

    def add(self, kind, peer="", code=0, slot=0, ballot=NULL_BALLOT, x=0, y=0):
        """An event; returns the recording, so that events can be strung together."""
        self.runs[-1][1].append((kind, peer, code, slot, ballot, x, y))
        return self

    # -- stretches of a usual life

    def promise(self, ballot, to="", *, slot=1, commit=0, reported=()):
        """It is asked, promises, has that synced, and says so."""
        if to:
            self.add(PREPARE, to, RECEIVED, slot, ballot)
        self.add(PROMISED, ballot=ballot).sync()
        if to:
            self.add(PROMISE, to, SENT, slot, ballot, commit, len(reported))
            for each, at, digest in reported:
                self.add(ADOPTED, to, SENT, each, at, 0, digest)
        return self

    def lead(self, ballot, *promisers, slot=1, reported=(), commit=0):
        """It campaigns, and these promise."""
        self.promise(ballot)
        for name in self.members:
            if name != self.node:
                self.add(PREPARE, name, SENT, slot, ballot)
        for name in promisers:
            self.add(PROMISE, name, RECEIVED, slot, ballot, commit, len(reported))
            for each, at, digest in reported:
                self.add(ADOPTED, name, RECEIVED, each, at, 0, digest)
        return self

    def propose(self, slot, ballot, digest=X):
        """To the others, and to itself."""
        self.add(VOTED, slot=slot, ballot=ballot, y=digest)
        for name in self.members:
            if name != self.node:
                self.add(ACCEPT, name, SENT, slot, ballot, 0, digest)
        return self.sync().say(slot, ballot)

    def vote(self, slot, ballot, digest=X, leader="n1"):
        """For a proposal."""
        self.add(ACCEPT, leader, RECEIVED, slot, ballot, 0, digest)
        return self.add(VOTED, slot=slot, ballot=ballot, y=digest).sync().say(slot, ballot)

    def say(self, slot, ballot):
        """Publish a vote."""
        return self.add(ACCEPTED, "", PUBLISHED, slot, ballot, slot)

    def hear(self, voter, slot, ballot):
        """A vote of another."""
        return self.add(ACCEPTED, voter, RECEIVED, slot, ballot, slot)

    def apply(self, slot, ballot, digest=X, chain=0):
        """A slot."""
        return self.add(APPLIED, slot=slot, ballot=ballot, x=chain, y=digest)

    def acknowledge(self, slot):
        """A client's write."""
        return self.add(WRITE, slot=slot, ballot=Ballot(500, ""), x=1, y=1)

    def sync(self):
        """A group commit."""
        return self.add(SYNCED, slot=1, ballot=Ballot(100, ""), x=10, y=2)

    # -- files

    def blocks(self, *, without=(), cluster="c1"):
        """The bytes of all runs, one block for each ten events. ``without``: blocks left out."""
        found = []
        for boot_count, (directory_id, events) in enumerate(self.runs, 1):
            for first in range(0, len(events), 10):
                if len(found) in without:
                    found.append(b"")
                    continue
                head = BlockHead(cluster, self.node, boot_count, boot_count << 20, first + 1,
                                 boot_count * 1_000_000, 0, 0, list(self.members),
                                 directory_id=directory_id)  # fmt: skip
                rows = [
                    self._row(first + at, *e) for at, e in enumerate(events[first : first + 10])
                ]
                found.append(encode_block(head, b"".join(rows)))
        return found

    def _row(self, place, kind, peer, code, slot, ballot, x, y):
        at = {name: number for number, name in enumerate(self.members)}
        voter = at.get(ballot.node, NOBODY)
        return FORM.pack(place * 1000, kind, at.get(peer, NOBODY), voter, code, slot,
                         ballot.round, x, y)  # fmt: skip

    def write(self, *, without=(), cluster="c1"):
        """Into the data directory."""
        (self.home / "recorder").mkdir(parents=True, exist_ok=True)
        data = b"".join(self.blocks(without=without, cluster=cluster))
        (self.home / "recorder" / "rec-00000001.bin").write_bytes(data)
        return self


def write_log(directory, node, groups, *, first=1, commit=0, directory_id=7, members=NODES,
              number=1, first_group=1, heard=()):  # fmt: skip
    """A log of one segment, the one with ``number``, which needs those from 1 on.

    ``groups``: lists of AcceptRecord, PromiseRecord, (slot, ballot, value)
    for a decision, and numbers for a commit. ``heard``: (node, directory, group) of peers' logs."""
    home = directory / node
    (home / "wal").mkdir(parents=True, exist_ok=True)
    header = SegmentHeader(number, b"12345678", 1 << 20, "c1", node)
    data = bytearray(header.encode())
    for place, records in enumerate(groups, first_group):
        group = GroupBuilder(header, place, len(data))
        if place == 1:
            group.add_state(NULL_BALLOT, Release(first, commit, 1))
            for name, *mark in heard:
                group.add_heard(name, Mark(*mark))
        for record in records:
            if isinstance(record, AcceptRecord):
                group.add_value(2, *record)
            elif isinstance(record, PromiseRecord):
                group.add_promise(record.ballot)
            elif isinstance(record, tuple):
                group.add_value(3, *record)
            else:
                group.add_commit(record)
        group.finish()
        data += b"".join(map(bytes, group.buffers))
    (home / "wal" / f"wal-{number:08d}.log").write_bytes(bytes(data).ljust(1 << 16, b"\0"))
    identity = {"cluster": "c1", "node": node, "directory": directory_id, "lost": False}
    (home / "identity").write_text(json.dumps(identity))
    founders = {name: [True, 7] for name in members}
    genesis = {"cluster": "c1", "members": founders, "settings": "{}"}
    (home / "genesis").write_text(json.dumps(genesis))


def good(directory):
    """Three nodes that choose one value in each of three slots, under two leaders."""
    n1, n2, n3 = (Recording(directory, name).start() for name in NODES)
    for each in (n2, n3):
        each.promise(B1, "n1")
    n1.lead(B1, "n2", "n3")
    for slot in (1, 2):
        n1.propose(slot, B1).hear("n2", slot, B1).apply(slot, B1).acknowledge(slot)
        n2.vote(slot, B1).hear("n1", slot, B1).apply(slot, B1)
        n3.vote(slot, B1).hear("n1", slot, B1).apply(slot, B1)
    n2.lead(B2, "n3", slot=3)
    n3.promise(B2, "n2", slot=3, commit=2)
    n2.propose(3, B2, Y).hear("n3", 3, B2).apply(3, B2, Y).acknowledge(3)
    n3.vote(3, B2, Y, "n2").hear("n2", 3, B2).apply(3, B2, Y)
    return n1, n2, n3
