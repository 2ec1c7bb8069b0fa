"""A metric as the catalogue describes it."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from paxosd.host.histogram import Histogram
from paxosd.metrics.observation import Observation

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"

Value = float | Histogram | None
"""None: not known, so that there is no sample."""
Sample = tuple[tuple[str, ...], Value]
"""The values of the labels, and the value."""


class Metric(NamedTuple):
    """``read`` makes the samples of it: one value if there are no labels, else one for each
    combination of their values. ``kind``: GAUGE, COUNTER (its name ends in ``_total``) or
    HISTOGRAM (of seconds)."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    read: Callable[[Observation], "Value | Iterable[Sample]"]

    def samples(self, seen: Observation) -> list[Sample]:
        """What is known of it."""
        found = self.read(seen)
        if isinstance(found, float | int | Histogram) or found is None:
            found = [((), found)]
        return [sample for sample in found if sample[1] is not None]


def gauge(
    name: str, meaning: str, read: Callable[[Observation], "Value | Iterable[Sample]"], *labels: str
) -> Metric:
    """A value that goes up and down."""
    return Metric(name, GAUGE, labels, meaning, read)


def counter(
    name: str, meaning: str, read: Callable[[Observation], "Value | Iterable[Sample]"], *labels: str
) -> Metric:
    """A count since the start of the process."""
    assert name.endswith("_total"), name
    return Metric(name, COUNTER, labels, meaning, read)


def histogram(
    name: str, meaning: str, read: Callable[[Observation], "Value | Iterable[Sample]"], *labels: str
) -> Metric:
    """Durations in seconds."""
    assert name.endswith("_seconds"), name
    return Metric(name, HISTOGRAM, labels, meaning, read)
