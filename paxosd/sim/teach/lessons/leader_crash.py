"""The leader dies between accept and learn: the value is chosen and nobody knows."""

from paxosd.core.effects import WriteReply
from paxosd.core.types import Ballot
from paxosd.sim.teach.guide import Guide, Lesson, put


def _play(guide: Guide) -> None:
    stage = guide.stage("n1", "n2", "n3")
    session = guide.settle("n1", "client")["client"]

    guide.act("Accepted by a majority, learned by nobody")
    guide.remark(
        "n1 leads with ballot 1.n1. The network now loses the accept for n3, and every vote on "
        "its way."
    )
    stage.wires.lose("Accept", to="n3")
    stage.wires.lose("Accepted")
    request = put(session, 1, "x", "1")
    token = stage.write("client", "n1", request)
    guide.require(stage.run_while(lambda: 2 not in stage.observer.chosen, 100), "slot 2 was chosen")
    stage.crash("n1")
    stage.run(5)
    guide.memory(2)
    guide.claim(stage.value_at("n2", 2) is None, "no node that is up knows that slot 2 is chosen")
    guide.claim(token not in stage.answers, "the client has no answer: the outcome is unknown")
    value = stage.observer.chosen[2][1]

    guide.act("A new leader finds the value and must keep it")
    guide.remark("The network works again. n1 stays down. n2 and n3 hear no leader any more.")
    stage.wires.mend()
    guide.hush("PreVote", "PreVoteReply")
    stage.run_until_applied(2, "n2", "n3")
    guide.hush()
    guide.claim(stage.node("n2").promised == Ballot(2, "n2"), "n2 leads with ballot 2.n2")
    guide.claim(
        stage.value_at("n2", 2) == stage.value_at("n3", 2) == value,
        "slot 2 holds what the dead leader had got chosen, and nothing else",
    )

    guide.act("The client asks again, the old leader comes back")
    guide.remark("The client never got an answer. It sends the same request, same number, to n2.")
    again = stage.write("client", "n2", request)
    reply = stage.reply(again)
    guide.claim(
        isinstance(reply, WriteReply) and reply.results == [1], "the answer says revision 1"
    )
    guide.claim(
        stage.members["n2"].life.machine.revision == 1,
        "the store is at revision 1: the write was applied once, though it was sent twice",
    )
    stage.restart("n1")
    guide.hush("Accepted", "Accept")
    stage.run_while(lambda: len({stage.node(name).applied for name in stage.names}) > 1)
    stage.run(5)
    guide.memory(2)
    guide.claim(stage.values_at(2) == {value}, "all three nodes agree again")


LESSON = Lesson(
    title="The leader dies between accept and learn",
    shows="a write that a majority has on disk while no living node knows that it is chosen, and "
    "how the next leader finds it by itself.",
    moral="Chosen is a fact about a majority of disks, not about what anybody knows. The next "
    "leader needs the promises of a majority; one of them comes from a node that accepted the "
    "value; rule P2c makes the leader propose that value again. The client may repeat its "
    "request safely, for it carries session and number.",
    source="Lamport, “Paxos Made Simple”, sections 2.2 (P2c), 2.3 and 3",
    play=_play,
)
