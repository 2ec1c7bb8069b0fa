"""Two proposers that stop each other: no progress, no harm; and what ends it."""

from paxosd.core.effects import WriteReply
from paxosd.core.node import Node
from paxosd.core.types import Ballot
from paxosd.sim.teach.guide import Guide, Lesson, put
from paxosd.sim.teach.stage import Stage
from paxosd.sim.teach.values import show_value
from paxosd.sim.teach.wires import Rule

ROUNDS = ("n3", "n1", "n3", "n1")
OTHER = {"n1": "n3", "n3": "n1"}
CLIENTS = {"n1": ("A", "blue"), "n3": ("B", "red")}
SLOT = 3


def _play(guide: Guide) -> None:
    stage = guide.stage("n1", "n2", "n3", order="n1 n3 n2")
    sessions = guide.settle("n1", "A", "B")

    guide.act("The duel")
    guide.remark(
        "n1 leads with 1.n1. From now on n1 and n3 do not hear each other; n2 hears both. Worse, "
        "all heartbeats are lost, so that n2 never knows that anybody leads; and an accept takes "
        "so long that the other proposer has lost patience when it arrives."
    )
    stage.wires.cut(("n1",), ("n3",))
    troubles = [stage.wires.lose("Heartbeat", "HeartbeatAck"), stage.wires.hold("Accept")]
    guide.hush("PreVote", "PreVoteReply", "Answer", "again")
    ballots = _duel(guide, stage, sessions)
    guide.memory(SLOT)
    shown = ", ".join(ballot.shown() for ballot in ballots)
    guide.claim(ballots == sorted(set(ballots)), f"ballots only rise: {shown}")
    guide.claim(guide.sent("Nack") >= len(ROUNDS), "n2 refused every accept that arrived")
    guide.claim(
        SLOT not in stage.observer.chosen, "no value is chosen: no progress, but no harm either"
    )

    guide.act("What ends it")
    _end(guide, stage, troubles)
    _repeat(guide, stage, sessions)


def _duel(guide: Guide, stage: Stage, sessions: dict[str, int]) -> list[Ballot]:
    """Each proposer in turn leads, proposes, and is stopped by the other's next ballot."""
    ballots = [stage.node("n1").promised]
    _write(stage, "n1", sessions)
    for turn, name in enumerate(ROUNDS):
        node = stage.node(name)
        guide.require(_until_leads(stage, node), f"{name} leads")
        ballots.append(node.promised)
        stage.wires.release(OTHER[name])  # its accepts arrive at last, and are refused
        stage.run(5)
        guide.require(not stage.node(OTHER[name]).leading, f"{OTHER[name]} gave up")
        if turn == 0:
            _write(stage, name, sessions)
            stage.run(5)
    return ballots


def _until_leads(stage: Stage, node: Node) -> bool:
    return stage.run_while(lambda: not node.leading, 5000)


def _end(guide: Guide, stage: Stage, troubles: list[Rule]) -> None:
    """Heartbeats and accepts are in time again: one of the two is the leader, and stays it."""
    winner = stage.leader()
    loser = OTHER[winner]
    ballot = stage.node(winner).promised
    guide.remark(
        "Heartbeats and accepts arrive in time again, though n1 and n3 still do not hear each "
        f"other. At this moment {winner} leads."
    )
    for rule in troubles:
        stage.wires.end(rule)
    stage.wires.release()
    stage.run_until_applied(SLOT, loser, limit_ms=5000)
    guide.hush("Answer")
    asked = guide.sent("PreVote")
    stage.run_while(lambda: guide.sent("PreVote") == asked, 5000)
    stage.run(5)
    guide.show()
    stage.run(3000)
    guide.pass_over()
    guide.claim(
        stage.leader() == winner and stage.node(winner).promised == ballot,
        f"three seconds later {winner} still leads with {ballot.shown()}: {loser} asked n2 "
        f"{guide.sent('PreVote') - asked} times, and n2 said no, for it hears a leader",
    )
    guide.memory(SLOT)
    value = stage.observer.chosen[SLOT][1]
    guide.claim(
        stage.values_at(SLOT) == {value},
        f"slot {SLOT} holds one value on all nodes: {show_value(value)}",
    )


def _repeat(guide: Guide, stage: Stage, sessions: dict[str, int]) -> None:
    """The client whose value lost sends it again."""
    chosen = show_value(stage.observer.chosen[SLOT][1])
    late = next(name for name, (_, colour) in CLIENTS.items() if colour not in chosen)
    guide.remark(
        f"{CLIENTS[late][0]} has the answer that the outcome is unknown. It repeats the "
        "same request, now to the leader."
    )
    guide.hush("Accept", "Accepted", "applied")
    token = _write(stage, late, sessions, stage.leader())
    reply = stage.reply(token)
    guide.claim(isinstance(reply, WriteReply) and reply.slot == SLOT + 1, "its value has slot 4")


def _write(stage: Stage, name: str, sessions: dict[str, int], to: str = "") -> int:
    client, colour = CLIENTS[name]
    return stage.write(client, to or name, put(sessions[client], 1, "x", colour))


LESSON = Lesson(
    title="Duelling proposers",
    shows="two proposers that each win phase 1 and then stop each other before phase 2 is "
    "done, and what keeps real clusters from doing this for ever.",
    moral="Paxos is safe with any number of proposers, but it moves only with one: that is what "
    "a leader is for. No algorithm without timing can promise to find one (Fischer, Lynch, "
    "Paterson), so paxosd draws random pauses, and a node that hears a leader refuses every "
    "pre-vote.",
    source="Lamport, “Paxos Made Simple”, section 2.4",
    play=_play,
)
