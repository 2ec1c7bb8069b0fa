"""``paxosctl fault run``: a plan of faults against a live cluster, with clients and checkers.

    look at the cluster ─► clients begin ─► faults come and go ─► heal ─► a write succeeds
    ─► clients end ─► unknown outcomes are asked for ─► the history is judged ─► report

The cluster is healed whatever happens, also on Ctrl-C. The keys of a run have a prefix of their
own, and are removed at its end.
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from paxosctl.cli.survey import NodeView, survey
from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError, RefusedError
from paxosctl.faultrun.clients import SETTLE_S, Workers
from paxosctl.faultrun.plan import FaultScript, Workload
from paxosctl.faultrun.timeline import Incident, Say, Timeline, rules_present
from paxosd.check.history import History
from paxosd.check.judge import Judgement, judge
from paxosd.check.lease_term import LEASE_PROCESS
from paxosd.check.locks import check_locks
from paxosd.check.verdict import Verdict
from paxosd.core.cluster_settings import LEVEL_COORDINATION
from paxosd.core.effects import FORBIDDEN

WRITE_S = 30.0
"""After the healing a write has to succeed within this."""
WORTH_A_WORD_S = 0.5
"""What the healing waits for longer is named in the report."""


class NotReadyError(Exception):
    """The cluster is not in a state to run a plan against; the message says what to do."""


@dataclass(slots=True)
class Report:
    """What a run found. Times that end in ``_s`` are places in the run, since its start.

    ``judgement``: None if the history was not judged; ``locks``: if no client held any.
    ``problems``: what else went wrong, a sentence each. ``waited_for``: what the healing had to
    wait for, with how long. ``gap_ms``: the longest time without an acknowledged write.
    """

    history: History
    happened: list[Incident]
    nodes: list[str]
    ran_ms: int = 0
    heal_ms: int = 0
    waited_for: list[str] = field(default_factory=list)
    gap_ms: int = 0
    gap_at_s: float = 0.0
    acked: int = 0
    settled: int = 0
    interrupted: bool = False
    judgement: Judgement | None = None
    locks: Verdict | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything was checked and nothing was wrong."""
        verdicts = self.verdicts().values()
        return not self.problems and all(each is not None and each.ok for each in verdicts)

    def verdicts(self) -> dict[str, Verdict | None]:
        """What was checked → the verdict; None: it could not be checked."""
        judgement = self.judgement
        found = {
            "linearizable": judgement.linearizable if judgement is not None else None,
            "exactly once": judgement.exactly_once if judgement is not None else None,
        }
        return found | ({"locks": self.locks} if self.locks is not None else {})

    def outcomes(self) -> dict[str, dict[str, int]]:
        """Kind of operation → outcome → how many; without the ends of leases, which nobody asks
        for."""
        asked = [each for each in self.history if not each.process.startswith(LEASE_PROCESS)]
        counts = Counter((each.kind, each.outcome) for each in asked)
        return {
            kind: {outcome: counts[kind, outcome] for outcome in ("ok", "failed", "unknown")}
            for kind in sorted({each.kind for each in asked})
        }


def execute(client: Client, script: FaultScript, say: Say) -> Report:
    """Run the plan. Raises NotReadyError, RefusedError (faults are off), PlanError (it names a
    node that there is not), and ClientError if the cluster cannot be reached at all."""
    views = _look(client, script)
    prefix = b"faultrun/%s/" % secrets.token_hex(4).encode()
    endpoints = [view.endpoint for view in views]
    timeline = Timeline(client, script, say)
    workload = _workload(script, views, lambda words: say(0.0, words))
    workers = Workers(endpoints, workload, script.seed, prefix, client.credentials)
    report = Report(workers.history, timeline.happened, [view.name for view in views])
    try:
        workers.start()
        timeline.run(workers.raise_error)
    except KeyboardInterrupt:
        report.interrupted = True
        say(timeline.now_s, "interrupted")
    except BaseException:
        workers.over.set()
        timeline.heal()
        raise
    report.ran_ms = int(timeline.now_s * 1000)
    say(timeline.now_s, "healing")
    began_s = time.monotonic() - timeline.now_s
    report.problems += _heal(client, timeline, prefix, say)
    report.waited_for = list(timeline.waited_for)
    end_s = time.monotonic()
    report.heal_ms = int((end_s - began_s) * 1000) - report.ran_ms
    workers.stop()
    _measure(report, workers, began_s, end_s)
    _judge(client, report, workers, say, lambda: timeline.now_s)
    return report


def _look(client: Client, script: FaultScript) -> list[NodeView]:
    """The nodes, all of them up, with faults allowed and none in force."""
    views = survey(client)
    for view in views:
        if view.status is not None and not view.status.faults_enabled:
            words = f"{view.name}: faults are off; [faults] enabled = true turns them on"
            raise RefusedError(FORBIDDEN, words)
    down = [view.name for view in views if view.status is None]
    if down:
        raise NotReadyError(f"{', '.join(down)} cannot be reached; start every node first")
    script.check_nodes([view.name for view in views])
    present = rules_present(client, views)
    if present:
        names = ", ".join(f"{node}: {' '.join(rules)}" for node, rules in present.items())
        raise NotReadyError(f"there are faults already ({names}); paxosctl fault clear ends them")
    return views


def _workload(script: FaultScript, views: list[NodeView], say: Callable[[str], None]) -> Workload:
    """That of the plan, without what the cluster does not understand."""
    workload = script.workload
    level = min(view.status.feature_level for view in views if view.status is not None)
    if level >= LEVEL_COORDINATION or not (workload.transactors or workload.lockers):
        return workload
    say(f"no transactions, leases and locks: the cluster is at feature level {level}")
    return replace(workload, transactors=0, lockers=0)


def _heal(client: Client, timeline: Timeline, prefix: bytes, say: Say) -> list[str]:
    """Heal, then write until it succeeds; what failed."""
    problems = []
    for words in timeline.heal():
        say(timeline.now_s, words)
    timeout_s, client.timeout_s = client.timeout_s, WRITE_S
    try:
        asked_s = time.monotonic()
        client.put(prefix + b"healed", b"")
        took_s = time.monotonic() - asked_s
        if took_s >= WORTH_A_WORD_S:
            timeline.waited_for.append(f"a leader and a write, {took_s:.1f} s")
        say(timeline.now_s, "a write succeeds")
    except ClientError as error:
        problems.append(f"no write succeeds {WRITE_S:g} s after the healing: {error}")
    finally:
        client.timeout_s = timeout_s
    return problems


def _measure(report: Report, workers: Workers, began_s: float, end_s: float) -> None:
    acked_s = sorted(each for each in workers.acked_s if each <= end_s)
    report.acked = len(workers.acked_s)
    gaps = [(after - before, before) for before, after in pairwise([began_s, *acked_s, end_s])]
    gap_s, at_s = max(gaps)
    report.gap_ms = int(gap_s * 1000)
    report.gap_at_s = round(at_s - began_s, 2)


def _judge(
    client: Client, report: Report, workers: Workers, say: Say, now_s: Callable[[], float]
) -> None:
    """Ask for unknown outcomes, read the final state, and judge the history."""
    timeout_s, client.timeout_s = client.timeout_s, SETTLE_S
    final = None
    try:
        workers.settle(client)
        final = workers.final(client)
        client.delete_prefix(workers.prefix)
    except ClientError as error:
        report.problems.append(f"the final state could not be read: {error}")
    finally:
        client.timeout_s = timeout_s
    report.settled = workers.settled
    say(now_s(), f"checking {len(report.history)} operations")
    report.judgement = judge(report.history, final)
    if workers.workload.lockers:
        report.locks = check_locks(workers.locks)
    report.problems += workers.breaches()
    if not report.acked and not report.interrupted:
        report.problems.append("not one write was acknowledged: nothing was tested")
