"""The network falls apart; the leader is on the smaller side."""

from paxosd.core.commands import Entry
from paxosd.core.effects import INTERRUPTED, NO_LEADER, Refusal, WriteReply
from paxosd.sim.teach.guide import Guide, Lesson, put
from paxosd.sim.teach.stage import Stage
from paxosd.sim.teach.values import show_value

FEW = ("n1", "n2")
MANY = ("n3", "n4", "n5")
SLOT = 3


def _play(guide: Guide) -> None:
    stage = guide.stage(*FEW, *MANY)
    sessions = guide.settle("n1", "A", "B")
    write = put(sessions["A"], 1, "x", "few")
    read = _smaller_side(guide, stage, write)
    _larger_side(guide, stage, sessions["B"], read)
    _whole_again(guide, stage, write)


def _smaller_side(guide: Guide, stage: Stage, write: Entry) -> int:
    """A writes in vain. Returns the token of a read that waits."""
    guide.act("The smaller side: two of five")
    guide.remark(
        "n1 leads five nodes with ballot 1.n1. The network breaks in two: n1, n2 and client A "
        "here; n3, n4, n5 and client B there. n1 does not know it yet."
    )
    stage.wires.cut(FEW, MANY)
    guide.hush("PreVote", "PreVoteReply", "again")
    reply = stage.reply(stage.write("A", "n1", write))
    guide.claim(
        isinstance(reply, Refusal) and reply.code == INTERRUPTED,
        "A gets the answer that the outcome is unknown: neither yes nor no would be true",
    )
    guide.claim(
        SLOT not in stage.observer.chosen, "x=few is on two disks of five: it is not chosen"
    )
    return stage.read("A", "n1", b"x")


def _larger_side(guide: Guide, stage: Stage, session: int, read: int) -> None:
    """Another leader; B writes, and A's read is refused."""
    guide.act("The larger side: three of five")
    guide.hush("PreVote", "PreVoteReply", "again", "Promise", "Accepted")
    stage.run_while(lambda: stage.leader() not in MANY, 5000)
    guide.claim(stage.leader() == "n3", "n3 leads: three promises of five are a majority")
    reply = stage.reply(stage.write("B", "n3", put(session, 1, "x", "many")))
    guide.claim(isinstance(reply, WriteReply), "B's write is done while the cut lasts")
    reply = stage.reply(read)
    guide.claim(
        isinstance(reply, Refusal) and reply.code == NO_LEADER,
        "A's read on the smaller side is refused: an old value would be wrong, for B has the "
        "answer that x=many is done",
    )
    guide.memory(SLOT)


def _whole_again(guide: Guide, stage: Stage, write: Entry) -> None:
    """The smaller side follows, and A repeats its request."""
    guide.act("The network is whole again")
    guide.hush("PreVote", "PreVoteReply", "again", "Accepted", "Nack")
    stage.wires.mend()
    value = stage.observer.chosen[SLOT][1]
    stage.run_until_applied(SLOT, limit_ms=5000)
    stage.run_while(lambda: any(stage.node(name).leader != "n3" for name in FEW), 5000)
    stage.run(5)
    guide.memory(SLOT)
    guide.claim(
        stage.values_at(SLOT) == {value},
        f"all five hold {show_value(value)} in slot {SLOT}; x=few was never chosen there, and "
        "nobody ever read it",
    )
    guide.claim(stage.leader() == "n3", "n3 still leads: the nodes that came back deposed nobody")
    guide.remark("A repeats its request, to the leader.")
    guide.hush("Accept", "Accepted", "applied")
    reply = stage.reply(stage.write("A", "n3", write))
    guide.claim(isinstance(reply, WriteReply) and reply.slot > SLOT, "now it is done, after B's")


LESSON = Lesson(
    title="A leader on the smaller side of a cut network",
    shows="a leader that two of five nodes still follow, what it can and cannot do, and how the "
    "two sides become one again.",
    moral="Both a write and a safe read need a majority, and there is only one: the smaller side "
    "stops rather than be wrong. What it accepted but did not get chosen gives way to what the "
    "majority chose. Five nodes live through the loss of any two.",
    source="Lamport, “Paxos Made Simple”, sections 2.2 and 2.4; Ongaro (2014), sections 6.2, 6.4",
    play=_play,
)
