"""The longest time without an acknowledged write, when something happens to the leader.

    python -m tests.bench.failover [--how kill,stop,silent,loss,packets,members] [--rounds 10]
                                   [--clients 20] [--pause-ms 20] [--set protocol.KEY=MS]

Three daemons, and clients that each put again and again (``closed_loop.py``). In each round one of

    kill      kill -9 of the leader
    stop      SIGSTOP of the leader: no connection breaks, only silence shows it
    silent    each packet from and to the leader's host is lost
    loss      30 % of all messages between daemons are lost for ``LOSS_S``, by a fault rule
    packets   30 % of all packets between them, so that their connections falter as well
    members   a member joins, leads and leaves; of one pair of nodes after another all packets are
              lost meanwhile

and what was done is undone once writes have gone on. Of each round one line: the longest gap
between two acknowledged writes of any clients; the longest that one write took; the elections that
were won. At the end medians and extremes, and how many clients saw an error. No assertion: this is
a measurement. The last three kinds need root, to make a network (``separate_hosts.py``).
"""

import argparse
import contextlib
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.closed_loop import ClosedLoop, longest_gap
from tests.bench.separate_hosts import SeparateHosts, enter_network, is_in_network
from tests.processes.processes import Daemons, wait_for

CALM_S = 1.0
"""So long the load runs undisturbed before each round."""
WATCH_S = 3.0
"""So long a round lasts at least."""
LOSS_S = 15.0
LOSS_SHARE = 0.3
CUT_S = 1.5
NEEDS_NETWORK = {"silent", "packets", "members"}
"""The kinds that need root, to make a network (``separate_hosts.py``)."""


class Round:
    """What happens to one cluster, and the load on it."""

    def __init__(self, daemons, load, rng):
        self.daemons, self.load, self.rng = daemons, load, rng

    def go_on(self, until_s):
        """Wait until that moment, and until writes are acknowledged."""
        wait_for(lambda: time.monotonic() >= until_s, 60.0 + until_s - time.monotonic())
        goal = len(self.load.acked_s) + 40
        wait_for(lambda: len(self.load.acked_s) >= goal or self.load.error, 60.0, "writes")

    def kill(self):
        """kill -9 of the leader."""
        leader = self.daemons.wait_leader()
        began_s = time.monotonic()
        self.daemons.kill(leader)
        self.go_on(began_s + WATCH_S)
        yield began_s, time.monotonic(), leader
        self.daemons.start(leader)

    def stop(self):
        """SIGSTOP of the leader."""
        leader = self.daemons.wait_leader()
        began_s = time.monotonic()
        self.daemons.signal(leader, signal.SIGSTOP)
        self.go_on(began_s + WATCH_S)
        yield began_s, time.monotonic(), leader
        self.daemons.signal(leader, signal.SIGCONT)

    def silent(self):
        """The leader's host is cut off."""
        leader = self.daemons.wait_leader()
        began_s = time.monotonic()
        self.daemons.switch.lose(1.0, leader)
        self.go_on(began_s + WATCH_S)
        yield began_s, time.monotonic(), leader
        self.daemons.switch.heal()

    def loss(self):
        """Messages between daemons are lost."""
        self.daemons.wait_leader()
        began_s = time.monotonic()
        self.daemons.fault("loss", "drop", "*", "*", probability=LOSS_SHARE,
                           seed=self.rng.randrange(1 << 30))  # fmt: skip
        self.go_on(began_s + LOSS_S)
        yield began_s, time.monotonic(), ""
        self.daemons.heal()

    def packets(self):
        """Packets between hosts are lost."""
        self.daemons.wait_leader()
        began_s = time.monotonic()
        self.daemons.switch.lose(LOSS_SHARE, *self.daemons.names)
        self.go_on(began_s + LOSS_S)
        yield began_s, time.monotonic(), ""
        self.daemons.switch.heal()

    def members(self):
        """n4 joins, leads and leaves, while links are cut in turn."""
        daemons = self.daemons
        daemons.wait_leader()
        daemons.join("n4")
        began_s = time.monotonic()
        for arguments in (("add", "n4", *daemons.where("n4")), ("transfer-leader", "n4"),
                          ("remove", "n4")):  # fmt: skip
            with self._cut_link():
                wait_for(lambda a=arguments: daemons.try_ctl(*a)[0] == 0, 60.0, str(arguments))
                self.go_on(time.monotonic() + CUT_S)
        self.go_on(time.monotonic())
        yield began_s, time.monotonic(), ""
        daemons.wait_end("n4")
        for left in daemons.path.glob("n4*"):
            if left.is_dir():
                left.rename(left.with_name(f"old-{time.monotonic_ns()}"))

    @contextlib.contextmanager
    def _cut_link(self):
        one, other = self.rng.sample(self.daemons.founders, 2)
        self.daemons.switch.lose(1.0, one, other)
        try:
            yield
        finally:
            self.daemons.switch.heal()


def elections_won(daemons):
    """By the log of each node, its own."""
    return sum(
        line.get("leader") == name
        for name in daemons.names
        for line in daemons.events(name, "leader.elected")
    )


def measure(daemons, how, options, rng):
    """One round: the longest gap and the longest write, in s; prints its line."""
    load = ClosedLoop(
        [daemons.endpoint(name) for name in getattr(daemons, "founders", daemons.names)],
        clients=options.clients, pause_s=options.pause_ms / 1000,
    )  # fmt: skip
    load.start()
    wait_for(lambda: len(load.acked_s) >= 40 or load.error, 60.0, "writes")
    calm_s = time.monotonic()
    wait_for(lambda: time.monotonic() >= calm_s + CALM_S)
    won = elections_won(daemons)
    trouble = getattr(Round(daemons, load, rng), how)()
    began_s, ended_s, leader = next(trouble)
    load.stop()
    gap_s = longest_gap(load.acked_s, began_s, ended_s)
    slow_s = load.slowest_s(began_s, ended_s)
    won = elections_won(daemons) - won
    next(trouble, None)
    daemons.wait_up()
    rate = len(load.acked_s) / (load.acked_s[-1] - load.acked_s[0])
    print(f"{how} {leader or '-'}: longest gap {gap_s * 1000:.0f} ms, slowest write "
          f"{slow_s * 1000:.0f} ms, {won} elections won, {rate:.0f} puts/s"
          + "".join(f", FAILED {words}" for words in set(load.failures)), flush=True)  # fmt: skip
    return gap_s, slow_s, len(load.failures)


def cluster(path, how, settings):
    """The daemons that a kind needs."""
    if how in NEEDS_NETWORK:
        return SeparateHosts(path, more=int(how == "members"), **settings)
    return Daemons(path, **settings)


def rounds(how, options, rng):
    """All rounds of one kind on one cluster; prints their summary."""
    settings = {}
    for each in options.set:
        key, value = each.split("=")
        section, name = key.split(".")
        settings.setdefault(section, {})[name] = int(value)
    results = []
    with (
        tempfile.TemporaryDirectory() as path,
        cluster(Path(path), how, settings) as daemons,
    ):
        daemons.start(*getattr(daemons, "founders", daemons.names))
        for _ in range(options.rounds):
            results.append(measure(daemons, how, options, rng))
    gaps, slow, failures = zip(*results, strict=True)
    print(f"{how}, {len(gaps)} rounds: gap median {statistics.median(gaps) * 1000:.0f} ms, most "
          f"{max(gaps) * 1000:.0f} ms; slowest write median {statistics.median(slow) * 1000:.0f} ms"
          f", most {max(slow) * 1000:.0f} ms; {sum(failures)} errors", flush=True)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--how", default="kill,stop", help="which kinds, with commas")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--pause-ms", type=int, default=20, help="between two puts of a client")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--set", action="append", default=[], help="protocol.KEY=NUMBER")
    options = parser.parse_args()
    kinds = options.how.split(",")
    if NEEDS_NETWORK & {*kinds} and not is_in_network():
        enter_network("tests.bench.failover", sys.argv[1:])
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    print(f"seed {seed}, {os.getloadavg()[0]:.1f} processes run on this machine", flush=True)
    for how in kinds:
        rounds(how, options, random.Random(f"{seed}/{how}"))


if __name__ == "__main__":
    main()
