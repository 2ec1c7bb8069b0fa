"""What a running node is, in one line: the STATUS of its service manager, and of ``paxosd dev``."""

import time
from collections.abc import Callable

from paxosd.core.node import Node
from paxosd.host.wording import listed

MENTION_AFTER_MS = 5000
"""So long a node waits for others at a usual start of all."""
ACTING = frozenset({"leader", "candidate", "follower", "learner", "removed"})


class StandingWords:
    """``leader; leader n1``, ``newcomer; leader unknown; waits for n3 since 2026-01-31 12:00:05
    UTC``. Since when, rather than for how long: so the line changes only with what it says, and it
    is right whenever it is read. ``wall_s``: seconds since 1970."""

    def __init__(self, node: Node, wall_s: Callable[[], float] = time.time) -> None:
        self._node = node
        self._wall_s = wall_s
        self._since = ""

    def __call__(self) -> str:
        """The line now."""
        node = self._node
        words = f"{node.role}; leader {node.leader or 'unknown'}"
        if node.role in ACTING:
            self._since = ""
            return words
        status = node.status()
        if status.unconfirmed_ms < MENTION_AFTER_MS:
            return words
        if not self._since:
            began_s = self._wall_s() - status.unconfirmed_ms / 1000
            self._since = time.strftime("since %Y-%m-%d %H:%M:%S UTC", time.gmtime(began_s))
        names = listed(status.unconfirmed_by)
        return f"{words}; {f'waits for {names}' if names else 'does not vote'} {self._since}"
