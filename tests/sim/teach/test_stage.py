"""The stage of the lessons: the daemon's own replica, under full control."""

from paxosd.core.effects import WriteReply
from paxosd.replica.replica import Replica
from paxosd.sim.teach.guide import Guide, put
from paxosd.storage.node_directory import NodeDirectory


def led():
    """A stage on which n1 leads, and a client's session."""
    guide = Guide(1)
    stage = guide.stage("n1", "n2", "n3")
    guide.elect("n1")
    return guide, stage, guide.open_session("client", "n1")


def test_members_take_the_turns_of_the_daemons_replica(monkeypatch):
    turns = []
    real = Replica.turn
    monkeypatch.setattr(
        Replica, "turn", lambda self, *times: turns.append(self) or real(self, *times)
    )
    _, stage, _ = led()
    assert len(set(turns)) == len(stage.names)


def test_nothing_is_said_while_the_fsync_is_under_way():
    guide, stage, session = led()
    for member in stage.members.values():
        member.life.committer.sync_ms = (100.0, 100.0)
    voted = guide.sent("Accepted")
    token = stage.write("client", "n1", put(session, 1, "x", "1"))
    stage.run(50)
    assert guide.sent("Accepted") == voted
    assert 2 not in stage.observer.chosen
    assert token not in stage.answers
    assert isinstance(stage.reply(token), WriteReply)
    assert stage.observer.chosen[2]


def test_what_the_fsync_had_not_reached_is_gone_after_a_crash():
    _, stage, session = led()
    stage.members["n2"].life.committer.sync_ms = (100.0, 100.0)
    stage.wires.cut(("n1",), ("n3",))
    stage.write("client", "n1", put(session, 1, "x", "1"))
    stage.run(20)
    stage.crash("n2")
    assert stage.observer.accepted_at("n2", 2) is None
    stage.restart("n2")
    assert stage.node("n2").applied < 2


def test_a_life_counts_in_the_data_directory(monkeypatch):
    counts = []
    real = NodeDirectory.claim

    def claim(self, *given):
        claimed = real(self, *given)
        counts.append((self.node, claimed.boot_count))
        return claimed

    monkeypatch.setattr(NodeDirectory, "claim", claim)
    _, stage, _ = led()
    stage.crash("n3")
    stage.restart("n3")
    assert counts == [("n1", 1), ("n2", 1), ("n3", 1), ("n3", 2)]
