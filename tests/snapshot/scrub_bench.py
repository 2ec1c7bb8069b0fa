"""A node without its roles, whose disk is damaged while it runs."""

from dataclasses import replace

from paxosd.snapshot.exchange import SnapshotExchange
from paxosd.snapshot.file import snapshot_slot
from paxosd.storage.wal_format import segment_number
from tests.snapshot.lives import OPTIONS, Life
from tests.storage.memdisk import MemDisk

DAY_MS = 86_400_000


MARGIN = replace(
    OPTIONS, slots_max=10**6, margin_slots=10**6, scrub_bytes_per_s=10**9,
    scrub_interval_ms=DAY_MS,
)  # fmt: skip
"""No snapshot but those that are asked for; nothing is released but for damage."""


class Bench:
    """A node that runs, without its roles; its log is synced when it asks for that."""

    def __init__(self, disk=None, options=MARGIN, slots=200):
        self.life = Life(disk or MemDisk(), options=options)
        self.disk = self.life.disk
        self.wal = self.life.wal
        self.log = self.life.log
        self.sent = []
        self.flushes = True
        self.exchange = SnapshotExchange(
            self.life.snapshots, self.life.machine,
            lambda to, message: self.sent.append(message) or True,
            None, self.log, self.flush,
        )  # fmt: skip
        self.now_ms = 1000.0
        self.exchange.turn(self.now_ms, 1)
        self.life.write(slots, turns=0)

    def flush(self):
        if self.flushes:
            self.wal.sync()

    def turn(self, ms=1.0):
        self.now_ms += ms
        self.exchange.turn(self.now_ms, int(self.now_ms))

    def snapshot(self):
        self.life.snapshots.ask()
        for _ in range(20):
            self.turn(10)
        assert self.life.snapshots.newest.slot == self.life.machine.applied

    def scrub(self):
        """A whole pass, and what follows from it."""
        self.turn(DAY_MS)
        for _ in range(300):
            self.turn(10)
        assert not self.status.running

    def write_on(self, count=3):
        self.life.write(self.life.machine.applied + count, turns=0)
        for _ in range(30):
            self.turn(10)

    @property
    def status(self):
        return self.exchange.status(0).scrub

    def segments(self):
        return sorted(n for name in self.disk.files if (n := segment_number(name)) is not None)

    def snapshots(self):
        return sorted(s for name in self.disk.files if (s := snapshot_slot(name)) is not None)

    def flip(self, name, at):
        file = self.disk.files[name]
        for data in (file.data, file.durable):
            data[at] ^= 0x10

    def check_restart(self):
        """A power cut now: all that was durable is there, and sound."""
        again = Life(self.disk.crash(), seed=2)
        assert again.machine.applied >= self.life.machine.applied - 1
        again.check()
        return again
