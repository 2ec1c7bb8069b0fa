"""Recordings made by hand: nodes with a fake clock that say what a slot or an election says."""

import json
from datetime import UTC, datetime

from paxosctl.inspection.events import MESSAGES
from paxosd.core.messages import (
    Accept,
    Accepted,
    Heartbeat,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
)
from paxosd.core.types import Ballot
from paxosd.recorder.digest import digest_of
from paxosd.recorder.event import (
    APPLIED,
    COUNT_BIT,
    PROMISED,
    PUBLISHED,
    RECEIVED,
    SENT,
    START,
    SYNCED,
    VOTED,
    WRITE,
)
from paxosd.recorder.messages import record_message
from paxosd.recorder.recorder import Recorder

BASE_US = 1_800_000_000_000_000
"""The wall clock when a fake node's monotonic clock shows 0."""


class Made:
    """One node. ``ahead_us``: how far its wall clock is ahead of the true time."""

    def __init__(self, node, boot=1, run=0, ahead_us=0, mono_us=0):
        self.node = node
        self.run = run or boot << 20 | 7
        self.ahead_us = ahead_us
        self.mono_us = mono_us
        """What its monotonic clock shows at BASE_US."""
        self.recorder = Recorder("c1", node, boot, self.run)
        self.boot = boot
        self.now_us = 0
        self.lines = 0
        self.streams = 0

    def at(self, now_us):
        """The true time from here on, in µs since BASE_US."""
        self.now_us = now_us
        self.recorder.set_time((now_us + self.mono_us) / 1000)
        return self

    def record(self, *args, **named):
        self.recorder.record(*args, **named)
        return self

    def sent(self, to, message):
        record_message(self.recorder, to, SENT, message)
        return self

    def received(self, sender, message):
        record_message(self.recorder, sender, RECEIVED, message)
        return self

    def published(self, message):
        record_message(self.recorder, "", PUBLISHED, message)
        return self

    def note(self, event, level="info", **fields):
        self.lines += 1
        text = self.line(event, level, self.lines, **fields)
        self.recorder.note(text)
        return text

    def line(self, event, level, seq, **fields):
        wall = datetime.fromtimestamp((BASE_US + self.now_us + self.ahead_us) / 1e6, UTC)
        return json.dumps({
            "ts": wall.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "level": level, "event": event,
            "node": self.node, "boot_count": self.boot, "seq": seq,
            "mono_ns": (self.now_us + self.mono_us) * 1000, **fields,
        })  # fmt: skip

    def blocks(self):
        mono = self.now_us + self.mono_us
        wall = BASE_US + self.now_us + self.ahead_us
        self.recorder.settle()
        return list(self.recorder.take_blocks(mono, wall))

    def write(self, data_dir, number=1):
        """A file of a data directory; its path."""
        where = data_dir / self.node / "recorder"
        where.mkdir(parents=True, exist_ok=True)
        path = where / f"rec-{number:08d}.bin"
        with open(path, "ab") as file:
            for block in self.blocks():
                file.write(block)
        return path

    def sync(self, group, took_us, records=1):
        return self.record(SYNCED, slot=group, ballot=Ballot(100, ""), x=took_us, y=records)


def trio(**ahead):
    """Three nodes whose clocks are wrong by ``ahead`` µs."""
    return {n: Made(n, ahead_us=ahead.get(n, 0), mono_us=1_000_000 * i)
            for i, n in enumerate(("n1", "n2", "n3"), 1)}  # fmt: skip


def elect(nodes, leader, at_us, round_=1, voters=("n1", "n2", "n3"), from_slot=1):
    """An election that ``leader`` wins by the promises of ``voters``."""
    ballot = Ballot(round_, leader)
    others = [name for name in nodes if name != leader]
    first = nodes[leader].at(at_us)
    for other in others:
        first.sent(other, PreVote(ballot, from_slot - 1))
    for other in others:
        if other in voters:
            nodes[other].at(at_us + 300).received(leader, PreVote(ballot, from_slot - 1))
            nodes[other].sent(leader, PreVoteReply(ballot, True, Ballot(0, ""), from_slot - 1))
            first.at(at_us + 600)
            first.received(other, PreVoteReply(ballot, True, Ballot(0, ""), from_slot - 1))
    first.record(PROMISED, ballot=ballot)
    first.note("election.started", ballot=ballot.shown())
    first.at(at_us + 1000)
    for other in others:
        first.sent(other, Prepare(ballot, from_slot))
    promise = Promise(ballot, from_slot, 0, from_slot - 1, ())
    for other in others:
        if other in voters:
            nodes[other].at(at_us + 1300).received(leader, Prepare(ballot, from_slot))
            nodes[other].record(PROMISED, ballot=ballot)
            nodes[other].at(at_us + 1600).sync(1, 250).sent(leader, promise)
            first.at(at_us + 2000).received(other, promise)
    first.note("leader.elected", leader=leader, ballot=ballot.shown(), adopted=0,
               from_slot=from_slot)  # fmt: skip
    return ballot


def choose(nodes, ballot, slot, at_us, *, session=7, seq=1, sync_us=None, lost=(), count=1,
           queued_us=100, value=b"value", voters=None, way_us=200):  # fmt: skip
    """One slot, proposed and chosen: to ``lost`` nodes the Accept does not come; ``sync_us``: how
    long the disk of each node takes; ``way_us``: each message. Returns when the answer was
    given."""
    leader = ballot.node
    voters = voters or list(nodes)
    sync_us = dict.fromkeys(nodes, 500) | (sync_us or {})
    first = nodes[leader].at(at_us)
    accept = Accept(ballot, slot, value, slot - 1)
    first.record(VOTED, slot=slot, ballot=ballot, y=digest_of(value))
    for other in nodes:
        if other != leader:
            first.sent(other, accept)
    arrivals = []
    for other in nodes:
        if other in lost or other not in voters:
            continue
        node = nodes[other]
        came_us = at_us + (200 if other == leader else way_us)
        if other != leader:
            node.at(came_us).received(leader, accept)
            node.record(VOTED, slot=slot, ballot=ballot, y=digest_of(value))
        done_us = came_us + sync_us[other]
        node.streams += 1
        arrivals.append((done_us, other, Accepted(ballot, ((slot, slot),), node.streams)))
    votes = sorted(arrivals)
    plan = {name: [] for name in nodes}
    for done_us, other, accepted in votes:
        plan[other].append((done_us, "publish", other, accepted))
        for name in nodes:
            if name != other and name not in lost:
                plan[name].append((done_us + way_us, "hear", other, accepted))
    chosen_us = {
        name: sorted(at for at, *_ in steps)[len(nodes) // 2]
        for name, steps in plan.items() if len(steps) > len(nodes) // 2
    }  # fmt: skip
    answered_us = 0
    for name, steps in plan.items():
        node = nodes[name]
        for when_us, what, other, accepted in sorted(steps, key=lambda s: (s[0], s[1], s[2])):
            if when_us > chosen_us.get(name, 1 << 60) and not _applied(node, slot):
                _apply(node, slot, ballot, value)
            node.at(when_us)
            if what == "publish":
                node.sync(slot + 1, sync_us[name]).published(accepted)
            else:
                node.received(other, accepted)
            if when_us == chosen_us.get(name) and not _applied(node, slot):
                _apply(node, slot, ballot, value)
                if name == leader:
                    answered_us = when_us
                    took = Ballot(when_us - at_us + queued_us, "")
                    node.record(WRITE, slot=slot, ballot=took, x=session,
                                y=seq | count << COUNT_BIT)  # fmt: skip
    return answered_us


def _applied(node, slot):
    return getattr(node, "applied", 0) >= slot


def _apply(node, slot, ballot, value):
    node.record(APPLIED, slot=slot, ballot=ballot, x=slot * 17, y=digest_of(value))
    node.applied = slot


def begin(nodes, at_us=0):
    for node in nodes.values():
        node.at(at_us).record(START, x=node.run)


def beat(nodes, ballot, at_us, commit=0):
    """A heartbeat of the leader to all."""
    for other in nodes:
        if other != ballot.node:
            message = Heartbeat(ballot, ballot.node, commit, 0, 0, commit)
            nodes[ballot.node].at(at_us).sent(other, message)
            nodes[other].at(at_us + 200).received(ballot.node, message)


def healthy(data_dir, slots=3, **ahead):
    """Three data directories: an election, some slots, one request in each."""
    nodes = trio(**ahead)
    begin(nodes)
    ballot = elect(nodes, "n1", 100_000)
    at_us = 200_000
    for slot in range(1, slots + 1):
        at_us = choose(nodes, ballot, slot, at_us, seq=slot) + 5_000
    for node in nodes.values():
        node.write(data_dir)
    return nodes


__all__ = ["BASE_US", "MESSAGES", "Made", "beat", "begin", "choose", "elect", "healthy", "trio"]
