"""The kinds of runs that put safeguards under pressure: random trouble, some directed scenarios.

A directed scenario holds one fault for most of the run, and asks for more than the checkers do:
that writes go on meanwhile, or that the leader stays. The unmutated code passes all of them.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import RunReport, run_seed
from paxosd.sim.cluster.records import RunRecords
from paxosd.sim.nemesis.schedule import LEADER, Directive, Schedule
from tests.bench.lock_seeds import BRIEF_LOCKS, LOCKS, draw_lock_schedule
from tests.bench.mutation_crowd import crowded, draw_crowd_schedule
from tests.bench.mutation_gaps import GapProfile
from tests.bench.mutation_scenes import SceneProfile
from tests.bench.processor_limit import RUN_CPU_S_MAX, processor_limit

GAP_MS_MAX = 500.0
"""As long as no leader is lost: less than an election takes."""


@dataclass(frozen=True, slots=True)
class Profile:
    """``schedule``: seed → what the nemesis does; None: the seed draws it. ``expect``: what a
    run must show besides; "" if it does."""

    name: str
    options: RunOptions
    schedule: Callable[[random.Random], Schedule] | None = None
    expect: Callable[[RunReport], str] = lambda report: ""

    def run(self, seed: int, records: RunRecords | None = None) -> RunReport:
        """One run; an exception and a hang are reported as violations as well. ``records``: see
        ``run_seed``; of a run that hangs there are none."""
        schedule = None
        if self.schedule is not None:
            schedule = self.schedule(random.Random(f"{self.name}/{seed}"))
        try:
            with processor_limit(RUN_CPU_S_MAX):
                report = run_seed(seed, self.options, schedule=schedule, records=records)
        except TimeoutError as hang:
            return RunReport(seed=seed, ok=False, violation=f"hang: {hang}")
        unmet = self.expect(report) if report.ok else ""
        return replace(report, ok=False, violation=unmet) if unmet else report


# -- directed scenarios

# At feature level 0 unless a profile names another one, as when the seeds were found.
NAMES = ("n1", "n2", "n3")
# Watchers and stale reads are in the runs of their own safeguards alone, so that the other seeds
# go on drawing the same.
_PLAIN = RunOptions(
    level=0, nodes=3, watchers=0, stale_readers=0, revision_readers=0, holders=0, at_once=False
)
_LONG = replace(_PLAIN, duration_ms=20_000, faults=frozenset(), clients=4, operations=400)
_BUSY = replace(_PLAIN, duration_ms=12_000, faults=frozenset(), clients=8, operations=600, keys=2)
_QUIET = replace(_PLAIN, duration_ms=12_000, faults=frozenset(), clients=3, operations=70, keys=2)
_CHANGING = replace(_PLAIN, duration_ms=9_000, clients=6, operations=150, keys=3, members=True)
_BUSY_CHANGING = replace(_LONG, duration_ms=9_500, clients=10, operations=900, members=True)
_ROLLED = replace(_BUSY, duration_ms=16_000, operations=800)
_GROWN = replace(_PLAIN, nodes=1, duration_ms=16_000, faults=frozenset(), clients=4, operations=400,
                 keys=2, members=True)  # fmt: skip
_STORMY = replace(_PLAIN, duration_ms=12_000, clients=6, operations=200, keys=3)
_WATCHED = replace(_STORMY, keys=8, watchers=3)


def _kinds(*names: str) -> RunOptions:
    """Trouble of these kinds alone; up to three kinds are in every run."""
    return replace(
        _PLAIN, duration_ms=8_000, faults=frozenset(names), clients=6, operations=300, keys=3
    )


def _rule(at_ms: float, kind: str, for_ms: float, node: str = "", **args: object) -> Directive:
    name = f"{kind}-{at_ms:.0f}-{len(args)}"
    rule = {"name": name, "kind": kind, "for_ms": int(for_ms), **args}
    return Directive(int(at_ms), "fault_add", node, rule)


def _no_votes_heard(rng: random.Random) -> Schedule:
    """Votes are published to nobody: a PUB connection that is up and delivers nothing."""
    return Schedule([_rule(2000, "drop", 16_000, message_kinds=["accepted"])])


def _held_back(rng: random.Random) -> Schedule:
    """Every message between nodes arrives late, but it does arrive."""
    return Schedule([_rule(2000, "delay", 15_000, ms=rng.choice((10, 20, 30)))])


def _deaf(rng: random.Random) -> Schedule:
    """The leader is heard by all and hears nobody."""
    return Schedule([_rule(2000, "partition", 15_000, to=[LEADER], oneway=True)])


def _chain(rng: random.Random) -> Schedule:
    """One link is cut, everything else is up: two of them talk to the third alone."""
    one, other = rng.sample(NAMES, 2)
    return Schedule([_rule(2000, "partition", 16_000, **{"from": [one], "to": [other]})])


def _late_acks(rng: random.Random) -> Schedule:
    """The leader is cut off, while old acknowledgements go on reaching it."""
    directives = []
    for start_ms in (1000, 6500):
        at_ms = start_ms + rng.uniform(0, 500)
        directives += [
            _rule(at_ms, "duplicate", 4500, LEADER, ms=2500, message_kinds=["heartbeat_ack"]),
            _rule(at_ms + 1500, "isolate", 3000, on=[LEADER]),
        ]
    return Schedule(directives)


def _late_accepts(rng: random.Random) -> Schedule:
    """Proposals arrive when another leader has been promised."""
    directives = []
    for start_ms in (1000, 6500):
        at_ms = start_ms + rng.uniform(0, 500)
        delay_ms = rng.choice((800, 1500, 2500))
        directives += [
            _rule(at_ms, "delay", 4000, ms=delay_ms, probability=0.6, message_kinds=["accept"]),
            _rule(at_ms + rng.uniform(500, 1000), "isolate", 3000, on=[LEADER]),
        ]
    return Schedule(directives)


def _late_promises(rng: random.Random) -> Schedule:
    """Promises come late, so that a campaign has those of the campaign before; leaders change."""
    directives = [
        _rule(0, "delay", 12_000, ms=rng.choice((600, 1200, 2500)), probability=0.7,
              message_kinds=["promise"])
    ]  # fmt: skip
    for start_ms in range(800, 11_000, 2600):
        at_ms = start_ms + rng.uniform(0, 400)
        directives.append(_rule(at_ms, "isolate", rng.uniform(800, 2400), on=[LEADER]))
    return Schedule(directives)


def _late_answers(rng: random.Random) -> Schedule:
    """Of the leader's answers to a follower's questions most are lost, and all come again and
    again, late: while another question waits for its own. And the follower is far behind."""
    name = rng.choice(NAMES)
    again = [
        _rule(at_ms, "duplicate", 11_000, name, ms=900, message_kinds=["read_index_reply"])
        for at_ms in (500, 501, 502)
    ]
    return Schedule([
        *again,
        _rule(500, "drop", 11_000, name, probability=0.6, message_kinds=["read_index_reply"]),
        _rule(500, "delay", 11_000, name, ms=rng.choice((300, 700)),
              message_kinds=["accept", "accepted", "decisions", "votes"]),
    ])  # fmt: skip


def _short_reigns(rng: random.Random) -> Schedule:
    """A leader is cut off with a proposal that nobody has; the next one has something chosen in
    that slot and dies before others know; the first one comes back at that moment."""
    directives = [
        _rule(0, "drop", 12_000, message_kinds=["accepted"], probability=0.7),
        _rule(0, "drop", 12_000, message_kinds=["heartbeat"], probability=0.6),
    ]
    for start_ms in (1000, 4700, 8400):
        at_ms = start_ms + rng.uniform(0, 500)
        cut_ms = rng.uniform(700, 1800)
        directives += [
            _rule(at_ms, "isolate", cut_ms, on=[LEADER]),
            Directive(int(at_ms + cut_ms), "crash", LEADER, {"power": True}),
            Directive(int(at_ms + cut_ms + 1200), "restart"),
        ]
    return Schedule(directives)


def _echoes(rng: random.Random) -> Schedule:
    """Clients' requests come again long after; meanwhile all nodes were down for a while."""
    directives = [Directive(0, "net", "", {"replay": 0.5})]
    for start_ms in range(1000, 11_000, 3300):
        at_ms = start_ms + rng.uniform(0, 500)
        directives.append(Directive(int(at_ms), "crash", "", {"power": False}))
        directives.append(Directive(int(at_ms + rng.uniform(1500, 2300)), "restart"))
    return Schedule(directives)


def _wrong_clocks(rng: random.Random) -> Schedule:
    """The wall clock of the leader shows any time."""
    return Schedule([
        Directive(at_ms, "clock_set", LEADER, {"wall_ms": rng.randrange(1 << 42)})
        for at_ms in range(2000, 11_000, 1500)
    ])  # fmt: skip


def _old_batches(rng: random.Random) -> Schedule:
    """A leader that has led for many seconds proposes what nobody else gets; the next leader has
    something chosen before that, and dies soon; a third one adopts the old batches behind it."""
    at_ms = rng.uniform(7500, 9000)
    cut_ms = rng.uniform(600, 1500)
    return Schedule([
        _rule(at_ms - rng.uniform(20, 200), "drop", 400, LEADER, message_kinds=["accept"]),
        _rule(at_ms, "isolate", cut_ms, on=[LEADER]),
        Directive(int(at_ms + cut_ms), "crash", LEADER, {"power": True}),
        Directive(int(at_ms + cut_ms + 1500), "restart"),
    ])  # fmt: skip


def _lost_ballots(rng: random.Random) -> Schedule:
    """A node with a slow disk stands for election just before it loses its power. The node that
    promised goes down with it; the third has heard nothing of that."""
    lost, other, third = rng.sample(NAMES, 3)
    at_ms = int(4000 + rng.uniform(0, 500))
    cut_ms = int(rng.uniform(700, 3000))
    return Schedule([
        _rule(at_ms - 50, "disk-slow", cut_ms + 50, on=[lost], ms=1500),
        _rule(at_ms, "isolate", cut_ms, on=[third]),
        Directive(at_ms + cut_ms, "crash", lost, {"power": True}),
        Directive(at_ms + cut_ms, "crash", other, {"power": False}),
        Directive(at_ms + cut_ms + 200, "restart", lost),
        Directive(at_ms + cut_ms + 5000, "restart", other),
    ])  # fmt: skip


def _wiped(rng: random.Random) -> Schedule:
    """Two nodes choose values that the third does not have. One of them loses its memory and comes
    back to the third while the other is down."""
    wiped, other, third = rng.sample(NAMES, 3)
    at_ms = int(4500 + rng.uniform(0, 500))
    return Schedule([
        _rule(1500, "isolate", at_ms - 1500, on=[third]),
        Directive(at_ms, "wipe", wiped),
        Directive(at_ms, "crash", other, {"power": False}),
        Directive(at_ms + 200, "restart", wiped),
        Directive(at_ms + 5000, "restart", other),
    ])  # fmt: skip


def _wiped_voter(rng: random.Random) -> Schedule:
    """As ``wiped``, but the node votes by its directory's name: it was let back in once before."""
    wiped, other, third = rng.sample(NAMES, 3)
    at_ms = int(6500 + rng.uniform(0, 500))
    return Schedule([
        Directive(1000, "wipe", wiped),
        Directive(1200, "restart", wiped),
        *(Directive(ms, "rejoin", wiped) for ms in (2000, 2500, 3000)),
        _rule(at_ms - 1500, "isolate", 1500, on=[third]),
        Directive(at_ms, "wipe", wiped),
        Directive(at_ms, "crash", other, {"power": False}),
        Directive(at_ms + 200, "restart", wiped),
        Directive(at_ms + 4500, "restart", other),
    ])  # fmt: skip


def _swapped_unseen(rng: random.Random) -> Schedule:
    """One voter replaces another. Only one node that stays, and the one that goes, know of it; then
    the former is down for long. The others need the vote of the node that was removed."""
    knows, away, gone = rng.sample(NAMES, 3)
    at_ms = int(4000 + rng.uniform(0, 500))
    lot = 7 * NAMES.index(gone) + rng.randrange(7)
    return Schedule([
        Directive(1500, "member", "", {"wish": "add", "lot": lot}),
        _rule(at_ms, "isolate", 5000, on=[away, "n4", "n5"]),
        Directive(at_ms + 20, "member", "", {"wish": "swap", "lot": lot}),
        Directive(at_ms + 4600, "crash", knows, {"power": False}),
    ])  # fmt: skip


def _calm_changes(rng: random.Random) -> Schedule:
    """Members come and get votes, the leader stays, and nothing is wrong."""
    wishes = ("add", "promote", "add", "promote")
    return Schedule([
        Directive(1500 + 1800 * place, "member", "", {"wish": wish, "lot": rng.randrange(1 << 16)})
        for place, wish in enumerate(wishes)
    ])  # fmt: skip


def _laggards(rng: random.Random) -> Schedule:
    """One node after another misses much. As the others keep little log, it needs a snapshot, and
    hears what is chosen above the snapshot before the snapshot is there."""
    directives = []
    for start_ms in range(1000, 10_000, 2400):
        cut_ms = rng.uniform(1000, 1900)
        directives.append(_rule(start_ms, "isolate", cut_ms, on=[rng.choice(NAMES)]))
    return Schedule(directives)


def _lost_tail(rng: random.Random) -> Schedule:
    """A node lost slots that were chosen, and nothing shows it that. It leads, or a node that never
    had them, while no client is heard, until the third is heard. Then nothing may be stuck."""
    lost, behind, knows = rng.sample(NAMES, 3)
    down_ms = int(6000 + rng.uniform(0, 1000))
    return Schedule([
        Directive(2500, "crash", behind, {"power": False}),
        Directive(down_ms - 500, "client_cut"),
        _rule(down_ms, "isolate", 3500, on=[knows]),
        Directive(down_ms, "tail", lost,
                  {"how": "zero", "lot": 4 * rng.randrange(1 << 20) + 1, "witness": False}),
        Directive(down_ms + 100, "restart", lost),
        Directive(down_ms + 100, "restart", behind),
    ])  # fmt: skip


def _cut_tail(rng: random.Random) -> Schedule:
    """A log file loses its end, and the note of what was synced is gone, too."""
    name = rng.choice(NAMES)
    at_ms = int(5000 + rng.uniform(0, 2000))
    args = {"how": "cut", "lot": rng.randrange(1 << 20), "witness": False}
    return Schedule([Directive(at_ms, "tail", name, args), Directive(at_ms + 300, "restart", name)])


def _mute(rng: random.Random) -> Schedule:
    """The leader's proposals reach nobody, and all else that it says does."""
    return Schedule([_rule(3000, "drop", 56_000, message_kinds=["accept"], **{"from": [LEADER]})])


_BUT_GREETINGS = ["accept", "accepted", "heartbeat", "decisions", "votes", "prepare", "prevote"]
_LESSONS = ["hello", "welcome", "decisions", "snapshot_offer", "snapshot_chunk", "genesis"]
_BACK_AT_MS = 9000


def _rolled_back(rng: random.Random, *down: str) -> tuple[list[Directive], tuple[str, str, str]]:
    """Two nodes choose values that the third does not have; one of them is put back to a state
    before that. Returns what happens, and their names: it, the other, the third."""
    lost, other, third = rng.sample(NAMES, 3)
    at_ms = int(_BACK_AT_MS + rng.uniform(0, 500))
    return [
        Directive(2600, "remember", lost),
        _rule(2000, "isolate", at_ms - 1798, on=[third]),
        Directive(at_ms, "rollback", lost, {"witnessed": True}),
        Directive(at_ms + 200, "restart", lost),
    ], (lost, other, third)


def _rolled_back_greeted(rng: random.Random) -> Schedule:
    """The one that knows what was lost reaches the others with greetings alone."""
    directives, (lost, other, third) = _rolled_back(rng)
    at_ms = directives[2].at_ms
    return Schedule([
        *directives,
        _rule(at_ms + 201, "partition", 5000, **{"from": [third], "to": [other]}),
        _rule(at_ms + 201, "drop", 5000, message_kinds=_BUT_GREETINGS,
              **{"from": [other], "to": [lost]}),
    ])  # fmt: skip


def _rolled_back_alone(rng: random.Random) -> Schedule:
    """The one that knows what was lost is away when the other two meet."""
    directives, (_, other, _) = _rolled_back(rng)
    at_ms = directives[2].at_ms
    return Schedule([
        *directives,
        Directive(at_ms, "crash", other, {"power": False}),
        Directive(at_ms + 4000, "restart", other),
    ])  # fmt: skip


def _rolled_back_together(rng: random.Random) -> Schedule:
    """As ``rolled-back-greeted``, and all of them lose their power then."""
    directives, (lost, other, third) = _rolled_back(rng)
    at_ms = directives[2].at_ms
    return Schedule([
        *directives,
        Directive(at_ms, "crash", "", {"power": True}),
        Directive(at_ms + 200, "restart"),
        _rule(at_ms + 201, "partition", 5000, **{"from": [third], "to": [other]}),
        _rule(at_ms + 202, "drop", 5000, message_kinds=_BUT_GREETINGS,
              **{"from": [other], "to": [lost]}),
    ])  # fmt: skip


def _doubled(rng: random.Random) -> Schedule:
    """A second process under the name of one of two that must both be heard."""
    name, third = rng.sample(NAMES, 2)
    return Schedule([
        Directive(2000, "double", name, {"for_ms": 16_000}),
        _rule(4000, "isolate", 14_000, on=[third]),
    ])  # fmt: skip


def _doubled_stopped(rng: random.Random) -> Schedule:
    """The same, and the first process is stopped for a while."""
    name, third = rng.sample(NAMES, 2)
    return Schedule([
        Directive(2000, "pause", name),
        Directive(3500, "double", name, {"for_ms": 14_000}),
        Directive(5500, "resume", name),
        _rule(6000, "isolate", 12_000, on=[third]),
    ])  # fmt: skip


def _first_image(rng: random.Random) -> Schedule:
    """The node that a cluster began with is put back to when it was the only one."""
    wishes = ("add", "promote") * 6
    changes = [
        Directive(3000 + 600 * place, "member", "", {"wish": wish, "lot": rng.randrange(1 << 16)})
        for place, wish in enumerate(wishes)
    ]
    return Schedule([
        Directive(2800, "remember", "n1"),
        *changes,
        Directive(_BACK_AT_MS + 3000, "rollback", "n1", {"witnessed": True, "power": False}),
        Directive(_BACK_AT_MS + 3300, "restart", "n1"),
        # It hears how far the others are before it hears how they got there.
        _rule(_BACK_AT_MS + 3301, "delay", 4000, "n1", ms=100),
        _rule(_BACK_AT_MS + 3301, "drop", 4000, "n1", message_kinds=_LESSONS),
    ])  # fmt: skip


def _goes_on(report: RunReport) -> str:
    if report.acknowledged * 10 < report.operations * 7:
        return (
            f"no-progress: {report.acknowledged} of {report.operations} operations were "
            "acknowledged, though a quorum could talk all the time"
        )
    return ""


def _flows(report: RunReport) -> str:
    if report.longest_gap_ms > GAP_MS_MAX:
        return f"gap: no write was acknowledged for {report.longest_gap_ms:.0f} ms"
    return _goes_on(report)


def _stays(report: RunReport) -> str:
    if report.leader_changes > 4:
        return f"restless: {report.leader_changes} leader changes though one link alone was cut"
    return _goes_on(report)


PROFILES: dict[str, Profile | GapProfile | SceneProfile] = {
    each.name: each
    for each in (
        Profile("storm", _STORMY),
        Profile("storm-5", replace(_STORMY, nodes=5)),
        Profile("stale-reads", replace(_STORMY, stale_readers=3)),
        Profile("stale-reads-cut", replace(_BUSY, stale_readers=3), _late_acks),
        Profile("stale-reads-behind", replace(_BUSY, stale_readers=3), _late_answers),
        Profile("cuts", _kinds("ring", "flap", "partition")),
        Profile("losses", _kinds("drop", "crash", "partition")),
        Profile("bad-disks", _kinds("fsync-error", "crash-many", "crash-point")),
        Profile("slow-disks", _kinds("drop", "disk-slow", "crash-many")),
        Profile("lost-logs", _kinds("log-loss", "crash", "isolate")),
        Profile("no-votes-heard", _LONG, _no_votes_heard, _goes_on),
        Profile("held-back", _LONG, _held_back, _goes_on),
        Profile("deaf", _LONG, _deaf, _goes_on),
        Profile("chain", _LONG, _chain, _stays),
        Profile("late-acks", _BUSY, _late_acks),
        Profile("late-accepts", _BUSY, _late_accepts),
        Profile("late-promises", _BUSY, _late_promises),
        Profile("late-answers", _BUSY, _late_answers),
        Profile("short-reigns", _QUIET, _short_reigns),
        Profile("echoes", _BUSY, _echoes),
        Profile("lost-ballots", replace(_BUSY, compare_wait_ms=1000.0), _lost_ballots),
        Profile("wiped", _BUSY, _wiped),
        Profile("wiped-voter", _BUSY, _wiped_voter),
        Profile("watched", _WATCHED),
        Profile("watched-laggards", replace(_BUSY, operations=2000, keys=8, watchers=3), _laggards),
        Profile("lost-tail", replace(_QUIET, compare_wait_ms=1000.0), _lost_tail),
        Profile("cut-tail", _QUIET, _cut_tail),
        Profile("tails", _kinds("tail-zero", "tail-flip")),
        Profile("first-files", _kinds("wrong-file")),
        Profile("rolled-back-greeted", _ROLLED, _rolled_back_greeted),
        Profile("rolled-back-alone", _ROLLED, _rolled_back_alone),
        Profile("rolled-back-together", _ROLLED, _rolled_back_together),
        Profile("doubled", _LONG, _doubled, _goes_on),
        Profile("doubled-stopped", _LONG, _doubled_stopped, _goes_on),
        Profile("first-image", _GROWN, _first_image),
        Profile("relics", replace(_CHANGING, level=LEVEL_LATEST)),
        Profile("relics-grown", replace(_CHANGING, level=LEVEL_LATEST, grows=True)),
        Profile("mute", replace(_LONG, duration_ms=60_000), _mute, _goes_on),
        Profile("members", _CHANGING),
        Profile("members-tight", replace(_CHANGING, clients=10, operations=400, keys=1)),
        Profile(
            "members-crashes",
            replace(_CHANGING, faults=frozenset({"crash-many", "crash-point", "crash"})),
        ),
        Profile("members-reads", replace(_CHANGING, faults=frozenset({"isolate", "slow-net"}))),
        Profile("swapped-unseen", replace(_LONG, members=True), _swapped_unseen, _goes_on),
        Profile("calm-changes", _BUSY_CHANGING, _calm_changes, _flows),
        Profile("wrong-clocks", replace(_BUSY, level=LEVEL_LATEST), _wrong_clocks),
        Profile("leases", replace(_STORMY, level=LEVEL_LATEST, holders=3)),
        Profile("rights", replace(_STORMY, level=LEVEL_LATEST, rights=3)),
        Profile("crowded", crowded(_STORMY), draw_crowd_schedule),
        Profile("leases-clocks", replace(_BUSY, level=LEVEL_LATEST, holders=3), _wrong_clocks),
        Profile("leases-crossed", replace(_BUSY, level=LEVEL_LATEST, holders=3), _old_batches),
        Profile("locks", LOCKS),
        Profile("locks-brief", BRIEF_LOCKS, draw_lock_schedule),
        Profile("transactions", replace(_STORMY, level=LEVEL_LATEST, transactors=3)),
        Profile("history", replace(_STORMY, level=LEVEL_LATEST, revision_readers=3)),
        Profile("upgrades", replace(_STORMY, level=LEVEL_LATEST)),
        Profile(
            "unequal-limits",
            replace(_kinds("isolate", "crash"), level=LEVEL_LATEST, unequal_limits=True),
        ),
        GapProfile("gap-stop", "stop", 900),
        GapProfile("gap-loss", "loss", 800),
        SceneProfile("old-batches", "old_batches"),
        SceneProfile("slow-holder", "slow_holder"),
    )
}
