"""The names of clients whose sessions have ended, while the log here has slots that refer to them.

A slot names a session by its number, and the OPEN that named the client may be in a part of the log
that was given back. While the session lives, its name is part of it (``sessions.py``). When it
ends, the name comes here, with the slot at which it ended: no later slot says more of it than that
it is unknown. When the log is given back up to a later slot, it goes.

Each node gives its log back when it pleases, so that what is here differs between nodes: it is no
part of the state that is compared, decides nothing, and is in no checksum. It travels in snapshot
files, for after a start the log is applied from the snapshot on only: a snapshot has the names of
all sessions that ended in the part of the log that the node had when it was taken.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from paxosd.core.types import Slot

FORMER_MAX = 20_000
"""So many names are kept, some 200 bytes each; beyond that the first that ended goes."""


class FormerName(NamedTuple):
    """``slot``: at which the session had ended."""

    session: int
    slot: Slot
    name: str


class FormerNames:
    """In the order in which they ended."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: deque[FormerName] = deque(maxlen=FORMER_MAX)

    def __len__(self) -> int:
        return len(self._names)

    def add(self, session: int, slot: Slot, name: str) -> None:
        """This session has ended; one without a name leaves nothing."""
        if name:
            self._names.append(FormerName(session, slot, name))

    def extend(self, names: Iterable[FormerName]) -> None:
        """Add those of a snapshot."""
        self._names.extend(names)

    def release(self, first: Slot) -> None:
        """The log begins at slot ``first`` now."""
        names = self._names
        while names and names[0].slot < first:
            names.popleft()

    def all(self) -> list[FormerName]:
        """All that are kept."""
        return list(self._names)
