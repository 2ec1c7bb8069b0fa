"""The longest time without an acknowledged write, in simulated time, when something goes wrong.

    gap_ms(seed, "stop")      the longest gap of one scene; see SCENES

Clients that each put again and again, the usual settings of a node, and one trouble. A gap counts
between any two acknowledged writes of all clients, as a person measures it who watches the cluster.
"""

import itertools
import random

from paxosd.check.history import OK
from paxosd.sim.cluster.cluster import ClusterOptions, SimCluster, node_names
from paxosd.sim.cluster.life import ProcessOptions
from paxosd.sim.nemesis.director import Director
from paxosd.sim.nemesis.schedule import Directive
from paxosd.sim.world.world import World
from tests.sim.simple import make_client, run_for

SPARES = 2
CLIENTS = 10
PAUSE_MS = 50.0
"""Between two puts of a client."""
LOSS_SHARE = 0.3
LOSS_MS = 15_000.0
WATCH_MS = 4000.0
CUT_MS = 1500.0


class Scene:
    """A cluster of three and two nodes that may join, under load; and when its writes were
    acknowledged."""

    def __init__(self, seed, records=None):
        names = node_names(3 + SPARES)
        options = ClusterOptions(process=ProcessOptions(node={}))
        self.cluster = SimCluster(World(seed), names[:3], options, None, names[3:], records)
        self.rng = random.Random(f"gaps/{seed}")
        self.cluster.start()
        self.leader = self.cluster.elect()
        run_for(self.cluster, 1000)
        work = {"operations": 1 << 20, "duration_ms": PAUSE_MS * (1 << 20), "mix": {"put": 1},
                "burst_mean": 1.0, "timeout_ms": 60_000}  # fmt: skip
        made = [make_client(self.cluster, f"c{i}", **work) for i in range(CLIENTS)]
        self._histories = [history for _, history in made]
        for client, _ in made:
            client.start()
        run_for(self.cluster, self.rng.uniform(1000, 1200))
        self.began_ms = self.cluster.world.now_ms

    @property
    def acked_ms(self):
        """When each write was acknowledged, ascending."""
        return sorted(
            operation.returned / 1000
            for history in self._histories
            for operation in history
            if operation.outcome == OK
        )

    def longest_gap_ms(self):
        """Since the trouble began."""
        now_ms = self.cluster.world.now_ms
        acked = self.acked_ms
        last_before = max(at for at in acked if at <= self.began_ms)
        points = [last_before, *(at for at in acked if at > self.began_ms), now_ms]
        return max(b - a for a, b in itertools.pairwise(points))


def stop(scene):
    """The leader is stopped: only its silence shows it."""
    scene.cluster.pause(scene.leader)
    run_for(scene.cluster, WATCH_MS)


def kill(scene):
    """The leader's process dies, and its connections with it."""
    scene.cluster.crash(scene.leader, power=False)
    run_for(scene.cluster, WATCH_MS)


def silent(scene):
    """The leader's machine loses its power; clients notice by silence."""
    scene.cluster.crash(scene.leader)
    run_for(scene.cluster, WATCH_MS)


def loss(scene):
    """Of all messages between nodes so many are lost."""
    scene.cluster.network.change(loss=LOSS_SHARE)
    run_for(scene.cluster, LOSS_MS)


def loss_and_stop(scene):
    """The leader is stopped while so many messages are lost."""
    scene.cluster.network.change(loss=LOSS_SHARE)
    stop(scene)


def members(scene):
    """Members join, are promoted, take another one's place and leave, while nothing passes between
    two of the nodes."""
    director = Director(scene.cluster)

    def carry_out(verb, **args):
        director.carry_out(Directive(int(scene.cluster.world.now_ms), verb, "", args))

    for wish in ("add", "promote", "add", "swap", "remove", "demote"):
        one, other = scene.rng.sample(sorted(each.name for each in scene.cluster.members()), 2)
        carry_out("fault_add", **{"name": "cut", "kind": "partition", "from": one, "to": other})
        carry_out("member", wish=wish, lot=scene.rng.randrange(1 << 16))
        run_for(scene.cluster, CUT_MS)
        carry_out("fault_clear")
        run_for(scene.cluster, CUT_MS / 2)


SCENES = {each.__name__: each for each in (kill, stop, silent, loss, loss_and_stop, members)}


def gap_ms(seed, what, records=None):
    """The longest gap of one scene. ``records``: see ``run_seed``."""
    scene = Scene(seed, records)
    SCENES[what](scene)
    if records is not None:
        records.write(scene.cluster.processes.values())
    return scene.longest_gap_ms()
