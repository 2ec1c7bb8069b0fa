"""Clients of ``paxosctl fault run`` that do transactions, some of them with leases.

They share a few groups of keys: each transaction is on the keys of one group, so that the checker
has small objects (``paxosd/check/shared_keys.py``). Each client has a lease at a time, of a second
or two, which it renews for a while or not at all; a part of its puts attach keys to it. The keys
may go with the lease only: all at once, and not before its time.
"""

import time
from typing import Any

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from paxosctl.faultrun.worker import Run, Worker, now_us
from paxosd.check.history import GET, TXN
from paxosd.check.lease_term import LeaseTerm
from paxosd.check.transaction_workload import TransactionWorkload, record_command
from paxosd.check.workload import record_read
from paxosd.core.commands import GRANT, KEEPALIVE, PUT, REVOKE, Status
from paxosd.core.commands import TXN as TXN_COMMAND
from paxosd.core.requests import GET as GET_QUERY
from paxosd.core.transactions import NO_LEASE

GROUPS = 3
KEYS_PER_GROUP = 4
TTLS_MS = (1000, 1500, 2000)
PAUSE_FACTOR = 4
"""They pause so much longer than the other clients: what they do is a small share of the load."""


def shared_keys(prefix: bytes) -> list[list[bytes]]:
    """The keys of each group; no other key of a run is in the range of a group."""
    return [
        [b"%st%d/%d" % (prefix, group, number) for number in range(KEYS_PER_GROUP)]
        for group in range(GROUPS)
    ]


class Transactor(Worker):
    """One client, which waits for each answer. ``terms``: of all leases that it had."""

    def __init__(self, run: Run, place: int, name: str) -> None:
        super().__init__(run, place, name)
        self.terms: list[LeaseTerm] = []
        self._groups = shared_keys(run.prefix)
        self._drawn = [
            TransactionWorkload(f"{name}/{number}", self._rng, keys)
            for number, keys in enumerate(self._groups)
        ]
        self._term: LeaseTerm | None = None
        self._home = 0
        """The group whose keys may be attached to the lease. (Of more groups it would make one.)"""
        self._renews = False

    @property
    def _pause_s(self) -> float:
        return PAUSE_FACTOR * super()._pause_s

    def _act(self, client: Client) -> None:
        rng = self._rng
        lot = rng.random()
        term = self._term
        if lot < 0.15:
            self._look(client)
        elif lot < 0.3 and term is None:
            self._grant(client)
        elif lot < 0.3 and term is not None and self._renews:
            self._renew(client, term)
        elif lot < 0.4 and term is not None:
            key = rng.choice(self._groups[self._home][:-1])
            value = b"%s-leased-%d" % (self.name.encode(), now_us())
            self._write(client, [PUT, key, value, term.lease])
        elif lot < 0.41 and term is not None:
            term.revoking()
            self._write(client, [REVOKE, term.lease])
            self._take(None)
        else:
            drawn = rng.choice(self._drawn)
            pair = self._write(client, drawn.draw())
            if pair is not None:
                drawn.learn(pair)

    def _write(self, client: Client, command: list[Any]) -> Any:
        """Do it and record it; the pair of its answer, None if it was not done."""
        history, term = self._run.history, self._term
        operation = history.invoke(self.name, TXN, b"", command=command)
        call = client.finish(client.submit(command))
        if call.failure is not None:
            self._no_answer(operation, call)
            return None
        if record_command(history, operation, call.result):
            self._run.acked_s.append(time.monotonic())
            return operation.result
        if term is not None and _says_gone(command, call.result):
            term.found_gone(now_us())
            self._take(None)
        return None

    def _look(self, client: Client) -> None:
        """Read one key, past all transactions."""
        key = self._rng.choice(self._rng.choice(self._groups))
        history = self._run.history
        operation = history.invoke(self.name, GET, key)
        try:
            answer = client.read([[GET_QUERY, key]])
        except ClientError:
            history.failed(operation)  # a read has no effect that could come later
            return
        record_read(history, operation, answer)

    # -- leases

    def _grant(self, client: Client) -> None:
        ttl_ms = self._rng.choice(TTLS_MS)
        sent_us = now_us()
        call = client.finish(client.submit([GRANT, ttl_ms, 0]))
        if call.failure is None and call.result[0] == Status.OK:
            self._take(LeaseTerm(call.result[2], ttl_ms, sent_us))
            self._renews = self._rng.random() < 0.6

    def _renew(self, client: Client, term: LeaseTerm) -> None:
        sent_us = now_us()
        call = client.finish(client.submit([KEEPALIVE, [term.lease]]))
        if call.failure is None:
            (ttl_ms,) = call.result[2]
            if ttl_ms:
                term.renewed(ttl_ms, sent_us)
            else:
                term.found_gone(now_us())
                self._take(None)
        if self._rng.random() < 0.1:
            self._renews = False

    def _take(self, term: LeaseTerm | None) -> None:
        self._term = term
        if term is not None:
            self.terms.append(term)
            self._home = self._rng.randrange(GROUPS)
        for number, drawn in enumerate(self._drawn):
            drawn.lease = term.lease if term is not None and number == self._home else 0


def _says_gone(command: list[Any], result: Any) -> bool:
    """Whether it was refused because its lease is not there any more."""
    status, _, detail = result
    if command[0] == TXN_COMMAND:
        return bool(status == Status.TXN_REFUSED and detail == NO_LEASE)
    return bool(status == Status.LEASE_UNKNOWN)
