"""The sessions of a load are opened, whatever becomes of a request."""

from paxosctl.load import sessions
from paxosctl.load.generator import Generator, Target
from paxosctl.load.load import Load
from paxosd.core.commands import OPEN, OPENED_BY_MIN
from paxosd.core.requests import WriteRequest
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


def opened(daemon):
    load = Load(verb="put", outstanding=CLIENTS, connections=CLIENTS, size=8, keys=10, count=5)
    generator = Generator(Target.of(daemon.endpoint), load, 60_000)
    generator.open()
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
