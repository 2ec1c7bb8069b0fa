"""The checker of transactions accepts what the store does, and finds what it must not do."""

import random

import pytest

from paxosd.check.history import TXN, History
from paxosd.check.transaction_workload import TransactionWorkload, record_command
from paxosd.check.transactions import check_transactions
from paxosd.check.verdict import CHECKED_OK, VIOLATION
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import OPEN, PUT, Batch, Entry
from paxosd.core.state import transaction_run
from paxosd.core.state.machine import Machine

KEYS = [b"t/%d" % number for number in range(5)]


def run(seed, count=150, unsure=0.15):
    """Several clients whose requests overlap; some are never answered, done or not."""
    rng = random.Random(seed)
    machine = Machine()
    machine.settings = ClusterSettings(version=1, level=LEVEL_COORDINATION)
    machine.apply(1, Batch(0, [Entry(0, 1, 0, [[OPEN]])]))
    records = History()
    clients = [TransactionWorkload(f"c{n}", rng, KEYS) for n in range(4)]
    under_way, seq = [], 0
    for _ in range(count):
        client = rng.choice(clients)
        command = client.draw()
        under_way.append((client, command, records.invoke("c", TXN, b"", command=command)))
        while under_way and rng.random() < 0.6:
            client, command, record = under_way.pop(rng.randrange(len(under_way)))
            unknown = rng.random() < unsure
            if unknown and rng.random() < 0.5:
                continue
            commands = [command] if rng.random() < 0.7 else [[PUT, b"other", b""], command]
            entry = Entry(1, seq + 1, seq, commands)
            seq += len(commands)
            result = machine.apply(machine.applied + 1, Batch(0, [entry]))[0][-1]
            if not unknown:
                record_command(records, record, result)
                client.learn(record.result)
    return check_transactions(records)


@pytest.mark.parametrize("seed", range(12))
def test_what_the_store_does_is_right(seed):
    verdict = run(seed)
    assert verdict.status == CHECKED_OK, verdict.explanation


def compare_skipped(patch):
    patch.setattr(transaction_run._Plan, "_holds", lambda self, compare: True)


def half_of_it_applied(patch):
    real = transaction_run._Plan._net
    patch.setattr(
        transaction_run._Plan, "_net", lambda self: real(self)[: 1 + len(real(self)) // 2]
    )


def nested_else_done(patch):
    real = transaction_run._Plan.run

    def wrong(self, transaction, place):
        op, compares, _then, otherwise = transaction
        return real(self, [op, compares, otherwise, otherwise] if place else transaction, place)

    patch.setattr(transaction_run._Plan, "run", wrong)


def two_revisions(patch):
    real = transaction_run.Store.change_keys

    def wrong(self, values, anew):
        return [real(self, [each], anew) for each in values][-1]

    patch.setattr(transaction_run.Store, "change_keys", wrong)


def writes_lost(patch):
    patch.setattr(transaction_run._Plan, "carry_out", lambda self: ())


def own_writes_not_seen(patch):
    real = transaction_run._Plan._numbers
    patch.setattr(
        transaction_run._Plan, "_numbers",
        lambda self, key: (
            None if self._store.packed(key) is None
            else transaction_run.numbers_of(self._store.packed(key))
        ) if key in self.pending else real(self, key),
    )  # fmt: skip


@pytest.mark.parametrize(
    "mutation",
    [
        compare_skipped,
        half_of_it_applied,
        nested_else_done,
        two_revisions,
        writes_lost,
        own_writes_not_seen,
    ],
)
def test_what_it_must_not_do_is_found(mutation, monkeypatch):
    mutation(monkeypatch)
    found = [_status(seed) for seed in range(6)]
    assert VIOLATION in found


def _status(seed):
    try:
        return run(seed).status
    except AssertionError:  # the history of changes has noticed it first
        return VIOLATION
