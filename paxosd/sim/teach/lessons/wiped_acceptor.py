"""An acceptor that lost its memory: what happens if it votes, and what paxosd does."""

from paxosd.core.effects import WriteReply
from paxosd.sim.teach.guide import Guide, Lesson, put
from paxosd.sim.teach.stage import Stage
from paxosd.sim.teach.values import show_value

SLOT = 2


def _play(guide: Guide) -> None:
    value = _disaster(guide)
    _log_lost(guide, value)
    _all_lost(guide, value)


def _disaster(guide: Guide) -> bytes:
    """All of n2's data directory is gone, and it is started as if it were new."""
    guide.act("A write is chosen by n1 and n2, and acknowledged")
    stage, session = _until_chosen(guide)
    value = stage.observer.chosen[SLOT][1]

    guide.act("If an acceptor that forgot votes: the disaster")
    guide.expect_disaster()
    guide.remark(
        "Now n1 is cut off, and n3 is back. n2 loses power and its disk. Somebody starts it on a "
        "new, empty data directory: it cannot know that it ever promised or accepted anything. In "
        "this act it asks nobody, and all believe it. paxosd does not behave like that."
    )
    _lose(stage, whole=True)
    stage.restart("n2", naive=True)
    guide.hush("PreVote", "PreVoteReply", "CatchUp", "Decisions")
    stage.run_while(lambda: not stage.node("n3").leading, 5000)
    guide.require(stage.node("n3").leading, "n3 leads")
    token = stage.write("other", "n3", put(session, 2, "x", "2"))
    stage.run_while(lambda: token not in stage.answers, 5000)
    guide.claim(
        isinstance(stage.answers[token].reply, WriteReply),
        "this client, too, gets the answer: done",
    )
    guide.claim(len(stage.observer.conflicts) == 1, "two values were chosen for one slot")
    stage.wires.mend()
    stage.run(300)
    guide.pass_over()
    guide.memory(SLOT)
    guide.claim(
        stage.value_at("n1", SLOT) == value != stage.value_at("n3", SLOT),
        "the network is whole again, and n1 and n3 have applied different values, for ever",
    )
    return value


def _log_lost(guide: Guide, value: bytes) -> None:
    """The log is gone, its mark in the data directory is not."""
    guide.act("What paxosd does: a node without its log does not vote")
    guide.remark("Again from the start; but this time n2 loses its log alone.")
    stage, _ = _until_chosen(guide, quietly=True)
    guide.require(stage.observer.chosen[SLOT][1] == value, "the same happened as before")
    _lose(stage, whole=False)
    stage.restart("n2")
    guide.hush("PreVote", "PreVoteReply", "CatchUp", "Decisions", "Answer", "again")
    guide.claim(
        stage.node("n2").role == "memory-lost",
        "n2 sees that there was a log: its directory takes another identity, and it only learns",
    )
    stage.run(3000)
    guide.pass_over()
    guide.claim(
        not stage.node("n3").leading and SLOT not in _applied(stage, "n3"),
        "n3 alone is no majority: three seconds later nothing is written. The cluster waits, and "
        "is right to",
    )
    guide.remark("The link to n1 is mended. n1 still has its disk: it is one of those that voted.")
    guide.hush("PreVote", "PreVoteReply", "again", "Accepted")
    stage.wires.mend()
    stage.run_until_applied(SLOT, "n1", "n3", limit_ms=9000)
    stage.run_while(lambda: stage.leader() == "", 9000)
    stage.run(5)
    guide.memory(SLOT)
    guide.claim(
        stage.value_at("n1", SLOT) == stage.value_at("n3", SLOT) == value
        and not stage.observer.conflicts,
        f"slot {SLOT} holds {show_value(value)} on both: what was acknowledged was kept",
    )
    guide.hush("PreVote", "PreVoteReply", "again", "Accepted", "CatchUp", "Decisions", "Answer")
    stage.run_while(lambda: stage.node("n2").role == "memory-lost", 9000)
    guide.pass_over()
    guide.claim(
        stage.node("n2").membership.epoch == 1,
        "n2 knows what it lost and may ask: a change of the membership, decided by n1 and n3, "
        "names its new identity. Ballots of that epoch are above all that it forgot",
    )


def _all_lost(guide: Guide, value: bytes) -> None:
    """The whole directory is gone, and it is started anew: as in the disaster."""
    guide.act("And if its whole data directory is gone?")
    guide.remark(
        "The disaster again, step by step: n2 loses all, and nothing in its new directory says "
        "that it was ever here. But paxosd asks before it votes."
    )
    stage, _ = _until_chosen(guide, quietly=True)
    _lose(stage, whole=True)
    stage.restart("n2")
    guide.hush("PreVote", "PreVoteReply", "CatchUp", "Decisions", "Answer", greetings=False)
    knows = stage.run_while(lambda: stage.node("n2").role != "memory-lost", 3000)
    guide.claim(knows, "n3 knew n2's earlier run, and says so: n2 knows that it lost its memory")
    guide.hush("PreVote", "PreVoteReply", "CatchUp", "Decisions", "Answer")
    stage.run(3000)
    guide.pass_over()
    guide.claim(
        not stage.observer.conflicts and not stage.node("n3").leading,
        "n3 finds no majority without it: three seconds later no second value is chosen",
    )
    guide.remark("The link to n1 is mended.")
    stage.wires.mend()
    stage.run_until_applied(SLOT, "n1", "n3", limit_ms=9000)
    guide.pass_over()
    guide.claim(
        stage.value_at("n1", SLOT) == stage.value_at("n3", SLOT) == value,
        "n1 and n3 go on with what was acknowledged; to n2 nobody listens any more",
    )


def _applied(stage: Stage, name: str) -> range:
    return range(1, stage.node(name).applied + 1)


def _lose(stage: Stage, *, whole: bool) -> None:
    """n1 is cut off, n3 is back; n2 loses power, and what it had on disk."""
    stage.wires.mend()
    stage.wires.cut(("n1",), ("n2", "n3"))
    stage.crash("n2")
    stage.wipe("n2", whole=whole)


def _until_chosen(guide: Guide, *, quietly: bool = False) -> tuple[Stage, int]:
    """n1 and n2 choose x=1 and the client gets its answer; n3 hears nothing of it."""
    guide.start_over()
    stage = guide.stage("n1", "n2", "n3", order="n1 n3 n2")
    session = guide.settle("n1", "client")["client"]
    if not quietly:
        guide.remark("n1 leads with ballot 1.n1. n3 is cut off for a moment.")
    stage.wires.cut(("n3",), ("n1", "n2"))
    token = stage.write("client", "n1", put(session, 1, "x", "1"))
    reply = stage.reply(token, 500)
    stage.run(2)
    if quietly:
        guide.pass_over()
    guide.require(isinstance(reply, WriteReply), "the client has the answer that x=1 is done")
    return stage, session


LESSON = Lesson(
    title="An acceptor that lost its memory",
    shows="why an acceptor that forgot what it accepted must not vote: first the disaster if it "
    "did, then what paxosd does instead.",
    moral="Any two majorities share a node, and all of Paxos hangs on what that node remembers. A "
    "node that forgot is worse than a node that is down: with one of three down the others go "
    "on; with one that forgot they can contradict an answer that a client has got. paxosd notes "
    "in its data directory that a log was begun and does not vote without it; one without any "
    "memory asks every peer whether it was ever here, before it votes. Only a change of the "
    "membership, which a majority of the others decides, lets it vote again.",
    source="Lamport, “Paxos Made Simple”, section 2.5; Chandra, Griesemer, Redstone, “Paxos Made "
    "Live” (2007), section 5.1",
    play=_play,
)
