"""How much time each stage of a put takes in a daemon: timers around the functions of the stages.

A stage's time is its own: what a function that is timed itself takes inside of it counts for that
one. Processor time is the thread's; wall time includes what it waits for. A timer takes some 0.7 us
a call, two thirds of it in the stage around it; what is timed is called once a turn or a message,
and not once a command.

A function that is not there (any more) is left out and named in the result: this goes with the
program, not the other way round.
"""

import json
import os
import threading
import time
from importlib import import_module

STAGES = {
    "wait": ["paxosd.bus.bus:Bus.poll"],
    "receive": ["paxosd.bus.bus:Bus.receive_peers", "paxosd.bus.bus:Bus.receive_clients",
                "paxosd.bus.bus:Bus.receive_subscriptions"],
    "check": ["paxosd.replica.service:Service.receive"],
    "propose": ["paxosd.core.replication:Replication.propose_waiting"],
    "accept": ["paxosd.core.replication:Replication.receive_accept"],
    "append": ["paxosd.replica.group_commit:GroupCommit.append"],
    "sync": ["paxosd.storage.wal:SyncJob.run"],
    "commit": ["paxosd.replica.group_commit:GroupCommit.start",
               "paxosd.replica.group_commit:GroupCommit.collect"],
    "send": ["paxosd.bus.peer_sender:PeerSender.send"],
    "publish vote": ["paxosd.bus.peer_sender:PeerSender.publish_accepted"],
    "count votes": ["paxosd.core.replication:Replication.receive_accepted"],
    "apply": ["paxosd.core.execution:Execution.advance"],
    "answer": ["paxosd.replica.service:Service.reply"],
    "watchers": ["paxosd.replica.watch_publisher:EventPublisher.flush",
                 "paxosd.replica.watch_publisher:EventPublisher.tick",
                 "paxosd.replica.watch_publisher:EventPublisher.publish_learned"],
    "background": ["paxosd.replica.background:BackgroundWork.turn"],
    "deadlines": ["paxosd.replica.replica:Replica.next_due_ms"],
    "house-keeping": ["paxosd.daemon.daemon:Daemon._house_keeping",
                      "paxosd.storage.standing:Standing.look",
                      "paxosd.storage.health:StorageWatch.look"],
    "rest of the core": ["paxosd.core.node:Node.step", "paxosd.core.node:Node.submit",
                         "paxosd.core.node:Node.tick", "paxosd.core.node:Node.ready"],
    "rest of the turn": ["paxosd.daemon.daemon:Daemon.turn"],
}  # fmt: skip
"""Stage → the functions that are its work, in the order of a put."""


class Stages:
    """The timers of one process. ``totals``: stage → [calls, processor ns, wall ns]."""

    def __init__(self, stages=None):
        self.totals = {}
        self.missing = []
        self._local = threading.local()
        for stage, places in (STAGES if stages is None else stages).items():
            self.totals[stage] = [0, 0, 0]
            for place in places:
                self._patch(place, self.totals[stage])

    def _patch(self, place, total):
        module, _, path = place.partition(":")
        owner, _, name = path.partition(".")
        try:
            kind = getattr(import_module(module), owner)
            real = kind.__dict__[name]
        except (ImportError, AttributeError, KeyError):
            self.missing.append(place)
            return
        setattr(kind, name, self._timed(real, total))

    def _timed(self, real, total):
        local, cpu, wall = self._local, time.thread_time_ns, time.perf_counter_ns

        def timed(*arguments, **options):
            try:
                outer = local.inner
            except AttributeError:
                outer = None
            local.inner = inner = [0, 0]
            wall_ns, cpu_ns = wall(), cpu()
            try:
                return real(*arguments, **options)
            finally:
                cpu_ns, wall_ns = cpu() - cpu_ns, wall() - wall_ns
                local.inner = outer
                total[0] += 1
                total[1] += cpu_ns - inner[0]
                total[2] += wall_ns - inner[1]
                if outer is not None:
                    outer[0] += cpu_ns
                    outer[1] += wall_ns

        return timed

    def write(self, path):
        """All of it into a file, which is there as a whole or not at all."""
        text = json.dumps({"totals": self.totals, "missing": self.missing})
        part = f"{path}.part"
        with open(part, "w", encoding="ascii") as file:
            file.write(text)
        os.rename(part, path)
