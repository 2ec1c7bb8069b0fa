"""An observation as the text of ``/metrics``: Prometheus' format, or OpenMetrics where asked for.

prometheus_client writes the formats; nothing of its own registry is used, for the numbers are the
node's. Imported by a daemon with ``[http]`` alone.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from paxosd.host.histogram import Histogram
from paxosd.metrics.catalogue import METRICS
from paxosd.metrics.metric import COUNTER, GAUGE, Metric
from paxosd.metrics.observation import Observation

LEAST_BITS, MOST_BITS = 6, 25
"""Buckets end at 2^6 µs = 64 µs, and at each power of two up to 2^25 µs = 33.6 s."""
OPENMETRICS = "application/openmetrics-text"


def is_open(accept: str) -> bool:
    """Whether :func:`expose` answers this with OpenMetrics."""
    return OPENMETRICS in accept


def expose(seen: Observation, accept: str) -> tuple[str, bytes]:
    """The content type and the text: OpenMetrics 1.0.0 where ``accept``, the header of the request,
    names it, else Prometheus' text format 0.0.4, which every version of it reads. No more of the
    header is read: nothing in it can fail."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Observed(seen))
    if is_open(accept):
        text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # theirs
        return openmetrics.CONTENT_TYPE_LATEST, text
    return exposition.CONTENT_TYPE_PLAIN_0_0_4, exposition.generate_latest(registry)


class _Observed(Collector):
    def __init__(self, seen: Observation) -> None:
        self._seen = seen

    def collect(self) -> Iterable[Family]:
        for metric in METRICS:
            yield _family(metric, self._seen)

    def describe(self) -> Iterable[Family]:
        return ()


def _family(metric: Metric, seen: Observation) -> Family:
    samples = metric.samples(seen)
    name, meaning, labels = metric.name, metric.meaning, metric.labels
    if metric.kind in (GAUGE, COUNTER):
        family: GaugeMetricFamily | CounterMetricFamily = (
            GaugeMetricFamily(name, meaning, labels=labels)
            if metric.kind == GAUGE
            else CounterMetricFamily(name, meaning, labels=labels)
        )
        for values, value in samples:
            assert isinstance(value, int | float)
            family.add_metric(values, value)
        return family
    histogram = HistogramMetricFamily(name, meaning, labels=labels)
    for values, value in samples:
        assert isinstance(value, Histogram)
        histogram.add_metric(values, list(buckets(value)), sum_value=value.sum_us / 1e6)
    return histogram


def buckets(times: Histogram) -> Iterator[tuple[str, float]]:
    """Upper bound in seconds → how many took at most that long; the last bound is infinite. The
    counts are of whole microseconds below the bound."""
    below = sum(times.counts[:LEAST_BITS])
    for bits in range(LEAST_BITS, MOST_BITS + 1):
        below += times.counts[bits]
        yield repr((1 << bits) / 1e6), below
    yield "+Inf", times.total
