"""A promise is lost: a candidate without a majority of promises must not lead."""

from paxosd.core.effects import WriteReply
from paxosd.core.types import Ballot
from paxosd.sim.teach.guide import Guide, Lesson, put


def _play(guide: Guide) -> None:
    stage = guide.stage("n1", "n2", "n3", order="n3 n1 n2")
    session = guide.settle("n3", "client")["client"]

    guide.act("A write is chosen and acknowledged; n1 knows nothing of it")
    guide.remark(
        "n3 leads with ballot 1.n3. The link from n3 to n1 fails, and n3's votes are lost."
    )
    lost = [stage.wires.lose("Accept", to="n1"), stage.wires.lose("Accepted", source="n3")]
    token = stage.write("client", "n3", put(session, 1, "x", "1"))
    reply = stage.reply(token, 100)
    guide.claim(isinstance(reply, WriteReply), "the client has the answer that x=1 is done")
    stage.crash("n3")
    for rule in lost:
        stage.wires.end(rule)
    value = stage.observer.chosen[2][1]

    guide.act("n1 asks for promises, and the answer is lost")
    lost = [stage.wires.lose("Promise", source="n2")]
    ballot = Ballot(2, "n1")
    stage.run_while(lambda: not lost[0].struck, 5000)
    guide.memory(2)
    guide.claim(
        stage.observer.promised_at("n2") == ballot, "n2 did promise 2.n1, and its disk remembers"
    )
    guide.claim(not stage.node("n1").leading, "n1 does not lead: one promise, its own, of three")
    guide.claim(
        stage.observer.accepted_at("n1", 2) is None,
        "n1's own memory says nothing of slot 2: leading now, it would put another value there, "
        "over one that was acknowledged to the client",
    )
    guide.remark("n2 loses power, too, and comes back. The network is whole from here on.")
    stage.crash("n2")
    stage.wires.mend()
    stage.run(2)
    stage.restart("n2", patient=True)

    guide.act("n1 asks again")
    stage.run_until_applied(2, "n1", "n2", limit_ms=5000)
    stage.run(2)
    guide.memory(2)
    guide.claim(
        stage.node("n1").leading and stage.node("n1").promised == ballot,
        "n1 leads with the same ballot 2.n1: to ask again costs nothing",
    )
    guide.claim(
        stage.value_at("n1", 2) == stage.value_at("n2", 2) == value,
        "slot 2 still holds what was acknowledged to the client",
    )


LESSON = Lesson(
    title="A promise is lost",
    shows="why a candidate waits for the promises of a majority, and that asking again is "
    "harmless, even if the acceptor lost power in between.",
    moral="A promise is two things: it stops older ballots, and it reports what may be chosen. "
    "Only the promises of a majority report everything. A message lost costs time, never "
    "safety; a promise repeated is the same promise, for it was on disk before it was sent.",
    source="Lamport, “Paxos Made Simple”, sections 2.2 (P2c, phase 1) and 2.5",
    play=_play,
)
