"""What an operator changes in a simulated run: drawn from the seed, and adapted to the situation.

    draw_changes(rng, duration)   → "member" directives, each with a wish and a "lot"
    draw_relics(rng, duration)    → "member" directives with the wish "relic": one comes back,
                                    emptied, under its old name and with its old file
    draw_settings(rng, duration)  → "settings" directives, each with a "lot"
    Operator.carry_out(args)      → the change that the wish comes to now, sent to the leader

A *lot* is a random number by which the operator chooses a node or a value when the time has come.
A wish that is not possible then is dropped: there may be no node left that could be added. As a
careful operator would do, it promotes no node that lags, and a node that comes back has empty
disks.

A *relic* is an old machine of the cluster: its directory is emptied, and it is started with the
file that it had in the beginning, which names the first members. Mostly it was removed or replaced
before. It must never act. A voter becomes a relic only if the cluster survives that with any change
that is under way (:meth:`Operator._may_lose`); until it votes again the operator changes nothing
else.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paxosd.core.cluster_settings import SINCE_LEVEL
from paxosd.core.commands import MEMBERS, Entry
from paxosd.core.membership import Member, Membership, MembershipError
from paxosd.core.requests import WriteRequest
from paxosd.core.types import NodeId
from paxosd.sim.cluster.cluster import SimCluster
from paxosd.sim.cluster.process import SimProcess
from paxosd.sim.nemesis.schedule import Directive
from paxosd.wire import encode_entry

NEAR_SLOTS = 50
"""A learner that lags by fewer slots has caught up."""
VOTERS_MAX = 5
CLIENT = b"operator"

_SETTINGS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("session_ttl_ms", (8000, 30_000, 3_600_000)),
    ("session_idle_evict_ms", (0, 60_000)),
    ("session_window_max", (2048, 8192)),
    ("sessions_max", (40, 10_000)),
    ("value_bytes_max", (4096, 1 << 20)),
)
"""Setting → its possible values; none is so small that clients could not go on."""

_WISHES = ("add", "add", "promote", "promote", "swap", "swap", "remove", "demote", "quorum")


def draw_changes(rng: random.Random, duration_ms: float) -> list[Directive]:
    """What an operator does, now and then."""
    pause_ms = rng.choice((700.0, 2500.0, 6000.0))
    at_ms = rng.uniform(500.0, 3000.0)
    drawn = []
    while at_ms < duration_ms:
        args = {"wish": rng.choice(_WISHES), "lot": rng.randrange(1 << 16)}
        drawn.append(Directive(int(at_ms), "member", "", args))
        at_ms += rng.expovariate(1.0 / pause_ms)
    return drawn


def draw_relics(rng: random.Random, duration_ms: float) -> list[Directive]:
    """Old machines that are started again, in most of the runs."""
    if rng.random() < 0.2:
        return []
    pause_ms = rng.choice((1500.0, 5000.0))
    at_ms = rng.uniform(1000.0, 4000.0)
    drawn = []
    while at_ms < duration_ms:
        args = {"wish": "relic", "lot": rng.randrange(1 << 16)}
        drawn.append(Directive(int(at_ms), "member", "", args))
        at_ms += rng.expovariate(1.0 / pause_ms)
    return drawn


def draw_settings(rng: random.Random, duration_ms: float) -> list[Directive]:
    """Changes of the replicated settings, in some of the runs."""
    if rng.random() < 0.5:
        return []
    times_ms = sorted(rng.uniform(0.1, 0.95) * duration_ms for _ in range(rng.randint(1, 6)))
    return [
        Directive(int(at_ms), "settings", "", {"lot": rng.randrange(1 << 16)}) for at_ms in times_ms
    ]


def draw_quota(rng: random.Random, duration_ms: float) -> list[Directive]:
    """Quotas that have room for some of the keys, one after the other; in the end there is none."""
    times_ms = sorted(rng.uniform(0.05, 0.9) * duration_ms for _ in range(rng.randint(2, 6)))
    drawn = [(at_ms, rng.choice((1, 400, 700, 1000, 1300))) for at_ms in times_ms]
    return [
        Directive(int(at_ms), "settings", "", {"quota_bytes": quota_bytes})
        for at_ms, quota_bytes in [*drawn, (0.95 * duration_ms, 0)]
    ]


class Operator:
    """Changes the membership and the settings of a simulated cluster through its leader."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self._requests = 0
        self.sent = 0
        """How many changes were sent to a leader."""
        self.relics = 0
        """How many relics were started."""
        self._tried: set[int] = set()
        """The epochs after which a change was sent to a leader. Only used for lookups."""
        self._asked: dict[NodeId, int] = {}
        """Node that was to become a member → the epoch after which that was last asked for."""

    def carry_out(self, args: Mapping[str, Any]) -> None:
        """Carry out one wish, if it is possible now."""
        leader = self._cluster.leader()
        if not leader or self._cluster.processes[leader].paused:
            return
        present = self._cluster.processes[leader].node.membership
        wish, lot = str(args["wish"]), int(args.get("lot", 0))
        lost = self._lost(present)
        if lost:
            for name in lost:  # before anything else
                self.rejoin(name)
            return
        make: Callable[[Membership, int], Membership | None] = getattr(self, f"_{wish}")
        try:
            new = make(present, lot)
        except MembershipError:
            return
        if new is not None:
            self._propose(leader, present.epoch, new)

    def rejoin(self, name: NodeId) -> None:
        """As ``member rejoin``: the directory that a node has now is to vote in its name."""
        leader = self._cluster.leader()
        process = self._cluster.processes[name]
        if not leader or not process.up or not process.node.forgetful:
            return
        present = self._cluster.processes[leader].node.membership
        member = present.members.get(name)
        if member is not None and member.voter and member.directory_id != process.node.directory_id:
            pinned = member._replace(directory_id=process.node.directory_id)
            self._propose(leader, present.epoch, present.replaced(present.members | {name: pinned}))

    def set_settings(self, lot: int) -> None:
        """As ``cluster set``, if the feature level allows it; the lot selects setting and value."""
        name, values = _SETTINGS[lot % len(_SETTINGS)]
        self.set_one(name, values[lot // len(_SETTINGS) % len(values)])

    def set_one(self, name: str, value: int) -> None:
        """The same for this setting and value."""
        leader = self._cluster.leader()
        if not leader or self._cluster.processes[leader].paused:
            return
        process = self._cluster.processes[leader]
        before = process.machine.settings
        if before.level >= max(1, SINCE_LEVEL.get(name, 0)):
            after = before._replace(**{name: value})  # type: ignore[arg-type]  # a number
            self._send(leader, after.to_entry(before, process.node.membership.epoch))

    def lift_quota(self) -> bool:
        """Whether no node has one any more; else ask for that."""
        machines = [process.machine for process in self._cluster.up()]
        lifted = not any(machine.settings.quota_bytes for machine in machines)
        if not lifted:
            self.set_one("quota_bytes", 0)
        return lifted

    def _propose(self, leader: NodeId, epoch: int, new: Membership) -> None:
        self._tried.add(epoch)
        self._send(leader, Entry(0, 1, 0, [[MEMBERS, epoch, new.to_command()]]))

    def _send(self, leader: NodeId, change: Entry) -> None:
        entry = encode_entry(change)
        self._cluster.invariants.proposed.add(entry)
        self._requests += 1
        self.sent += 1
        self._cluster.processes[leader].arrive_request(CLIENT, WriteRequest(self._requests, entry))

    # -- wishes

    def _add(self, present: Membership, lot: int) -> Membership | None:
        fit = [p for p in self._cluster.processes.values() if self._may_join(p, present)]
        if not fit:
            return None
        process = fit[lot % len(fit)]
        if process.idle or process.removed or process.relic:
            process.join()
        name = process.name
        self._asked[name] = present.epoch
        return present.replaced(present.members | {name: Member(name, name, name, voter=False)})

    def _promote(self, present: Membership, lot: int) -> Membership | None:
        name = self._ready(present, lot)
        if not name or len(present.voters) >= VOTERS_MAX:
            return None
        return present.replaced(present.members | {name: self._voter(name)})

    def _swap(self, present: Membership, lot: int) -> Membership | None:
        name = self._ready(present, lot)
        if not name:
            return None
        gone = present.voters[lot // 7 % len(present.voters)]
        members = {n: m for n, m in present.members.items() if n != gone}
        return present.replaced(members | {name: self._voter(name)})

    def _remove(self, present: Membership, lot: int) -> Membership | None:
        names = list(present.members)
        gone = names[lot % len(names)]
        return present.replaced({n: m for n, m in present.members.items() if n != gone})

    def _demote(self, present: Membership, lot: int) -> Membership | None:
        name = present.voters[lot % len(present.voters)]
        learner = present.members[name]._replace(voter=False, directory_id=0)
        return present.replaced(present.members | {name: learner})

    def _quorum(self, present: Membership, lot: int) -> Membership | None:
        count = len(present.voters)
        phase2 = 1 + lot % count
        if lot % 3 == 0:
            return present.replaced(present.members, phase1=0, phase2=0)
        return present.replaced(present.members, phase1=count + 1 - phase2, phase2=phase2)

    def _relic(self, present: Membership, lot: int) -> None:
        """The membership stays as it is; an old machine is started."""
        processes = self._cluster.processes.values()
        gone = [p for p in processes if self._is_free(p, present) and self._leaves_one(p)]
        lost = [p for p in processes if self._may_lose(p, present) and self._leaves_one(p)]
        fit = lost if lost and (not gone or lot % 4 == 0) else gone
        if fit:
            self.relics += 1
            fit[lot // 4 % len(fit)].come_back_emptied()

    # -- which nodes are fit

    def _leaves_one(self, process: SimProcess) -> bool:
        """Whether one of the other first members was not emptied. All of them together would found
        another cluster, and if no present member knows their addresses nothing can stop them."""
        first = [p for p in self._cluster.processes.values() if p.name in self._cluster.first]
        rest = [p for p in first if p is not process]
        return not process.idle and (not rest or any(not p.relic for p in rest))

    def _lost(self, present: Membership) -> list[NodeId]:
        """The voters that have lost their memory and do not vote again yet."""
        lost = []
        for name in present.voters:
            process = self._cluster.processes[name]
            if process.relic and process.up:
                process.relic = present.members[name].directory_id != process.node.directory_id
            if process.relic:
                lost.append(name)
        return lost

    def _may_lose(self, process: SimProcess, present: Membership) -> bool:
        """Whether the other voters are enough for both phases, and no change that was sent to a
        leader can still take one of them away: every change from this epoch on is yet to be
        made."""
        others = len(present.voters) - 1
        quorums = present.quorums
        return (
            process.name in present.voters
            and others >= max(quorums.phase1, quorums.phase2)
            and present.epoch not in self._tried
            and present.epoch == self._cluster.invariants.newest_membership.epoch
            and others > 1
        )

    def _may_join(self, process: SimProcess, present: Membership) -> bool:
        """Whether it never was a member, or knows that it is none any more, or waits to become one:
        a careful operator empties no other node's disk. ``present`` may be out of date, if the
        leader does not know the latest decisions yet."""
        newest = self._cluster.invariants.newest_membership
        if process.name in present.members or process.name in newest.members:
            return False
        waits = process.up and not process.node.membership.members
        return process.idle or process.removed or process.relic or waits

    def _is_free(self, process: SimProcess, present: Membership) -> bool:
        """Whether it may join, and no change that makes it a member can be under way: what was sent
        to a leader in an epoch can still be chosen while no later epoch has begun."""
        newest = self._cluster.invariants.newest_membership
        asked = self._asked.get(process.name, -1)
        return asked < newest.epoch and self._may_join(process, present)

    def _voter(self, name: NodeId) -> Member:
        directory_id = self._cluster.processes[name].node.directory_id
        return Member(name, name, name, voter=True, directory_id=directory_id)

    def _ready(self, present: Membership, lot: int) -> NodeId:
        """A learner that has caught up; "" if there is none."""
        applied = max(self._cluster.applied(), default=0)
        ready: Sequence[SimProcess] = [
            process
            for name in present.learners
            if (process := self._cluster.processes[name]).up
            and applied - process.node.applied < NEAR_SLOTS
        ]
        return ready[lot % len(ready)].name if ready else ""
