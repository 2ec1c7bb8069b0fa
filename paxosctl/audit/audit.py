"""The audit itself: sources are found, logs read, recordings gone through, and each rule judged.

    sources ──► log pass ──► events of each node, run after run ──► finish ──► report

Memory: some 40 bytes for each slot and ballot, whatever the number of events; one block is open at
a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paxosctl.audit import kinds
from paxosctl.audit.acceptor_rules import (
    AcksAbovePromises,
    DurableFirst,
    LogKeeps,
    PromisesKept,
    Remembers,
    ReportsVotes,
    VotesAbovePromises,
)
from paxosctl.audit.client_rules import AcknowledgedChosen, ReadsConfirmed
from paxosctl.audit.facts import RANK_BITS, Facts, RunBlocks, in_run
from paxosctl.audit.findings import RuleReport
from paxosctl.audit.leader_rules import AdoptsHighest, BallotsOnce, LeadsByPromises
from paxosctl.audit.learner_rules import AppliedInOrder, ChosenByQuorum
from paxosctl.audit.log_pass import LogPass
from paxosctl.audit.members_rule import OneMemory
from paxosctl.audit.membership import Epochs, make
from paxosctl.audit.recorder_file import Block
from paxosctl.audit.rule import Rule
from paxosctl.audit.run import Handler, Memory, Run, follow
from paxosctl.audit.sources import DataDirectory, NothingToReadError, Sources, read_sources
from paxosctl.audit.value_rules import EqualStates, OneValuePerBallot, OneValuePerSlot

NODES_MAX = 62
Progress = Callable[[str, int, int], object]


def _no_progress(what: str, done: int, total: int) -> None:
    """Nobody waits."""


class SeveralClustersError(Exception):
    """The sources are of several clusters, and none was named."""


@dataclass(slots=True)
class Report:
    """What came out. ``nodes``: what was there of each; ``notes``: what could not be used."""

    cluster: str
    rules: list[RuleReport]
    nodes: list[dict[str, Any]]
    notes: list[str]

    @property
    def broken(self) -> int:
        """How many violations there are."""
        return sum(rule.broken for rule in self.rules)

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "cluster": self.cluster,
            "violations": self.broken,
            "rules": [rule.data() for rule in self.rules],
            "nodes": self.nodes,
            "notes": self.notes,
        }


def audit(
    paths: list[Path],
    *,
    cluster: str = "",
    voters: tuple[str, ...] = (),
    progress: Progress = _no_progress,
) -> Report:
    """Check everything in these places. ``voters``: those of epoch 0, where no source names them.
    ``progress``: what is done now, how much of it is done, and how much it is (0: not known).
    Raises NothingToReadError, SeveralClustersError, OSError."""
    sources = read_sources(paths)
    _choose_cluster(sources, cluster)
    names = _names(sources) | set(voters)
    while True:
        progress("reading the logs", 0, 0)
        auditor = _Auditor(sources, names, voters, progress)
        strangers = auditor.read_logs()
        if not strangers:
            break
        names |= strangers
    return auditor.judge()


def _choose_cluster(sources: Sources, cluster: str) -> None:
    found = sources.clusters
    if cluster and cluster not in found:
        raise NothingToReadError(f"nothing there is of cluster {cluster}: {', '.join(found)}")
    if not cluster and len(found) > 1:
        raise SeveralClustersError(f"these are of several clusters: {', '.join(found)}")
    wanted = cluster or (found[0] if found else "")
    sources.blocks = [block for block in sources.blocks if block.cluster == wanted]
    sources.directories = [each for each in sources.directories if each.cluster in ("", wanted)]


def _names(sources: Sources) -> set[str]:
    names = {block.node for block in sources.blocks}
    names |= {name for block in sources.blocks for name in block.names}
    for home in sources.directories:
        names.add(home.node)
        names |= set(home.genesis.voters) if home.genesis is not None else set()
    return names - {""}


class _Auditor:
    """One audit under way."""

    def __init__(
        self, sources: Sources, names: set[str], voters: tuple[str, ...], progress: Progress
    ) -> None:
        if len(names) > NODES_MAX:
            raise NothingToReadError(
                f"{len(names)} nodes are named there; {NODES_MAX} are the most"
            )
        self._sources = sources
        self._progress = progress
        self._events = sum(block.count for block in sources.blocks)
        self._done = 0
        self._troubles = list(sources.troubles)
        epochs = Epochs()
        for home in sources.directories:
            if home.genesis is not None:
                epochs.add(home.genesis)
        if voters and 0 not in epochs.known:
            epochs.add(make(0, 0, dict.fromkeys(voters, 0), 0, 0))
        self.facts = Facts(names, epochs)
        facts = self.facts
        phase1 = LeadsByPromises(facts)
        self._per_ballot = OneValuePerBallot(facts)
        self._per_slot = OneValuePerSlot(facts)
        self._promises = PromisesKept(facts)
        self._votes = VotesAbovePromises(facts)
        self.rules: list[Rule] = [
            self._per_slot,
            self._per_ballot,
            self._promises,
            self._votes,
            BallotsOnce(facts),
            phase1,
            AdoptsHighest(facts, phase1),
            ReportsVotes(facts),
            # Before the rule that counts votes: it asks whether a vote was known already.
            DurableFirst(facts),
            ChosenByQuorum(facts),
            OneMemory(facts),
            AppliedInOrder(facts),
            EqualStates(facts),
            LogKeeps(facts),
            Remembers(facts),
            AcknowledgedChosen(facts),
            AcksAbovePromises(facts),
            ReadsConfirmed(facts),
        ]

    def read_logs(self) -> set[str]:
        """Go through the logs; the names in their ballots that were not known."""
        rules = self._promises, self._votes, self._per_ballot, self._per_slot
        LogPass(self.facts, rules, self._troubles).read(self._sources.directories)
        return self.facts.strangers - {""}

    def judge(self) -> Report:
        """Go through the recordings, and judge."""
        runs = _runs_of(self._sources.blocks, self.facts)
        self._compare_directories(runs)
        memories: dict[tuple[int, int], Memory] = {}
        for blocks in runs:
            memory = memories.setdefault((blocks.rank, blocks.directory), Memory())
            self._follow(blocks, memory)
        for rule in self.rules:
            rule.finish()
            if not (rule.report.checked or rule.report.broken or rule.report.unchecked):
                rule.report.skip(f"the sources hold no {rule.unit}", 0)
        self._troubles += self.facts.epochs.contradictions
        return Report(
            next(iter(self._sources.clusters), ""),
            [rule.report for rule in self.rules],
            self._describe_nodes(runs),
            self._troubles + self._missing(runs),
        )

    def _compare_directories(self, runs: list[RunBlocks]) -> None:
        for run in runs:
            log = self.facts.logs.get(run.rank)
            if log is not None and log.home.directory and run.directory:
                log.complete = log.complete and run.directory == log.home.directory
        for log in self.facts.logs.values():
            log.complete = log.complete and log.usable

    # -- one run

    def _follow(self, blocks: RunBlocks, memory: Memory) -> None:
        run = Run(self.facts, blocks, memory, first=blocks.boot_count == 1)
        table = self._handlers()
        for rule in self.rules:
            rule.begin(run)
        expected = 1
        for block in blocks.blocks:
            self._done += block.count
            self._progress("checking events", self._done, self._events)
            if block.first_seq > expected:
                self._gap(run, expected, block)
            if block.first_seq < expected:
                continue  # the same block from another place
            run.directory = block.directory or run.directory
            try:
                self._feed(run, block, table)
            except (ValueError, OSError) as error:
                self._troubles.append(f"{block.path} cannot be read again: {error}")
                continue  # the block after it finds that events are missing
            expected = block.first_seq + block.count
        run.leave()
        for rule in self.rules:
            rule.end(run)

    def _gap(self, run: Run, expected: int, block: Block) -> None:
        run.whole = run.blocks.whole = False
        run.promised_at.clear()
        run.started = run.started and expected > 1
        run.durable_to_us = 1 << 63  # a group commit may be among what is missing
        run.syncs += 1
        name = f"{run.node}/{run.blocks.boot_count}"
        words = f"events {name}:{expected} to {block.first_seq - 1} are missing"
        if expected == 1:
            words += " (the ring had no room for them any more, or their file is not here)"
        self._troubles.append(words)
        for rule in self.rules:
            rule.gap(run)

    def _handlers(self) -> list[tuple[Handler, ...]]:
        table: list[list[Handler]] = [[] for _ in range(256 * 256)]
        for handlers in (*(rule.handlers() for rule in self.rules), follow()):
            for key, handler in handlers.items():
                table[key].append(handler)
        table[kinds.key(kinds.MEMBER, 1)].append(self._on_voter)
        table[kinds.key(kinds.MEMBER, 0)].append(self._on_learner)
        return [tuple(each) for each in table]

    def _feed(self, run: Run, block: Block, table: list[tuple[Handler, ...]]) -> None:
        rank = self.facts.rank
        places = [rank[name] for name in block.names]
        places += [0] * (256 - len(places))
        base_us = block.base_us
        where = in_run(run.number, block.first_seq - 1)
        for at_us, kind, peer, voter, code, slot, round_, x, y in block.rows():
            where += 1
            handlers = table[code << 8 | kind]
            if handlers:
                run.where = where
                ballot = round_ << RANK_BITS | places[voter]
                for handler in handlers:
                    handler(run, base_us + at_us, places[peer], ballot, slot, x, y)

    # -- members

    def _on_voter(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self.facts.epochs.gather(ballot >> RANK_BITS, slot, y, {self.facts.names[peer]: x})

    def _on_learner(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        self.facts.epochs.gather(ballot >> RANK_BITS, slot, y, {})

    # -- words

    def _describe_nodes(self, runs: list[RunBlocks]) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for run in runs:
            row = found.setdefault(run.node, _row(run.node))
            row["runs"] += 1
            row["events"] += sum(block.count for block in run.blocks)
        for log in self.facts.logs.values():
            row = found.setdefault(log.home.node, _row(log.home.node))
            row["log"] = True
            row["log_from"], row["log_commit"] = log.first, log.commit
        return [found[name] for name in sorted(found)]

    def _missing(self, runs: list[RunBlocks]) -> list[str]:
        """Nodes of whom something is not there."""
        members = {name for each in self.facts.epochs.known.values() for name in each.voters}
        recorded = {run.node for run in runs}
        words = []
        for name in sorted(members - recorded):
            words.append(f"the recording of {name} is missing")
        words += _missing_starts(runs)
        for name in sorted(members):
            log = self.facts.logs.get(self.facts.rank.get(name, -1))
            if log is None:
                words.append(f"the log of {name} is missing")
            elif not log.usable:
                words.append(
                    f"the log of {name} is damaged, or its memory is known to be lost: that "
                    "something is not in it proves nothing"
                )
            elif log.first > 1:
                words.append(f"the log of {name} is compacted below slot {log.first}")
        return words


def _row(node: str) -> dict[str, Any]:
    return {"node": node, "runs": 0, "events": 0, "log": False, "log_from": 0, "log_commit": 0}


def _missing_starts(runs: list[RunBlocks]) -> list[str]:
    """Starts of nodes of which nothing is there, though a later one was recorded."""
    starts: dict[str, set[int]] = {}
    for run in runs:
        starts.setdefault(run.node, set()).add(run.boot_count)
    words = []
    for node, found in sorted(starts.items()):
        missing = [number for number in range(1, max(found)) if number not in found]
        if missing:
            shown = ", ".join(map(str, missing[:5])) + (" …" if len(missing) > 5 else "")
            words.append(f"nothing is there of what {node} did after its start number {shown}")
    return words


def _runs_of(blocks: list[Block], facts: Facts) -> list[RunBlocks]:
    """The runs of all nodes, node by node, in the order of their starts."""
    table: dict[tuple[str, int, int], list[Block]] = {}
    for block in blocks:
        table.setdefault((block.node, block.boot_count, block.run_id), []).append(block)
    runs: list[RunBlocks] = []
    for (node, boot_count, run_id), found in sorted(table.items(), key=lambda item: item[0]):
        found.sort(key=lambda block: block.first_seq)
        run = RunBlocks(
            len(runs), node, facts.rank[node], boot_count, run_id, found[0].directory, found
        )
        facts.add_run(run)
        runs.append(run)
    return runs


__all__ = ["DataDirectory", "NothingToReadError", "Report", "SeveralClustersError", "audit"]
