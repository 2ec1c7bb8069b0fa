"""Who leads: the candidacies of an election are a lock whose keys say who wants to lead.

campaign ──► Lock with the candidate's value        leader, observe ──► the first key's value
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

from paxosctl.client.lock import Lock
from paxosctl.client.watch import Watcher
from paxosd.core.commands import KeyValue


class Leader(NamedTuple):
    """Who leads: the value of the candidate, the key of the candidacy, and its fencing token."""

    value: bytes
    key: bytes
    token: int


class Election:
    """One election: :meth:`campaign` for it, or look who leads."""

    def __init__(
        self,
        name: bytes,
        *,
        lock: Callable[[bytes], Lock],
        rows: Callable[[], tuple[list[KeyValue], int]],
        watch: Callable[[int], Watcher],
    ) -> None:
        """``lock(value)``: a candidacy; ``rows()``: all of them, and the revision they are of;
        ``watch(revision)``: their changes from there on."""
        self.name = name
        self._lock = lock
        self._rows = rows
        self._watch = watch

    def campaign(self, value: bytes) -> Lock:
        """A candidacy that leads while it is held: ``with election.campaign(b"host1") as lead:``
        waits until it leads; its ``lost`` is set before another can lead."""
        return self._lock(value)

    def leader(self) -> Leader | None:
        """Who leads now, as far as the cluster knows; None: nobody does. It may be over before it
        is read here: only a fence (``put(…, fence=…)``) makes sure."""
        return _first(self._rows()[0])

    def observe(self) -> Iterator[Leader | None]:
        """Who leads now, and then each new leader, for ever; None while nobody does. Closing the
        iterator ends it. Raises what :meth:`Client.watch` raises."""
        rows, revision = self._rows()
        known = {row.key: row for row in rows}
        seen = _first(rows)
        yield seen
        with closing(self._watch(revision + 1)) as changes:
            for change in changes:
                if change.value is None:
                    known.pop(change.key, None)
                else:
                    before = known.get(change.key)
                    create = before.create_revision if before is not None else change.revision
                    known[change.key] = KeyValue(
                        change.key, change.value, create, change.revision, 1
                    )
                now = _first(list(known.values()))
                if now != seen:
                    seen = now
                    yield now


def _first(rows: list[KeyValue]) -> Leader | None:
    if not rows:
        return None
    row = min(rows, key=lambda each: each.create_revision)
    return Leader(row.value, row.key, row.create_revision)
