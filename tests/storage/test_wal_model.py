"""Random use against a model: after any crash the log holds exactly what it must."""

import contextlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from paxosd.core.effects import AcceptRecord, CommitRecord, DecisionRecord, PromiseRecord
from paxosd.core.types import NULL_BALLOT, Ballot
from tests.storage.memdisk import MemDisk, open_wal

BALLOTS = st.builds(Ballot, st.integers(1, 4), st.sampled_from(["n1", "n2"]))
SLOTS = st.integers(1, 12)
VALUES = st.builds(lambda n, b: bytes([b]) * n, st.integers(0, 2600), st.integers(0, 255))
RECORDS = st.one_of(
    st.builds(PromiseRecord, BALLOTS),
    st.builds(AcceptRecord, SLOTS, BALLOTS, VALUES),
    st.builds(AcceptRecord, SLOTS, BALLOTS, VALUES),
    st.builds(DecisionRecord, SLOTS, BALLOTS, VALUES),
    st.builds(CommitRecord, SLOTS),
)


class Model:
    """What a list of records means, said as plainly as possible."""

    def __init__(self, records, first=1):
        self.promised = NULL_BALLOT
        self.newest = {}
        self.best = {}
        self.decided = set()
        self.commit = first - 1
        for record in records:
            if isinstance(record, PromiseRecord):
                self.promised = max(self.promised, record.ballot)
            elif isinstance(record, CommitRecord):
                while self.commit < record.slot and self.commit + 1 in self.newest:
                    self.commit += 1
            elif isinstance(record, DecisionRecord):
                self.newest[record.slot] = (record.ballot, record.value)
                self.decided.add(record.slot)
            else:
                self.newest[record.slot] = (record.ballot, record.value)
                self.decided.discard(record.slot)
                held = self.best.get(record.slot)
                if held is None or record.ballot >= held[0]:
                    self.best[record.slot] = (record.ballot, record.value)
                self.promised = max(self.promised, record.ballot)
            while self.commit + 1 in self.decided:
                self.commit += 1


class LogMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.disk = MemDisk()
        self.seed = 1
        self.wal, _ = open_wal(self.disk, self.seed)
        self.durable = []
        self.flying = []
        self.open = []
        self.job = None

    @rule(records=st.lists(RECORDS, max_size=5))
    def append(self, records):
        self.wal.append(records)
        self.open += records

    @rule(flush=st.booleans())
    def begin(self, flush):
        job = self.wal.begin_sync(flush=flush)
        if self.job is not None:
            assert job is None
        elif job is not None:
            self.job, self.flying, self.open = job, self.open, []
        else:
            assert all(isinstance(r, CommitRecord) for r in self.open)
            assert not (flush and self.open)

    @rule()
    def run_and_finish(self):
        if self.job is not None:
            self.job.run()
            self.wal.finish_sync(self.job)
            self.durable += self.flying
            self.job, self.flying = None, []

    @rule(written=st.booleans(), bits=st.integers(0, (1 << 40) - 1), names=st.integers(0, 3))
    def crash(self, written, bits, names):
        if self.job is not None and written:
            file = self.job.file or self.wal._preparer.take(self.job.header)
            file.pwritev(self.job.buffers, self.job.offset)
        count = iter(range(1 << 30))
        self.disk = self.disk.crash(lambda: bits >> next(count) % 40 & 1, names)
        self.reopen()

    @rule()
    def die(self):
        """The process dies; the page cache lives."""
        if self.job is not None:
            self.job.run()
            self.durable += self.flying  # its sync came back, so it must be there
            self.flying = []
        self.reopen()

    def reopen(self):
        self.seed += 1
        self.wal, found = open_wal(self.disk, self.seed)
        for records in (self.durable, self.durable + self.flying):
            model = Model(records)
            accepted = {s: v for s, v in model.best.items() if s > model.commit}
            if (found.promised, found.commit, found.accepted, self.read_all()) == (
                model.promised, model.commit, accepted, model.newest,
            ):  # fmt: skip
                self.durable = records
                break
        else:
            raise AssertionError(f"neither the durable state nor with the last group: {found}")
        self.flying, self.open, self.job = [], [], None

    def read_all(self):
        found = {}
        for slot in range(13):
            with contextlib.suppress(KeyError):
                found[slot] = self.wal.read(slot)
        return found

    @invariant()
    def reads_give_the_newest(self):
        newest = Model(self.durable + self.flying + self.open).newest
        # Compared out of pytest's sight, which takes minutes to explain how long values differ.
        same = self.read_all() == newest
        assert same, "a slot's newest record is not what is read"


LogMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True
)
TestLogMachine = LogMachine.TestCase
