"""The log as those read it who lack a part of it: peers that catch up, watchers, this node itself.

A peer gets the slots that it asked for from the log, as many as fit; if the log no longer has them,
or they are larger than what the peer takes, it is offered a snapshot instead. Damage that a read
finds is reported to the snapshot exchange, which repairs it.
"""

from collections.abc import Callable
from math import inf

from paxosd.core.commands import Batch
from paxosd.core.context import Codec
from paxosd.core.effects import ServeLog
from paxosd.core.node import Node
from paxosd.core.types import NOOP, Ballot, Slot
from paxosd.replica.log_server import serve_log
from paxosd.replica.ports import ReplicaBus
from paxosd.snapshot.exchange import SnapshotExchange
from paxosd.storage.disk import CorruptionError
from paxosd.storage.wal import Wal


class LogSource:
    """Reads one node's log."""

    def __init__(
        self,
        wal: Wal,
        codec: Codec,
        node: Node,
        exchange: SnapshotExchange | None,
        bus: ReplicaBus,
        bytes_max: Callable[[], int],
    ) -> None:
        """``bytes_max``: of the values in the next answer to a peer."""
        self._wal = wal
        self._codec = codec
        self._node = node
        self._exchange = exchange
        self._bus = bus
        self._bytes_max = bytes_max

    def read(self, slot: Slot) -> tuple[Ballot, bytes]:
        """The ballot and value of a slot. Raises KeyError if the log has nothing for it, or nothing
        that is sound: that damage is reported, and repaired."""
        try:
            return self._wal.read(slot)
        except CorruptionError as error:
            if self._exchange is None:
                raise
            self._exchange.damaged(error)
            raise KeyError(slot) from error

    def read_batch(self, slot: Slot) -> Batch | None:
        """The decoded value of an applied slot, as the core applied it. Raises KeyError."""
        value = self.read(slot)[1]
        try:
            return None if value == NOOP else self._codec.decode_batch(value)
        except ValueError:
            return None  # every node took the same bytes for a NOOP

    def serve(self, serve: ServeLog) -> None:
        """Send a peer the slots that it lacks, or offer it a snapshot."""
        if serve.first < self._wal.first_slot:
            self._offer(serve)
            return
        limits = self._node.limits
        decisions = serve_log(
            serve.first,
            serve.last,
            self.read,
            min(self._bytes_max(), serve.bytes_max, limits.room_of(serve.to) or inf),
            serve.commit,
            serve.before,
        )
        if decisions is None:
            self._offer(serve)
        elif not limits.takes(serve.to, len(decisions.values[0][1])):
            self._offer(serve, must_exist=True)
        else:
            size = sum([len(value) for _, value in decisions.values])
            if self._bus.send(serve.to, decisions):
                self._node.served(serve.to, decisions, size)

    def _offer(self, serve: ServeLog, *, must_exist: bool = False) -> None:
        """Offer a snapshot, unless others contradict this node's state. ``must_exist``: if there is
        no snapshot that helps the peer, take one: the log has the slots, and the peer's limits
        keep it from getting them."""
        if self._exchange is None or self._node.in_doubt:
            return
        newest = self._exchange.own.newest
        if must_exist and (newest is None or newest.slot < serve.first):
            self._exchange.own.ask()
        self._exchange.offer(serve.to, serve.first)
