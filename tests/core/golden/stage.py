"""A cluster of real nodes in which nothing moves by itself.

Messages wait in their links until a command delivers or drops them. Each node has a clock of its
own, which stands still until a command lets it go on: the protocol must not depend on what clocks
show, and a transcript does not depend on chance. A disk writes at once, unless it stalls.
"""

from collections import deque
from typing import NamedTuple

from paxosd.core.messages import Heartbeat, HeartbeatAck, NodeLimits, Prepare, PreVote
from paxosd.core.requests import GET
from paxosd.core.types import NULL_BALLOT
from tests.core.cluster import Cluster
from tests.core.golden.words import answer_words, value_words, words

TICK_MS = 50
CAMPAIGN_TICKS_MAX = 60
DELIVERIES_MAX = 2000
QUIET_KINDS = (Heartbeat, HeartbeatAck, NodeLimits)
"""Sent all the time: hidden unless the transcript shows them."""


class StageError(AssertionError):
    """A command of a transcript cannot be carried out."""


class Snapshot(NamedTuple):
    """Stands for the file that travels when a donor's log no longer reaches back far enough."""

    slot: int
    content: object


class Stage(Cluster):
    """``log``: the lines of what happened since it was last taken."""

    def __init__(self, size, seed):
        self.log = []
        self.links = {}
        self.clocks = {}
        self.stalled = set()
        self.shown = set()
        self.actor = ""
        self.leads = {}
        super().__init__(size, seed)
        self.on_reply = self._log_reply

    # -- what the nodes do

    def turn(self, name):
        """One turn of a node's loop, and what its disk makes of it."""
        member = self.members[name]
        self._use_clock(name)
        super().turn(name)
        while member.unsynced and member.node is not None and name not in self.stalled:
            group, member.unsynced = member.unsynced, []
            for _, records in group:
                self._durable(member, records)
                for record in records:
                    self.say(f"{name} writes {words(record)}")
            member.node.synced(group[-1][0])
            super().turn(name)
        self._log_role(name)

    def _use_clock(self, name):
        self.actor = name
        self.now = self.clocks.setdefault(name, 0.0)

    def _sync(self, member):
        """Nothing yet: :meth:`turn` writes once the node has done all it can."""

    def _wake(self, member, at_ms=float("inf")):
        """Nothing: only commands let time pass."""

    def deliver(self, src, dst, message):
        if src == dst or dst not in self.members:
            return
        self.links.setdefault((src, dst), deque()).append(message)
        self._log_send(src, dst, message)

    def _log_send(self, src, dst, message):
        kind = type(message)
        if kind in QUIET_KINDS and kind.__name__ not in self.shown:
            return
        line = f"{src}→{dst} {words(message)}"
        if self.log:  # the same to several peers is one line
            head, _, rest = self.log[-1].partition(" ")
            known = head.removeprefix(f"{src}→").split(",")
            if head.startswith(f"{src}→") and dst not in known and rest == words(message):
                self.log[-1] = f"{head},{dst} {rest}"
                return
        self.say(line)

    def _offer(self, src, dst, first):
        held = self.members[src].snapshot
        if held is not None and held[0].slot >= first:
            self.links.setdefault((src, dst), deque()).append(Snapshot(held[0].slot, held))
            self.say(f"{src}→{dst} Snapshot as of slot {held[0].slot}")

    def check_chosen(self, slot, value):
        super().check_chosen(slot, value)
        self.say(f"{self.actor} applies slot {slot}: {value_words(value)}")

    def _log_reply(self, token, reply):
        if type(reply) is tuple:  # a read that may be served now, as of a slot
            _, slot = reply
            self.say(f"{self.actor}→client read at slot {slot}: {self._value(self.actor)}")
        else:
            self.say(f"{self.actor}→client {answer_words(reply)}")

    def _value(self, name):
        found = self.members[name].machine.query([[GET, b"k"]], 1 << 20)[0]
        return "no k" if found is None else f"k={found.value.decode()}"

    def _log_role(self, name):
        node = self.members[name].node
        now = node is not None and node.leading and node.promised.shown()
        if now != self.leads.get(name, False):
            before, self.leads[name] = self.leads.get(name), now
            self.say(f"{name} leads with {now}" if now else f"{name} no longer leads with {before}")
        for _, of, notice in self.notices:
            if notice.event in ("node.memory_lost", "member.removed", "node.removed"):
                self.say(f"{of} reports {notice.event}")
        self.notices.clear()

    def say(self, line):
        self.log.append(line)

    # -- time

    def wait(self, name, ms):
        """Let the clock of one node go on, in small steps."""
        node = self.node(name)
        for _ in range(0, ms, TICK_MS):
            self.clocks[name] = self.clocks.get(name, 0.0) + TICK_MS
            node.set_time(self.clocks[name], int(self.clocks[name]))
            self.turn(name)

    def campaign(self, name):
        """Let a node's clock go on until it asks for pre-votes, or for promises."""
        for _ in range(CAMPAIGN_TICKS_MAX):
            mark = len(self.log)
            self.wait(name, TICK_MS)
            if any(f" {kind.__name__} " in line for kind in (PreVote, Prepare)
                   for line in self.log[mark:]):  # fmt: skip
                return
        raise StageError(f"{name} does not campaign")

    # -- the network

    def arrive(self, src, dst, kind=""):
        """The oldest message of a link, or its oldest of one kind, arrives."""
        message = self.take(src, dst, kind)
        member = self.members[dst]
        if member.node is None:
            return
        if isinstance(message, Snapshot):
            self._use_clock(dst)
            member.snapshot = message.content
            member.give_back(message.slot + 1)
            self.say(f"{dst} installs the snapshot as of slot {message.slot}")
            self._jump(member, member.node, message.content)
            return
        self._use_clock(dst)
        self.receive(src, self.members[src].run_id, dst, message)

    def take(self, src, dst, kind=""):
        """Remove the oldest message of a link, or its oldest of one kind, and return it."""
        link = self.links.get((src, dst), deque())
        for message in link:
            if not kind or type(message).__name__ == kind:
                link.remove(message)
                return message
        raise StageError(f"no {kind or 'message'} is on its way from {src} to {dst}")

    def waiting(self, src="", dst=""):
        """The links that hold something, of those that match."""
        return [
            link for link in sorted(self.links)
            if self.links[link] and src in ("", link[0]) and dst in ("", link[1])
        ]  # fmt: skip

    def arrive_all(self, src="", dst=""):
        """Whatever matches, and what follows from it, until nothing is left."""
        for _ in range(DELIVERIES_MAX):
            links = self.waiting(src, dst)
            if not links:
                return
            self.arrive(*links[0])
        raise StageError("the messages do not come to an end")

    # -- processes and disks

    def node(self, name):
        member = self.members.get(name)
        if member is None or member.node is None:
            raise StageError(f"{name} is not up")
        return member.node

    def stop(self, name):
        """A power cut: what was not written is gone, and so is what is on its way to it."""
        self.node(name)
        member = self.members[name]
        member.node, member.unsynced, member.group = None, [], []
        for link in self.waiting(dst=name):
            self.links[link].clear()
        self._log_role(name)

    def begin(self, name):
        """Start a node with what its disk has."""
        self.clocks[name] = self.clocks.get(name, 0.0) + 1
        self._use_clock(name)
        self.start(name)

    def wipe(self, name, directory_id):
        """Replace the disk of a node that is down by an empty one."""
        member = self.members[name]
        member.durable, member.snapshot, member.floor = [], None, 1
        member.directory_id = directory_id
        self.promised[name] = NULL_BALLOT

    def write_stalled(self, name):
        """A disk that stalled works again, and writes what waited."""
        self.stalled.discard(name)
        self.turn(name)

    # -- the state

    def summary(self):
        """One line for each node."""
        for name, member in self.members.items():
            node = member.node
            if node is None:
                yield f"{name}: down"
                continue
            yield (
                f"{name}: {node.role}, promised {node.promised.shown()}, "
                f"applied {node.applied}, {self._value(name)}"
            )
