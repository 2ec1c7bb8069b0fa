"""A user of a watch who does not keep up: bounded in bytes on both sides, and nothing is missed."""

import pytest

from paxosctl.client.watch_session import (
    CHANGE_OVERHEAD_BYTES,
    CHANGES_BYTES_MAX,
    SUB_BYTES_MAX,
    SUB_QUEUE_MAX,
    SUB_QUEUE_MIN,
    _queue_max,
)
from paxosd.core.client.cluster_info import Limits
from tests.processes.processes import Daemons, wait_for

VALUE_BYTES = 60_000
WRITES = 400


@pytest.fixture
def daemons(tmp_path):
    with Daemons(tmp_path, size=1) as made:
        made.start()
        made.wait_leader()
        yield made


def test_a_watcher_that_is_busy_holds_little_and_misses_nothing(daemons):
    with daemons.client() as writer, daemons.client() as reader:
        writer.put(b"w/0", b"")
        watch = reader.watch(b"w/", prefix=True, from_revision=1)
        wait_for(lambda: watch.poll(100), what="the first change")
        for number in range(1, WRITES + 1):
            writer.put(b"w/%d" % number, b"x" * VALUE_BYTES)
        seen, most = [], 0
        while len(seen) < WRITES:
            change = watch.poll(10_000)
            assert change is not None, f"only {len(seen)} came"
            seen.append(int(change.key[2:]))
            most = max(most, watch.waiting_bytes)
        assert seen == list(range(1, WRITES + 1))
        page_bytes = 1 << 20
        assert most <= CHANGES_BYTES_MAX + VALUE_BYTES + CHANGE_OVERHEAD_BYTES + page_bytes
        assert WRITES * VALUE_BYTES > 3 * CHANGES_BYTES_MAX, "else it shows nothing"


def test_what_waits_in_its_socket_goes_by_the_largest_value():
    for value_bytes in (10, 1 << 10, 1 << 20, 64 << 20):
        limits = Limits(key_bytes_max=4096, value_bytes_max=value_bytes)
        count = _queue_max(limits)
        assert SUB_QUEUE_MIN <= count <= SUB_QUEUE_MAX
        assert count == SUB_QUEUE_MIN or count * value_bytes <= SUB_BYTES_MAX
    assert _queue_max(Limits()) == SUB_QUEUE_MIN
