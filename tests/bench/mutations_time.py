"""Safeguards of log time and of the feature level: which clock counts, and who was asked. And
rules of timing, without which a cluster does nothing for longer than it must."""

from paxosd.core.client.scout import Scout
from paxosd.core.lease_ticks import LeaseTicks
from paxosd.core.level_raise import LevelRaise
from paxosd.core.resend_timer import ResendTimer
from paxosd.core.state import machine as machine_module
from paxosd.core.state.lease_commands import expire_leases
from paxosd.core.state.leases import Leases
from paxosd.core.state.log_clock import LogClock
from tests.bench.mutation import around, instead, nothing, row


def _advance_by_wall_clock(self, batch, level):
    self.now_ms = max(self.now_ms, batch.stamp_ms)


def _count_across_reigns(self, reign):
    self.now_ms += max(0, reign.elapsed_ms - self.reign.elapsed_ms)
    self.reign = reign


def _count_old_reigns(self, reign):
    """What an old leader measured counts, too, wherever its batches stand in the log."""
    self.now_ms += reign.elapsed_ms
    self.reign = max(self.reign, reign)


def _expire_without_the_log(self):
    """The leader ends what is due by its own clock, and proposes nothing."""
    machine = self._context.machine
    if self.next_due_ms() <= self._context.now_ms:
        expire_leases(machine.leases.due_at_ms(), machine.store, machine.leases, [], 0)


def _keep_alive_in_words(self, now_ms, ids):
    """It is confirmed, and nothing is renewed."""
    return (0, 0, tuple(self.table[id_].ttl_ms if id_ in self.table else 0 for id_ in ids))


def _expire_by_own_clock(expire, now_ms, store, leases, skipped, chain):
    """Each node ends what is due a little later by a clock of its own."""
    return expire(now_ms + store.work.units % 700, store, leases, skipped, chain)


TIME = (
    row("lease-wall-clock", "leases end by the stopwatch, and no wall clock decides it",
        instead(LogClock, "advance", _advance_by_wall_clock), profiles="leases-clocks"),
    row("lease-no-base", "the first batch of a reign adds nothing",
        instead(LogClock, "_count", _count_across_reigns), profiles="leases-crossed leases"),
    row("lease-old-leader", "batches of an old leader let no time pass",
        instead(LogClock, "_count", _count_old_reigns),
        profiles="old-batches leases-crossed leases", seed=1, in_suite=True),
    row("lease-outside-the-log", "leases end at a slot, for all nodes",
        instead(LeaseTicks, "tick", _expire_without_the_log), profiles="leases", in_suite=True),
    row("lease-no-ticks", "a leader lets log time pass where nobody writes",
        instead(LeaseTicks, "tick", nothing), profiles="leases", seed=1),
    row("lease-own-clock", "leases end by log time, which is the same on all nodes",
        around(machine_module, "expire_leases", _expire_by_own_clock), profiles="leases"),
    row("lease-renewal-lost", "a renewal that is confirmed puts the end off",
        instead(Leases, "keep_alive", _keep_alive_in_words), profiles="leases", in_suite=True),
    row("log-time-wall-clock", "log time is a stopwatch, and no wall clock decides it",
        instead(LogClock, "advance", _advance_by_wall_clock), profiles="wrong-clocks", seed=1,
        in_suite=True),
    row("log-time-across-reigns", "what passed is counted within one reign alone",
        # Since a leader stamps 0 until it has applied a batch of its own, only a batch that is
        # adopted behind a newer reign's shows it.
        instead(LogClock, "_count", _count_across_reigns), profiles="old-batches", seed=1,
        in_suite=True),
    row("level-unasked", "the feature level is raised only once every member understands it",
        instead(LevelRaise, "_takes", lambda self, name: self.known), profiles="upgrades", seed=1,
        in_suite=True),
    row("no-scout", "a client asks a second endpoint while its target is silent",
        instead(Scout, "tick", nothing), profiles="gap-stop", seed=1, in_suite=True),
    row("resend-after-setting", "an accept is sent again by the measured time of a vote",
        instead(ResendTimer, "patience_ms", lambda self, sendings: self._retransmit_ms),
        profiles="gap-loss", seed=2),
)  # fmt: skip
