"""A machine at feature level 4, and one session of it."""

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import OPEN, TXN, Batch, Entry, Reign
from paxosd.core.state.machine import Machine
from tests.core.state.parts import page_of


class Site:
    """A machine at a level, and one session of it."""

    def __init__(self, level=LEVEL_COORDINATION):
        self.machine = Machine()
        self.machine.settings = ClusterSettings(version=1, level=level)
        self.batches = []
        self.seq = 1
        self.apply(Entry(0, 1, 0, [[OPEN]]))

    def apply(self, *entries):
        batch = Batch(0, list(entries), Reign(1, "n1", 0))
        self.batches.append(batch)
        return self.machine.apply(self.machine.applied + 1, batch)

    def do(self, *commands, acked=None):
        first, self.seq = self.seq, self.seq + len(commands)
        entry = Entry(1, first, first - 1 if acked is None else acked, list(commands))
        return self.apply(entry)[0]

    def txn(self, then, otherwise=(), *compares):
        (result,) = self.do([TXN, list(compares), list(then), list(otherwise)])
        return result

    def changes(self):
        """Those of the last slot."""
        slot = self.machine.applied
        return self.machine.changes_of(slot, self.batches[-1])

    def rows(self):
        store = self.machine.store
        return {row.key: tuple(row[1:]) for row in page_of(store, b"", b"", bytes_max=1 << 30)[0]}
