"""Which node a watch turns to next.

The members come first, as the nodes that answered last have them: those that the user named in the
order in which they were named, then the others. What the user named beside that is the last
resort: a node that left the cluster may still say who is in it now.
"""

from collections.abc import Iterable

from paxosd.core.client.cluster_info import ClusterInfo


class WatchNodes:
    """Client endpoints, one after the other, again and again."""

    def __init__(self, given: Iterable[str]) -> None:
        self._given = list(dict.fromkeys(given))
        self._members: list[str] = []
        self._epoch = -1
        self._last = ""

    def learn(self, info: ClusterInfo) -> None:
        """Take in what a node says, unless it lags behind another one that was heard."""
        if info.members and info.epoch >= self._epoch:
            self._epoch = info.epoch
            self._members = [member.client for member in info.members.values()]

    @property
    def order(self) -> list[str]:
        """All of them, in the order in which they are tried."""
        members = dict.fromkeys(self._members)
        named = [each for each in self._given if each in members]
        return list(dict.fromkeys([*named, *members, *self._given]))

    def next(self) -> str:
        """The one after the last; the first, if that is none any more."""
        order = self.order
        place = order.index(self._last) + 1 if self._last in order else 0
        self._last = order[place % len(order)]
        return self._last
