"""The texts of /metrics, read again with prometheus_client's own parsers."""

import random
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from paxosd.host.histogram import Histogram
from paxosd.metrics.catalogue import METRICS
from paxosd.metrics.exposition import buckets, expose
from paxosd.metrics.metric import COUNTER
from paxosd.storage.sync_times import SyncTimes
from tests.metrics.seen import STATUS, observation

PROMETHEUS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def samples_of(text, parse=plain_families):
    """(name, labels) → value."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def plain():
    content_type, text = expose(observation(), "")
    assert content_type.startswith("text/plain; version=0.0.4")
    return text.decode()


def test_every_metric_has_its_type_and_a_sample(plain):
    found = {family.name: family for family in plain_families(plain)}
    for metric in METRICS:
        name = metric.name.removesuffix("_total") if metric.kind == COUNTER else metric.name
        assert found[name].type == metric.kind
        assert found[name].documentation == metric.meaning
        assert found[name].samples, f"{metric.name} has no sample"
        labels = set(found[name].samples[0].labels) - {"le"}
        assert labels == set(metric.labels)
    assert len(found) == len(METRICS)


def test_openmetrics_says_the_same(plain):
    content_type, text = expose(observation(), PROMETHEUS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert samples_of(text.decode(), open_families) == samples_of(plain)


@pytest.mark.parametrize("accept", ["", "*/*", ";;;=", "text/plain; version=zz", "\x00"])
def test_what_is_not_understood_gets_plain_text(plain, accept):
    assert expose(observation(), accept)[1].decode() == plain


def test_values(plain):
    found = samples_of(plain)
    assert found["paxosd_role", ("role", "leader")] == 1
    assert found["paxosd_role", ("role", "follower")] == 0
    assert found["paxosd_peer_clock_offset_seconds", ("peer", "n2")] == -1.5
    assert found["paxosd_peer_lag_slots", ("peer", "n2")] == 20
    assert found["paxosd_redials_total", ("peer", "n2")] == 5
    assert found["paxosd_refusals_total", ("code", "busy")] == 0  # before the first one
    assert found[("process_start_time_seconds",)] == 4


def test_what_is_not_known_has_no_sample():
    status = replace(STATUS, age_ms=-1, snapshot=None, wall_ms=None)
    found = samples_of(expose(observation(status=status, quota_bytes_max=0), "")[1].decode())
    names = {name for name, *_ in found}
    assert "paxosd_applied_slot" in names
    missing = ("paxosd_state_age_seconds", "paxosd_snapshot_slot", "paxosd_quota_max_bytes")
    assert not names.intersection(missing)


def test_buckets_are_cumulative_and_hold_all(plain):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    durations_us = [int(2 ** rng.uniform(0, 30)) for _ in range(500)]
    times, syncs = Histogram(), SyncTimes()
    for each in durations_us:
        times.note(each)
        syncs.note(each)
    assert syncs.histogram().counts == times.counts
    assert syncs.histogram().sum_us == times.sum_us == sum(durations_us)
    found = list(buckets(times))
    for bound, count in found[:-1]:
        assert count == sum(each < float(bound) * 1e6 for each in durations_us)
    assert found[-1] == ("+Inf", len(durations_us))


def test_a_negative_duration_counts_as_none():
    times = Histogram()
    times.note(-5)
    assert times.counts[0] == 1
    assert times.sum_us == 0


def test_a_copy_stays_as_it_is():
    times = Histogram()
    copy = times.copy()
    times.note(3)
    assert copy.total == 0
