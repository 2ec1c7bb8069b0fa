"""The thread that keeps locks: what it costs, and how it ends."""

from paxosctl.client import lock_keeper
from paxosctl.client.lock_keeper import LockKeeper
from paxosd.core.client.calls import ClientOptions
from paxosd.core.client.lock import LockPlan, LockProtocol
from tests.ctl.fake_daemon import closed_port


class Kept:
    def changed(self, protocol):
        pass


def test_it_sleeps_while_it_waits_for_what_it_gives_back(monkeypatch):
    monkeypatch.setattr(lock_keeper, "END_MS", 200)
    turns = []
    turn = lock_keeper._Work.turn
    monkeypatch.setattr(lock_keeper._Work, "turn", lambda work: turns.append(turn(work)))
    keeper = LockKeeper([closed_port()], ClientOptions())
    kept = Kept()
    keeper.begin(kept, LockProtocol(LockPlan(name=b"jobs")))
    keeper.close()
    assert keeper.ended == "the client is closed"
    assert len(turns) < 50
