"""Chosen slots are applied in order, and in pieces."""

from paxosd.core.commands import Batch
from paxosd.core.effects import (
    CommitRecord,
)
from paxosd.core.types import NOOP
from tests.core.replication_bench import B2, B9, ENTRY, Bench, value


class TestApplying:
    def test_in_order_whatever_order_the_votes_come_in(self):
        bench = Bench("n3")
        for slot in (3, 1, 2):
            bench.accept(B2, slot, value(b"%d" % slot))
            for voter in ("n1", "n2"):
                bench.votes(voter, B2, slot, slot)
        assert [slot for slot, _ in bench.context.machine.applied] == [1, 2, 3]
        assert bench.context.acceptor.accepted == {}
        assert bench.execution.applied == 3

    def test_the_leaders_commit_index_does_without_votes(self):
        bench = Bench("n3")
        bench.accept(B2, 1, value(b"v"))
        bench.accept(B2, 2, value(b"w"), commit=1)
        assert bench.execution.applied == 1

    def test_a_noop_and_garbage_apply_as_nothing(self):
        bench = Bench("n3")
        bench.context.codec.decode_batch = self.refuse
        for slot, held in [(1, NOOP), (2, b"garbage")]:
            bench.accept(B2, slot, held, commit=slot - 1)
        bench.accept(B2, 3, NOOP, commit=2)
        assert bench.context.machine.applied == [(1, None), (2, None)]
        assert [n.event for n in bench.take().notices] == ["storage.bad_value"]

    @staticmethod
    def refuse(_):
        raise ValueError("no batch")

    def test_own_batches_are_not_decoded_again(self):
        bench = Bench()
        bench.context.codec.decode_batch = self.refuse
        bench.lead()
        bench.submit("t")
        bench.take()
        bench.votes("n2", B9, 1, 1)
        assert bench.context.machine.applied == [(1, Batch(0, [ENTRY]))]

    def test_the_commit_index_rides_along_or_goes_alone(self):
        bench = Bench("n3")
        bench.accept(B2, 1, value(b"v"))
        bench.take()
        bench.accept(B2, 2, value(b"w"), commit=1)
        bench.execution.record_commit(alone=False)
        assert bench.take().persist[-1] == CommitRecord(1)
        for voter in ("n1", "n2"):
            bench.votes(voter, B2, 2, 2)
        bench.execution.record_commit(alone=False)
        assert bench.take().persist == []
        bench.execution.record_commit(alone=True)
        assert bench.take().persist == [CommitRecord(2)]
