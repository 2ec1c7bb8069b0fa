"""A log, snapshots and a state machine on a disk in memory: write, die anywhere, live again."""

from paxosd.core.commands import OPEN, PUT, Batch, Entry
from paxosd.core.effects import AcceptRecord, CommitRecord
from paxosd.core.state.machine import Machine
from paxosd.core.types import Ballot
from paxosd.snapshot.jobs import Jobs
from paxosd.snapshot.keeper import STEP_MS, SnapshotOptions, Snapshots
from paxosd.snapshot.restore import restore_state
from paxosd.wire import decode_batch, encode_batch, encode_entry
from tests.core.state.parts import fingerprint
from tests.storage.memdisk import MemDisk, open_wal

BALLOT = Ballot(1, "n1")
MEMBERS = {"n1": {"peer": "tcp://127.0.0.1:1", "client": "tcp://127.0.0.1:2"}}
OPTIONS = SnapshotOptions(cluster="c", members=MEMBERS, slots_max=10, margin_slots=0)


class PowerLoss(BaseException):
    """The process is no more."""


class CrashDisk(MemDisk):
    """Dies before operation number ``die_at`` (the changing ones counted from 1)."""

    def __init__(self):
        super().__init__()
        self.die_at = 0
        self.count = 0

    def step(self, operation):
        super().step(operation)
        if operation in ("pread", "open"):
            return
        self.count += 1
        if self.count == self.die_at:
            raise PowerLoss

    def open(self, name, create=False):
        if create and name not in self.files:
            self.step("create")
        return super().open(name, create)

    def unlink(self, name):
        self.step("unlink")
        super().unlink(name)

    @classmethod
    def after(cls, disk):
        """One with the files of ``disk``."""
        fresh = cls()
        fresh.files, fresh.durable_names = disk.files, disk.durable_names
        for file in fresh.files.values():
            file.disk = fresh
        return fresh


class Inline:
    """Runs each job at once, or, with ``slow``, when the test asks for it."""

    def __init__(self, slow=False):
        self.slow = slow
        self.waiting = []
        self.done = []

    def start(self, job, **_):
        assert not self.waiting
        self.waiting.append(job)
        if not self.slow:
            self.work()

    def work(self):
        while self.waiting:
            self.waiting[0].run()
            self.done.append(self.waiting.pop(0))

    def finished(self):
        done, self.done = self.done, []
        return done


class Lines(list):
    """A log that remembers its events."""

    def __getattr__(self, level):
        return lambda event, **fields: self.append((event, fields))

    def named(self, event):
        return [fields for name, fields in self if name == event]


def batch_of(slot):
    """The value of a slot: the first opens a session, each later one puts some keys."""
    if slot == 1:
        return encode_batch(1, [encode_entry(Entry(0, 1, 0, [[OPEN]]))])
    puts = [[PUT, b"k%d" % ((slot * 7 + n) % 40), b"v%d-%d" % (slot, n)] for n in range(3)]
    return encode_batch(slot, [encode_entry(Entry(1, 3 * slot, 3 * slot - 3, puts))])


def reference(slot):
    """The machine that applied every slot up to this one."""
    machine = Machine()
    for each in range(1, slot + 1):
        machine.apply(each, decode_batch(batch_of(each)), batch_of(each))
    return machine


class Life:
    """One process on ``disk``: it recovers, then it may write."""

    def __init__(self, disk, seed=1, options=OPTIONS, helper=None):
        self.disk = disk
        self.log = Lines()
        self.wal, recovered = open_wal(disk, seed)
        self.machine = Machine()
        self.recovered, self.kept = restore_state(
            disk, self.wal, recovered, self.machine, cluster="c", log=self.log
        )
        self.restored_slot = self.machine.applied
        for slot in range(self.machine.applied + 1, self.recovered.commit + 1):
            self.apply(slot, self.wal.read(slot)[1])
        self.now_ms = 0.0
        self.helper = helper or Inline()
        self.snapshots = Snapshots(
            options, machine=self.machine, wal=self.wal, disk=disk, jobs=Jobs(self.helper),
            kept=self.kept, log=self.log,
        )  # fmt: skip

    def apply(self, slot, value) -> Batch:
        batch = decode_batch(value)
        self.machine.apply(slot, batch, value)
        return batch

    def write(self, upto, turns=3):
        """Slots up to ``upto``: accepted, durable, chosen, applied; some turns after each."""
        for slot in range(self.machine.applied + 1, upto + 1):
            value = batch_of(slot)
            self.wal.append([CommitRecord(slot - 1), AcceptRecord(slot, BALLOT, value)])
            self.wal.sync()
            self.apply(slot, value)
            for _ in range(turns):
                self.now_ms += STEP_MS
                self.snapshots.turn(self.now_ms, slot)

    def turn(self):
        """One turn, as soon as there may be something to do."""
        self.now_ms += STEP_MS
        self.snapshots.turn(self.now_ms, int(self.now_ms))

    def finish(self):
        """Turns until no snapshot is being taken."""
        for _ in range(100):
            self.now_ms += STEP_MS
            self.snapshots.turn(self.now_ms, 10**6)
            if not self.snapshots.running and not self.helper.waiting:
                return
        raise AssertionError("the snapshot does not end")

    def check(self):
        """The state is that of a machine that never stopped."""
        want = reference(self.machine.applied)
        assert self.machine.chain == want.chain
        assert self.machine.store.data == want.store.data
        assert fingerprint(self.machine.sessions) == fingerprint(want.sessions)
