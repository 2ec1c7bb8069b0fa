"""One leader, one write."""

from paxosd.core.effects import WriteReply
from paxosd.core.types import Ballot
from paxosd.sim.teach.guide import Guide, Lesson, put


def _play(guide: Guide) -> None:
    stage = guide.stage("n1", "n2", "n3")
    guide.act("Phase 1: a leader, once for all slots")
    guide.remark(
        "Three nodes have started. Nobody has promised or accepted anything. Each waits a random "
        "time for a leader to speak up; n1's time is the shortest."
    )
    guide.elect("n1")
    guide.claim(stage.node("n1").promised == Ballot(1, "n1"), "n1 leads with ballot 1.n1")
    guide.remark("The client opens a session: slot 1, in the same way as the write that follows.")
    session = guide.open_session("client", "n1")
    guide.pass_over()

    guide.act("Phase 2: a write, one round trip")
    asked = guide.sent("Prepare")
    token = stage.write("client", "n1", put(session, 1, "x", "1"))
    stage.run_until_applied(2)
    reply = stage.reply(token)
    guide.memory(2)
    values = stage.values_at(2)
    guide.claim(isinstance(reply, WriteReply) and reply.slot == 2, "the client has its answer")
    guide.claim(
        len(values) == 1 and None not in values, "all three nodes applied the same value in slot 2"
    )
    guide.claim(
        guide.sent("Prepare") == asked, "the write needed no prepare: phase 1 was done once"
    )


LESSON = Lesson(
    title="One leader, one write",
    shows="how three nodes find a leader, how a value becomes chosen, and that each promise and "
    "each vote is on disk before it is sent.",
    moral="A value is chosen when a majority of acceptors has accepted it under one ballot. The "
    "leader needs phase 1 once; then each write costs one message out, one fsync, one vote back.",
    source="Lamport, “Paxos Made Simple”, sections 2.2 to 3",
    play=_play,
)
