"""The audit of a campaign on real processes: unknown outcomes settled, the final state read, all
nodes compared, and the history judged.

    audit(daemons, workers)  →  Audit: counts, settled, state, judgement
"""

from dataclasses import dataclass

from paxosd.check.judge import Judgement, judge

END_LIMIT_S = 60.0


@dataclass(frozen=True)
class Audit:
    """What clients and nodes ended with. ``counts``: outcome → operations; ``settled``: unknown
    outcomes that were found out by asking; ``state``: the checksum that all nodes agree on, or
    ""."""

    counts: dict
    settled: int
    state: str
    judgement: Judgement

    @property
    def ok(self):
        return bool(self.judgement.ok and self.state)

    def lines(self):
        """For people."""
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items())
        total = sum(self.counts.values())
        yield f"operations: {total}: {outcomes}; {self.settled} settled by asking the outcome"
        yield from self.judgement.lines()
        yield f"state of all nodes: {self.state or 'NOT EQUAL'}"


def audit(daemons, workers, *nodes, history=None, alone=True):
    """Audit a campaign whose clients have ended and whose nodes run. ``nodes``: those to ask; none:
    all. ``history``: where the history is kept, as JSON lines. ``alone``: nobody else wrote, so
    that each revision is of an operation."""
    with daemons.client(*nodes, timeout_s=END_LIMIT_S) as client:
        workers.settle(client)
        final = workers.final(client)
    daemons.wait_equal(END_LIMIT_S)
    states = set(daemons.checksums(END_LIMIT_S).values())
    if history is not None:
        workers.history.save(history)
    return Audit(
        counts=workers.history.counts(),
        settled=workers.settled,
        state=states.pop() if len(states) == 1 else "",
        judgement=judge(workers.history, final, alone=alone),
    )
