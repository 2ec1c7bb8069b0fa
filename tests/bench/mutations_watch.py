"""Safeguards of watches: no change is skipped, and none is told twice."""

from paxosd.core.client.watch import WatchState
from paxosd.core.events import ChangeEvent
from paxosd.replica.replica import Replica
from paxosd.replica.watch_publisher import EventPublisher
from tests.bench.mutation import Patches, mutation


def _believe(p: Patches) -> None:
    """The publisher does not compare what it is given with what it published; it believes
    ``jumped`` alone."""

    def make_jumped(original):
        skip_to = EventPublisher._skip_to

        def jumped(self):
            self.flush()
            skip_to(self, self._revision)

        return jumped

    p.replace(EventPublisher, "jumped", make_jumped)
    p.replace(
        EventPublisher,
        "_skip_to",
        lambda _: lambda self, revision: setattr(self, "_revision", revision),
    )


@mutation(
    "watch-jump-order",
    "a node that takes in a snapshot says so before it applies what is above, or it is seen",
    "Replica._jump, EventPublisher.flush",
    profiles=("watched-laggards", "watched"),
)
def _watch_jump_order(p: Patches) -> None:
    def make(_):
        def _jump(self, slot, machine, done):
            behind = self.machine.applied < slot
            if behind:
                self.events.flush()
                self.machine.adopt(machine)
                self.node.install(slot)
                self.events.jumped()
            done(behind)

        return _jump

    p.replace(Replica, "_jump", make)
    _believe(p)


@mutation(
    "watch-jump-unseen",
    "the publisher sees that changes were never collected",
    "EventPublisher.flush",
    profiles=("watched-laggards", "watched"),
)
def _watch_jump_unseen(p: Patches) -> None:
    p.replace(EventPublisher, "jumped", lambda _: EventPublisher.flush)
    p.replace(
        EventPublisher,
        "_skip_to",
        lambda _: lambda self, revision: setattr(self, "_revision", revision),
    )


@mutation(
    "watch-continuity",
    "a watcher takes a change only if it has the one that it names before it",
    "WatchState._take_change",
    profiles=("watched",),
)
def _watch_continuity(p: Patches) -> None:
    def make(original):
        def place_of(self, prefix):
            place = original(self, prefix)
            return None if place is None else place._replace(previous=0)

        return place_of

    p.replace(ChangeEvent, "place_of", make)


@mutation(
    "watch-place",
    "a watcher minds which of its revision's changes one is",
    "WatchState._take_next",
    profiles=("watched",),
)
def _watch_place(p: Patches) -> None:
    def make(original):
        def _take_next(self, event, ordinal, total, effects):
            here = event.revision == self._partial_revision
            return original(self, event, self._partial_index if here else 0, total, effects)

        return _take_next

    p.replace(WatchState, "_take_next", make)


@mutation(
    "watch-progress",
    "a lost last change is seen by the progress message after it",
    "WatchState._take_progress",
    profiles=("watched",),
)
def _watch_progress(p: Patches) -> None:
    def make(original):
        def _take_progress(self, event):
            return original(self, event._replace(last_revision=0))

        return _take_progress

    p.replace(WatchState, "_take_progress", make)


@mutation(
    "watch-first-number",
    "a new stream begins at what the machine has applied",
    "EventPublisher.on_subscription",
    profiles=("watched",),
)
def _watch_first_number(p: Patches) -> None:
    def make(original):
        def _begin(self, prefix):
            stream = original(self, prefix)
            if stream is not None:
                stream.last_revision = 0
            return stream

        return _begin

    p.replace(EventPublisher, "_begin", make)
