"""A call of the Python client ends at its deadline, neither much before nor after it."""

import time

import pytest

from paxosctl.client.client import Client
from paxosctl.client.errors import NotSubmittedError, OutcomeUnknownError
from tests.ctl.fake_daemon import FakeDaemon

TIMEOUT_S = 0.3
ROUNDED_S = 0.001
"""Deadlines are kept in whole milliseconds."""
LATE_S = 0.5
"""Less than the longest poll (1 s): a client that polls once more after the end is found out."""
TRIES = 10
"""A busy machine can hold anybody up, but not each time: one call in time will do."""


@pytest.fixture
def silent():
    with FakeDaemon() as fake:
        fake.silent = True
        yield fake


def _ends_in_time(act):
    """Never early, and not late each time."""
    for _ in range(TRIES):
        began = time.monotonic()
        act()
        took = time.monotonic() - began
        assert took >= TIMEOUT_S - ROUNDED_S
        if took < TIMEOUT_S + LATE_S:
            return True
    return False


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda client: client.get(b"k"), NotSubmittedError),
        (lambda client: client.put(b"k", b"v"), NotSubmittedError),
        (lambda client: client.status(), NotSubmittedError),
    ],
    ids=["get", "put", "status"],
)
def test_a_silent_daemon(silent, call, error):
    def act():
        with Client([silent.endpoint], timeout_s=TIMEOUT_S) as client, pytest.raises(error):
            call(client)

    assert _ends_in_time(act)


def test_a_pipeline_of_many_waits_for_one_deadline_not_for_many():
    with FakeDaemon() as daemon, Client([daemon.endpoint], timeout_s=30) as client:
        client.put(b"k", b"v")
        daemon.silent = True
        client.timeout_s = TIMEOUT_S
        kinds = set()

        def act():
            pipe = client.pipeline()
            futures = [pipe.put(b"k%d" % i, b"v") for i in range(50)]
            errors = {type(future.error()) for future in futures}
            # Once one is unknown, its session takes no more, and no other can be opened.
            assert errors <= {OutcomeUnknownError, NotSubmittedError}
            kinds.update(errors)

        assert _ends_in_time(act)
        assert OutcomeUnknownError in kinds
