"""Draws, from the seed, which faults a run has, and when (swarm testing).

Each run has only some of the kinds: a run with everything at once finds less, because one fault
hides what another would show. From its kinds a run makes *episodes*: a fault begins, lasts a
while and ends, and some peace follows before the next one. What would stop a whole majority is
kept short, so that most operations still succeed. Every fault that does not end by itself is
ended by the heal that follows the safety phase.

What the product does not promise to survive is drawn only if it is asked for by name
(``rollback``). Memory is lost on a minority of the nodes only, counted over all passes
(``tails.doomed_names``).

Other passes draw from streams of their own: lost tails of logs (``tails.py``); roll-backs of
running members, wrong configuration files and doubled members (``misuse.py``); wall clocks
(``clocks.py``); limits (``limits.py``); and, where the membership changes, members that come back
emptied under their old names with their old files (``changes.py``).
"""

import random
from collections.abc import Callable, Iterable
from typing import Any

from paxosd.core.types import NodeId
from paxosd.sim.nemesis.kinds import BY_REQUEST, DRAWN_ELSEWHERE, KINDS
from paxosd.sim.nemesis.schedule import LEADER, Directive, Schedule
from paxosd.wire import PEER_KIND_NAMES

REJOIN_AFTER_MS = 1500.0
_SHARE_OF_KINDS = (0.15, 0.3, 0.5)


class Nemesis:
    """Draws one schedule. ``kinds``: those that this run has."""

    def __init__(
        self, rng: random.Random, names: list[NodeId], duration_ms: float, kinds: list[str]
    ) -> None:
        self.kinds = kinds
        self._rng = rng
        self._names = names
        self._duration_ms = duration_ms
        self._directives: list[Directive] = []
        self._rules = 0
        self._doomed = sorted(rng.sample(names, (len(names) - 1) // 2))
        """The nodes whose logs may be damaged for good …"""
        self._late_ms = max(2000.0, 0.6 * duration_ms)
        """… and from when on: until then all of them are there for the other faults."""
        self._episodes: dict[str, Callable[[float], float]] = {
            "drop": self._drop,
            "delay": self._delay,
            "duplicate": lambda at: self._net(at, "duplicate", (0.02, 0.1, 0.5)),
            "reorder": lambda at: self._net(at, "reorder", (0.02, 0.1, 0.5)),
            "replay": lambda at: self._net(at, "replay", (0.01, 0.05, 0.2)),
            "slow-net": self._slow_net,
            "partition": self._partition,
            "isolate": self._isolate,
            "bridge": self._bridge,
            "ring": self._ring,
            "flap": self._flap,
            "client-cut": self._client_cut,
            "crash": self._crash,
            "crash-many": self._crash_many,
            "crash-point": self._crash_point,
            "pause": self._pause,
            "starve": self._starve,
            "disk-slow": self._disk_slow,
            "disk-full": self._disk_full,
            "fsync-error": self._fsync_error,
            "torn-write": self._torn_write,
            "bit-rot": self._bit_rot,
            "log-loss": self._log_loss,
            "clock-skew": self._clock_skew,
            "clock-drift": self._clock_drift,
            "wipe": self._wipe,
            "rollback": self._rollback,
        }
        assert self._episodes.keys() == KINDS.keys() - DRAWN_ELSEWHERE

    def draw(self) -> Schedule:
        """The whole schedule."""
        rng = self._rng
        if not self.kinds:
            return Schedule()
        self._weather()
        peace_ms = rng.choice((100.0, 500.0, 2000.0))
        now_ms = rng.uniform(500.0, 2000.0)
        while now_ms < self._duration_ms:
            lasts_ms = self._episodes[rng.choice(self.kinds)](now_ms)
            if rng.random() < 0.4:
                lasts_ms = rng.uniform(0.0, lasts_ms)  # the next begins before this one ends
            now_ms += lasts_ms + rng.expovariate(1.0 / peace_ms)
        # A process that has ended by itself (its disk failed) is started again now and then.
        at_ms = 0.0
        while (at_ms := at_ms + rng.uniform(2000.0, 8000.0)) < self._duration_ms:
            self._do(at_ms, "restart")
        return Schedule(each for each in self._directives if each.at_ms < self._duration_ms)

    # -- helpers

    def _do(self, at_ms: float, verb: str, node: NodeId = "", **args: Any) -> None:
        self._directives.append(Directive(int(at_ms), verb, node, args))

    def _rule(self, at_ms: float, lasts_ms: float, node: NodeId, kind: str, **args: Any) -> None:
        """A fault rule on one node, or with "" on all."""
        self._rules += 1
        self._do(
            at_ms,
            "fault_add",
            node,
            name=f"{kind}-{self._rules}",
            kind=kind,
            seed=self._rng.randrange(1 << 30),
            for_ms=max(1, int(lasts_ms)),
            persist=True,
            **args,
        )

    def _one(self) -> NodeId:
        """A node; rather often the leader."""
        return LEADER if self._rng.random() < 0.4 else self._rng.choice(self._names)

    def _some(self, count: int) -> list[NodeId]:
        return sorted(self._rng.sample(self._names, count))

    def _lasts_ms(self, usual_ms: float = 2000.0, long_ms: float = 12_000.0) -> float:
        """Mostly short, now and then long."""
        top_ms = long_ms if self._rng.random() < 0.15 else usual_ms
        return self._rng.uniform(0.1, 1.0) * top_ms

    # -- the network

    def _weather(self) -> None:
        """What the network is like from the start; episodes make it better or worse."""
        usual = {
            "drop": ("loss", (0.01, 0.05)),
            "duplicate": ("duplicate", (0.02, 0.1)),
            "reorder": ("reorder", (0.02, 0.1)),
            "replay": ("replay", (0.01, 0.03)),
        }
        for kind, (what, choices) in usual.items():
            if kind in self.kinds and self._rng.random() < 0.6:
                args: dict[str, Any] = {what: self._rng.choice(choices)}
                self._do(0.0, "net", **args)
        if "slow-net" in self.kinds and self._rng.random() < 0.6:
            self._do(0.0, "net", delay_ms=self._rng.choice([[1, 40], [1, 100], [5, 200]]))

    def _net(self, at_ms: float, what: str, choices: tuple[float, ...]) -> float:
        lasts_ms = self._lasts_ms(8000.0, 30_000.0)
        for when_ms, value in ((at_ms, self._rng.choice(choices)), (at_ms + lasts_ms, 0.0)):
            args: dict[str, Any] = {what: value}
            self._do(when_ms, "net", **args)
        return lasts_ms * 0.3

    def _drop(self, at_ms: float) -> float:
        rng = self._rng
        if rng.random() < 0.5:
            self._do(at_ms, "net", client_loss=rng.choice((0.0, 0.01, 0.05)))
            return self._net(at_ms, "loss", (0.01, 0.05, 0.2))
        lasts_ms = self._lasts_ms(4000.0)
        kinds = sorted(PEER_KIND_NAMES.values())
        self._rule(
            at_ms,
            lasts_ms,
            "" if rng.random() < 0.6 else self._one(),
            "drop",
            message_kinds=sorted(rng.sample(kinds, rng.choice((1, 1, 2, 4)))),
            probability=rng.choice((0.2, 0.7, 1.0)),
        )
        return lasts_ms

    def _delay(self, at_ms: float) -> float:
        rng = self._rng
        lasts_ms = self._lasts_ms(4000.0)
        kind = rng.choice(("delay", "reorder"))
        more: dict[str, Any] = {}
        if rng.random() < 0.5:  # some kinds only: the others overtake them
            kinds = sorted(PEER_KIND_NAMES.values())
            more["message_kinds"] = sorted(rng.sample(kinds, rng.choice((1, 2, 4))))
            if rng.random() < 0.5:
                more["message_kinds"] = ["accept"]
        self._rule(
            at_ms,
            lasts_ms,
            "" if rng.random() < 0.4 else self._one(),
            kind,
            ms=rng.choice((20, 150, 700, 2500)),
            probability=rng.choice((0.1, 0.5, 1.0)),
            **more,
        )
        return lasts_ms

    def _slow_net(self, at_ms: float) -> float:
        lasts_ms = self._lasts_ms(6000.0, 20_000.0)
        self._do(at_ms, "net", delay_ms=self._rng.choice([[1, 20], [5, 80], [20, 250]]))
        self._do(at_ms + lasts_ms, "net", delay_ms=[0.1, 0.6])
        return lasts_ms

    def _partition(self, at_ms: float) -> float:
        rng = self._rng
        lasts_ms = self._lasts_ms()
        if len(self._names) < 2:
            return lasts_ms
        one = self._some(rng.randint(1, len(self._names) - 1))
        if rng.random() < 0.3:
            one = [LEADER]
        other = [name for name in self._names if name not in one]
        oneway = rng.random() < 0.4
        args = {"from": one, "to": other, "oneway": oneway}
        if oneway and rng.random() < 0.5:
            args = {"from": other, "to": one, "oneway": True}
        self._rule(at_ms, lasts_ms, "", "partition", **args)
        return lasts_ms

    def _isolate(self, at_ms: float) -> float:
        lasts_ms = self._lasts_ms(4000.0, 20_000.0)
        name = LEADER if self._rng.random() < 0.7 else self._one()
        if "clock-drift" in self.kinds and self._rng.random() < 0.7:
            # Its timeouts become longer than those of the others: it leads on while they elect.
            self._do(at_ms, "clock_drift", name, ppm=-300_000)
            self._do(at_ms + lasts_ms, "clock_drift", ppm=0)
        self._rule(at_ms, lasts_ms, "", "isolate", on=[name])
        if self._rng.random() < 0.3:
            self._do(at_ms, "client_cut", name)
            self._do(at_ms + lasts_ms, "client_heal")
        return lasts_ms

    def _bridge(self, at_ms: float) -> float:
        lasts_ms = self._lasts_ms(4000.0, 20_000.0)
        self._rule(at_ms, lasts_ms, "", "bridge", on=[self._one()])
        return lasts_ms

    def _ring(self, at_ms: float) -> float:
        """Majorities that form a ring: each node hears itself and its nearest neighbours."""
        lasts_ms = self._lasts_ms(4000.0, 12_000.0)
        names = self._rng.sample(self._names, len(self._names))
        count = len(names)
        reach = max(1, (count // 2 + 1) // 2)
        for place, name in enumerate(names):
            far = [names[(place + step) % count] for step in range(reach + 1, count - reach)]
            if count == 3:  # all are neighbours: a ring of one-way links
                far = [names[(place + 1) % count]]
            if far:
                self._rule(
                    at_ms, lasts_ms, "", "partition",
                    **{"from": [name], "to": sorted(far), "oneway": True},
                )  # fmt: skip
        return lasts_ms

    def _flap(self, at_ms: float) -> float:
        lasts_ms = self._lasts_ms(8000.0, 20_000.0)
        if len(self._names) < 2:
            return lasts_ms
        one, other = self._rng.sample(self._names, 2)
        self._rule(
            at_ms, lasts_ms, "", "flap",
            **{"from": [one], "to": [other], "ms": self._rng.choice((30, 200, 700, 1500)),
               "oneway": self._rng.random() < 0.3},
        )  # fmt: skip
        return lasts_ms

    def _client_cut(self, at_ms: float) -> float:
        lasts_ms = self._lasts_ms()
        self._do(at_ms, "client_cut", self._one())
        self._do(at_ms + lasts_ms, "client_heal")
        return lasts_ms

    # -- processes

    def _crash(self, at_ms: float) -> float:
        rng = self._rng
        name = self._one()
        self._do(at_ms, "crash", name, power=rng.random() < 0.6)
        lasts_ms = self._lasts_ms()
        if rng.random() < 0.3:  # and another in the middle of the election that follows
            self._do(
                at_ms + 1.0, "crash_at_effect", rng.choice(self._names),
                effects=rng.randint(8, 60), power=rng.random() < 0.8,
            )  # fmt: skip
            lasts_ms += 1000.0
        self._do(at_ms + lasts_ms, "restart")
        return lasts_ms

    def _crash_many(self, at_ms: float) -> float:
        rng = self._rng
        count = len(self._names)
        several = self._some(rng.randint(count // 2 + 1, count)) if rng.random() < 0.5 else [""]
        power = rng.random() < 0.7
        for name in several:
            apart_ms = rng.choice((0.0, 0.0, rng.uniform(0.0, 50.0)))
            self._do(at_ms + apart_ms, "crash", name, power=power)
        lasts_ms = 50.0 + rng.uniform(50.0, 1500.0)
        self._do(at_ms + lasts_ms, "restart")
        if rng.random() < 0.35:  # and again and again, while they have hardly elected
            for _ in range(rng.randint(1, 3)):
                lasts_ms += rng.uniform(400.0, 1500.0)
                self._do(at_ms + lasts_ms, "crash", power=power)
                lasts_ms += rng.uniform(50.0, 400.0)
                self._do(at_ms + lasts_ms, "restart")
        return lasts_ms

    def _crash_point(self, at_ms: float) -> float:
        rng = self._rng
        effects = rng.choice((rng.randint(1, 12), rng.randint(1, 400)))
        name = "" if rng.random() < 0.15 else self._one()
        self._do(at_ms, "crash_at_effect", name, effects=effects, power=rng.random() < 0.6)
        lasts_ms = self._lasts_ms()
        self._do(at_ms + lasts_ms, "restart")
        again = rng.random()
        if again < 0.4:  # and once more while it recovers
            self._do(
                at_ms + lasts_ms - 1.0, "crash_at_effect", name,
                effects=rng.randint(1, 10), power=rng.random() < 0.6,
            )  # fmt: skip
            self._do(at_ms + lasts_ms + 300.0, "restart")
        elif again < 0.7:  # or soon after: what a kill left unsynced, a power cut takes
            lasts_ms += rng.uniform(150.0, 1000.0)
            self._do(at_ms + lasts_ms, "crash", name, power=True)
            lasts_ms += 200.0
            self._do(at_ms + lasts_ms, "restart")
        return lasts_ms

    def _pause(self, at_ms: float) -> float:
        rng = self._rng
        lasts_ms = rng.choice((200.0, 900.0, 3000.0, 8000.0, rng.uniform(10_000.0, 60_000.0)))
        name = self._one()
        if rng.random() < 0.3:  # in the middle of a turn
            self._do(at_ms, "pause_at_effect", name, effects=rng.randint(1, 40), ms=int(lasts_ms))
            return min(lasts_ms, 4000.0)
        self._do(at_ms, "pause", name)
        # The leader may be another one by now, so all go on.
        self._do(at_ms + lasts_ms, "resume", "" if name == LEADER else name)
        return min(lasts_ms, 4000.0)

    def _starve(self, at_ms: float) -> float:
        lasts_ms = self._lasts_ms(4000.0)
        self._do(at_ms, "starve", self._one(), turn_ms=self._rng.choice((5, 40, 200, 900)))
        self._do(at_ms + lasts_ms, "starve", turn_ms=0)
        return lasts_ms

    # -- disks

    def _disk_slow(self, at_ms: float) -> float:
        rng = self._rng
        lasts_ms = self._lasts_ms(4000.0)
        name = "" if rng.random() < 0.2 else self._one()
        self._rule(
            at_ms, lasts_ms, name, "disk-slow", on=["*"],
            ms=rng.choice((10, 80, 400, 1500)), probability=rng.choice((0.1, 1.0)),
        )  # fmt: skip
        return lasts_ms

    def _disk_full(self, at_ms: float) -> float:
        lasts_ms = self._lasts_ms(3000.0, 6000.0)
        name = self._one()
        if self._rng.random() < 0.5:
            self._rule(at_ms, lasts_ms, name, "disk-full", on=["*"])
        else:
            free_bytes = self._rng.choice((0, 3000, 70_000))
            self._do(at_ms, "disk", name, free_bytes=free_bytes)
            self._do(at_ms + lasts_ms, "disk", free_bytes=-1)
        self._do(at_ms + lasts_ms + 50.0, "restart")
        return lasts_ms

    def _fsync_error(self, at_ms: float) -> float:
        rng = self._rng
        lasts_ms = self._lasts_ms(1000.0, 4000.0)
        name = self._one()
        power_fails = rng.random() < 0.5
        if power_fails:
            name = rng.choice(self._names)
        self._rule(at_ms, lasts_ms, name, "fsync-error", on=["*"],
                   probability=rng.choice((0.1, 1.0)))  # fmt: skip
        lasts_ms += 50.0
        self._do(at_ms + lasts_ms, "restart")
        if power_fails:  # which loses what the kernel took for written
            lasts_ms += rng.uniform(200.0, 2500.0)
            self._do(at_ms + lasts_ms, "crash", name, power=True)
            lasts_ms += 200.0
            self._do(at_ms + lasts_ms, "restart")
        return lasts_ms

    def _torn_write(self, at_ms: float) -> float:
        lasts_ms = self._lasts_ms(1000.0, 2000.0)
        self._rule(at_ms, lasts_ms, self._one(), "torn-write", on=["*"],
                   probability=self._rng.choice((0.1, 1.0)))  # fmt: skip
        self._do(at_ms + lasts_ms + 50.0, "restart")
        return lasts_ms

    def _bit_rot(self, at_ms: float) -> float:
        if self._doomed and at_ms > self._late_ms:
            self._rule(at_ms, 1000.0, self._rng.choice(self._doomed), "bit-rot", on=["*"])
        return 500.0

    def _log_loss(self, at_ms: float) -> float:
        if self._doomed and at_ms > self._late_ms:
            self._lose(at_ms, log_only=True)
        return 500.0

    def _wipe(self, at_ms: float) -> float:
        if self._doomed and at_ms > self._late_ms:
            self._lose(at_ms)
        return 500.0

    def _lose(self, at_ms: float, **args: Any) -> None:
        """A memory is lost; some time after the node is back an operator lets it rejoin."""
        name = self._rng.choice(self._doomed)
        self._do(at_ms, "wipe", name, **args)
        at_ms += self._lasts_ms()
        self._do(at_ms, "restart")
        self._do(at_ms + REJOIN_AFTER_MS, "rejoin", name)

    def _rollback(self, at_ms: float) -> float:
        lasts_ms = self._lasts_ms()
        self._do(max(0.0, at_ms - self._rng.uniform(100.0, 10_000.0)), "remember")
        self._do(at_ms, "rollback", self._one())
        self._do(at_ms + lasts_ms, "restart")
        return lasts_ms

    # -- clocks

    def _clock_skew(self, at_ms: float) -> float:
        rng = self._rng
        lasts_ms = self._lasts_ms(6000.0)
        ms = rng.choice((-1, 1)) * rng.choice((50, 3000, 600_000, 8_000_000))
        if rng.random() < 0.5:
            self._do(at_ms, "clock_jump", self._one(), ms=ms)
            if rng.random() < 0.5:
                self._do(at_ms + lasts_ms, "clock_jump", self._one(), ms=-ms)
        else:
            args = {"every_ms": rng.choice((100, 1000))} if rng.random() < 0.5 else {}
            self._rule(at_ms, lasts_ms, self._one(), "clock-skew", on=["*"], ms=ms, **args)
        return lasts_ms * 0.5

    def _clock_drift(self, at_ms: float) -> float:
        ppm = self._rng.choice((-1, 1)) * self._rng.choice((500, 50_000, 300_000))
        self._do(at_ms, "clock_drift", self._one(), ppm=ppm)
        return self._lasts_ms()


def draw_schedule(
    rng: random.Random,
    names: list[NodeId],
    duration_ms: float,
    kinds: Iterable[str] | None = None,
) -> Schedule:
    """A schedule of faults. ``kinds``: which may be drawn; None: all but those by request; a
    run has a part of them only, unless there are three or fewer. Those of ``tails.py`` and
    ``misuse.py`` are drawn there."""
    known = KINDS.keys() - DRAWN_ELSEWHERE
    known = known - BY_REQUEST if kinds is None else known & set(kinds)
    allowed = [kind for kind in KINDS if kind in known]
    if len(allowed) > 3:
        share = rng.choice(_SHARE_OF_KINDS)
        count = max(1, round(share * len(allowed)))
        chosen = set(rng.sample(allowed, count))
        allowed = [kind for kind in allowed if kind in chosen]
    return Nemesis(rng, names, duration_ms, allowed).draw()
