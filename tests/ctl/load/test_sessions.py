"""The sessions of a load are opened, whatever becomes of a request."""

import pytest

from paxosctl.client.errors import NotSubmittedError
from paxosctl.load import sessions
from paxosctl.load.generator import Generator, Target
from paxosctl.load.load import Load
from paxosd.core.commands import OPEN, OPENED_BY_MIN
from paxosd.core.effects import INTERRUPTED, NO_LEADER, NOT_LEADER
from paxosd.core.requests import RefusalAnswer, WriteRequest
from tests.ctl.fake_daemon import FakeDaemon

CLIENTS = 5


class Forgetful(FakeDaemon):
    """Loses the first requests to write, as a connection that breaks."""

    lost = 0

    def _answer(self, request):
        if isinstance(request, WriteRequest) and self.lost < 3:
            self.lost += 1
            return None
        return super()._answer(request)


def opened(daemon, timeout_ms=60_000):
    load = Load(verb="put", outstanding=CLIENTS, connections=CLIENTS, size=8, keys=10, count=5)
    generator = Generator(Target.of(daemon.endpoint), load, timeout_ms)
    try:
        generator.open()
    finally:
        generator._pool.close()
    return generator._clients


def test_a_request_that_is_lost_is_sent_again(monkeypatch):
    monkeypatch.setattr(sessions, "ASK_AGAIN_S", 0.05)
    with Forgetful() as daemon:
        clients = opened(daemon)
    assert all(client.id for client in clients)
    assert len({client.id for client in clients}) == CLIENTS


def test_each_opening_names_a_number_and_keeps_it(monkeypatch):
    monkeypatch.setattr(sessions, "ASK_AGAIN_S", 0.0)
    with FakeDaemon() as daemon:
        opened(daemon)
        opened(daemon)
    numbers = {entry.first_seq for entry in daemon.writes if entry.commands == [[OPEN]]}
    assert len(numbers) == 2 * CLIENTS
    assert min(numbers) >= OPENED_BY_MIN


class Deposed(FakeDaemon):
    """Loses its leadership while the sessions are opened; ``for_good``: and nobody else leads."""

    for_good = False
    refused = 0

    def _answer(self, request):
        if isinstance(request, WriteRequest) and (self.for_good or self.refused < 3):
            self.refused += 1
            code = (INTERRUPTED, NO_LEADER, NOT_LEADER)[self.refused % 3]
            return RefusalAnswer(request.request_id, code, "somebody else leads", "", "", 0)
        return super()._answer(request)


def test_a_change_of_the_leader_meanwhile_is_sat_out():
    with Deposed() as daemon:
        clients = opened(daemon)
    assert daemon.refused == 3
    assert len({client.id for client in clients}) == CLIENTS


def test_if_nobody_leads_it_says_so_in_the_end():
    with Deposed() as daemon:
        daemon.for_good = True
        with pytest.raises(NotSubmittedError, match="0 of 5 sessions, and then: somebody else"):
            opened(daemon, timeout_ms=300)
