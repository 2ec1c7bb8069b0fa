"""Who leads: the candidacies of an election are a lock whose keys say who wants to lead.

campaign ──► Lock with the candidate's value        leader, observe ──► the first key's value
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

from paxosctl.client.lock import Lock
from paxosctl.client.watch import Watcher
from paxosd.core.commands import KeyValue


class Leader(NamedTuple):
    """Who leads: the value of the candidate, the key of the candidacy, and its fencing token."""

    value: bytes
    key: bytes
    token: int


class Candidates:
    """Who wants to lead, kept up to date from the changes of a watch."""

    def __init__(self, rows: list[KeyValue]) -> None:
        self._rows = {row.key: row for row in rows}

    @property
    def leader(self) -> Leader | None:
        """Who came first; None: there is nobody."""
        row = min(self._rows.values(), key=lambda each: each.create_revision, default=None)
        return None if row is None else Leader(row.value, row.key, row.create_revision)

    def note(self, change: Any) -> Leader | None:
        """A change of a key; who leads then."""
        if change.value is None:
            self._rows.pop(change.key, None)
        else:
            before = self._rows.get(change.key)
            create = before.create_revision if before is not None else change.revision
            self._rows[change.key] = KeyValue(change.key, change.value, create, change.revision, 1)
        return self.leader


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
        return Candidates(self._rows()[0]).leader

    def observe(self) -> Iterator[Leader | None]:
        """Who leads now, and then each new leader, for ever; None while nobody does. Closing the
        iterator ends it. Raises what :meth:`Client.watch` raises."""
        rows, revision = self._rows()
        candidates = Candidates(rows)
        seen = candidates.leader
        yield seen
        with closing(self._watch(revision + 1)) as changes:
            for change in changes:
                now = candidates.note(change)
                if now != seen:
                    seen = now
                    yield now
