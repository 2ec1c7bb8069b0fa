"""Filling a cluster goes on when a request was interrupted, and puts each key once."""

import pytest

from paxosctl.client.client import Client
from paxosd.core.effects import INTERRUPTED, INVALID
from paxosd.core.requests import RefusalAnswer, WriteRequest
from tests.bench.fill import fill
from tests.ctl.fake_daemon import FakeDaemon


class Interrupting(FakeDaemon):
    """Refuses some writes, by the numbers of their requests, once each."""

    def __init__(self, code, numbers):
        super().__init__()
        self._code, self._numbers = code, set(numbers)

    def _answer(self, request):
        number = request.request_id
        if isinstance(request, WriteRequest) and number in self._numbers:
            self._numbers.discard(number)
            return RefusalAnswer(number, self._code, "a new leader", "", "", 0)
        return super()._answer(request)


def test_goes_on_after_an_interruption(capsys):
    # The opening of the session is number 1 as well as the first puts.
    with Interrupting(INTERRUPTED, [1, 501, 1501]) as daemon:
        assert fill(daemon.endpoint, 2100, 10) == {INTERRUPTED: 3}
        with Client([daemon.endpoint]) as client:
            found = list(client.scan(b"bench/"))
    assert len(found) == 2100
    assert {each.version for each in found} == {1}
    assert "fill: interrupted (a new leader): going on" in capsys.readouterr().out


def test_ends_at_a_refusal_that_stays():
    with Interrupting(INVALID, [1]) as daemon, pytest.raises(AssertionError, match="invalid"):
        fill(daemon.endpoint, 10, 10)
