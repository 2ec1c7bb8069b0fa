"""Safeguards of watches: no change is skipped, and none is reported twice."""

from paxosd.core.client.delivery_order import DeliveryOrder
from paxosd.core.events import ChangeEvent
from paxosd.replica.replica import Replica
from paxosd.replica.watch_publisher import EventPublisher
from tests.bench.mutation import around, instead, row

_SKIP_TO = EventPublisher._skip_to


def _jump_to_what_is_believed(self):
    self.flush()
    _SKIP_TO(self, self._revision)


def _take_revision(self, revision):
    self._revision = revision


_UNCOMPARED = instead(EventPublisher, "_skip_to", _take_revision)
"""The publisher does not compare what it is given with what it published."""


def _jump_after_install(self, slot, machine, done):
    behind = self.machine.applied < slot
    if behind:
        self.events.flush()
        self.machine.adopt(machine)
        self.node.install(slot)
        self.events.jumped()
    done(behind)


def _names_nothing_before(real, self, prefix):
    place = real(self, prefix)
    return None if place is None else place._replace(previous=0)


def _any_place(real, self, event, ordinal, total, delivered):
    here = event.revision == self._partial_revision
    return real(self, event, self._partial_index if here else 0, total, delivered)


def _blind_progress(real, self, event):
    return real(self, event._replace(last_revision=0))


def _begins_at_zero(real, self, prefix):
    stream = real(self, prefix)
    if stream is not None:
        stream.last_revision = 0
    return stream


WATCHES = (
    row("watch-jump-order",
        "a node that takes in a snapshot says so before it applies what is above, or it is seen",
        instead(Replica, "_jump", _jump_after_install),
        instead(EventPublisher, "jumped", _jump_to_what_is_believed), _UNCOMPARED,
        where="Replica._jump, EventPublisher.flush", profiles="watched-laggards watched", seed=88),
    row("watch-jump-unseen", "the publisher sees that changes were never collected",
        instead(EventPublisher, "jumped", EventPublisher.flush), _UNCOMPARED,
        where="EventPublisher.flush", profiles="watched-laggards watched", seed=1),
    row("watch-continuity",
        "a watcher takes a change only if it has the one that it names before it",
        around(ChangeEvent, "place_of", _names_nothing_before), where="DeliveryOrder._take_change",
        profiles="watched", seed=3, in_suite=True),
    row("watch-place", "a watcher minds which of its revision's changes one is",
        around(DeliveryOrder, "_take_next", _any_place), profiles="watched", seed=19,
        in_suite=True),
    row("watch-progress", "a lost last change is seen by the progress message after it",
        around(DeliveryOrder, "_take_progress", _blind_progress), profiles="watched", seed=1,
        in_suite=True),
    row("watch-first-number", "a new stream begins at what the machine has applied",
        around(EventPublisher, "_begin", _begins_at_zero), where="EventPublisher.on_subscription",
        profiles="watched", seed=1),
)  # fmt: skip
