"""Clients and faults for the in-memory cluster: what is promised to clients, checked.

Each client counts its own key up, one write at a time, with retries of the same seq; readers
read any key on any node. Checked: an acknowledged write is there at the end, each write was
applied once, no linearizable read is older than what was acknowledged before it began.
"""

import random

from paxosd.core.commands import OPEN, PUT, Entry
from paxosd.core.effects import ReadReady, WriteReply
from paxosd.core.types import NULL_BALLOT
from tests.core.changes import change_entry, changed
from tests.core.cluster import Cluster


class CountingClient:
    """Writes 1, 2, 3, … to its own key; never goes on before the last write is acknowledged."""

    def __init__(self, cluster, key):
        self.cluster, self.key = cluster, key
        self.session = 0
        self.value = 0
        self.acked = 0
        self.token = None
        self.stopped = False
        self.attempt()

    def attempt(self):
        if self.stopped:
            return
        cluster = self.cluster
        self.token = None  # the reply of an earlier attempt may come while this one is put
        up = cluster.up()
        name = cluster.leader() or (cluster.rng.choice(up).name if up else "")
        if name:
            if self.session == 0:
                entry = Entry(0, 1, 0, [[OPEN]])
            else:
                seq = self.acked + 1
                entry = Entry(self.session, seq, seq - 1, [[PUT, self.key, b"%d" % seq]])
            self.token = cluster.submit(name, entry)
        token = self.token
        cluster.at(cluster.rng.uniform(200, 500), lambda: self.timeout(token))

    def timeout(self, token):
        if self.token == token:
            self.attempt()

    def on_reply(self, token, reply):
        if token != self.token:
            return
        self.token = None
        if isinstance(reply, WriteReply):
            if self.session == 0:
                self.session = reply.results[0][2]
            else:
                assert isinstance(reply.results[0], int), reply
                self.acked += 1
            self.cluster.at(self.cluster.rng.uniform(0, 5), self.attempt)
        else:
            self.cluster.at(self.cluster.rng.uniform(5, 50), self.attempt)


class Reader:
    """Reads a random client's key on a random node, one read at a time."""

    def __init__(self, cluster, clients):
        self.cluster, self.clients = cluster, clients
        self.token, self.served = None, 0
        self.stopped = False
        self.attempt()

    def attempt(self):
        up = self.cluster.up()
        self.token = None
        if self.stopped:
            return
        if up:
            member = self.cluster.rng.choice(up)
            self.client = self.cluster.rng.choice(self.clients)
            self.name, self.floor = member.name, self.client.acked
            self.node = member.node
            self.token = self.cluster.read(member.name)
        token = self.token
        self.cluster.at(self.cluster.rng.uniform(300, 900), lambda: self.timeout(token))

    def timeout(self, token):
        if self.token == token:
            self.attempt()

    def on_reply(self, token, reply):
        if token != self.token:
            return
        self.token = None
        if not isinstance(reply, tuple) or not isinstance(reply[0], ReadReady):
            return self.cluster.at(20, self.attempt)
        found = self.cluster.members[self.name].machine.query([[1, self.client.key]], 1 << 20)[0]
        seen = int(found.value) if found is not None else 0
        assert seen >= self.floor, f"stale read on {self.name}: {seen} < {self.floor}"
        self.served += 1
        self.cluster.at(self.cluster.rng.uniform(0, 5), self.attempt)


def nemesis(cluster, until_ms):
    """Crash, restart, cut and heal at random until the time is over; then heal all."""
    rng = cluster.rng
    names = list(cluster.members)

    def act():
        if cluster.now >= until_ms:
            cluster.heal()
            cluster.loss = cluster.duplicate = cluster.replays = 0.0
            for member in cluster.members.values():
                cluster.resume(member.name)
                if member.node is None:
                    cluster.start(member.name)
            return
        choice = rng.random()
        name = rng.choice(names)
        if choice < 0.25:
            cluster.crash(name)
        elif choice < 0.30:
            for each in names:
                cluster.crash(each)
        elif choice < 0.55:
            for member in cluster.members.values():
                if member.node is None:
                    cluster.start(member.name)
        elif choice < 0.60:
            cluster.pause(name)
            cluster.at(rng.uniform(50, 3000), lambda: cluster.resume(name))
        elif choice < 0.65:
            cluster.isolate(name)
        elif choice < 0.80:
            cluster.block((name, rng.choice(names)))
        else:
            cluster.heal()
        cluster.at(rng.uniform(20, 900), act)

    act()


def compactor(cluster, until_ms):
    """Now and then a node takes a snapshot and gives its log back, with a margin or without."""

    def act():
        if cluster.now < until_ms:
            cluster.compact(cluster.rng.choice(list(cluster.members)), cluster.rng.choice([0, 3]))
            cluster.at(cluster.rng.uniform(50, 2500), act)

    act()


NEAR_SLOTS = 50
"""Who lags no further has caught up."""


def operator(cluster, until_ms):
    """Now and then the membership changes: nodes are added, promoted, swapped, demoted, removed,
    and come back under their names with empty disks; quorums of other sizes are set."""
    rng = cluster.rng
    spares = ["n7", "n8", "n9"]

    def act():
        if cluster.now >= until_ms:
            return
        cluster.at(rng.uniform(100, 2500), act)
        leader = cluster.leader()
        if not leader:
            return
        present = cluster.members[leader].node.membership
        voters = list(present.voters)
        applied = cluster.members[leader].node.applied
        learners = [
            name
            for name in present.learners
            if (node := cluster.members[name].node) and applied - node.applied < NEAR_SLOTS
        ]
        out = [name for name in [*cluster.first, *spares] if name not in present.members]
        choice = rng.random()
        sizes = {"phase1": 0, "phase2": 0}
        what = None
        if choice < 0.3 and out:
            name = rng.choice(out)
            anew(cluster, name)
            what = {"learners": [name]}
        elif choice < 0.55 and learners and len(voters) < 5:
            what = {"voters": [rng.choice(learners)]}
        elif choice < 0.7 and learners:
            what = {"voters": [rng.choice(learners)], "gone": [rng.choice(voters)]}
        elif choice < 0.8 and len(voters) > 1:
            what = {"gone": [rng.choice(voters)]}
        elif choice < 0.85 and len(voters) > 1:
            what = {"learners": [rng.choice(voters)]}
        elif choice < 0.92 and len(voters) > 2:
            what, sizes = {}, {"phase1": len(voters), "phase2": 1}
        elif learners:
            what = {"gone": [rng.choice(learners)]}
        if what is not None:
            new = changed(cluster, present, **what, **sizes)
            cluster.submit(leader, change_entry(present.epoch, new.to_command()))

    cluster.at(rng.uniform(300, 1500), act)


def anew(cluster, name):
    """A node of this name with an empty disk, in place of the one that was removed, if any."""
    member = cluster.members.get(name)
    directory = cluster.rng.randint(1, 1 << 40)
    if member is None:
        cluster.join(name, directory)
        return
    if member.node is not None:
        cluster.crash(name)
    member.durable, member.snapshot, member.floor = [], None, 1
    member.joins, member.directory_id, member.departed = True, directory, False
    cluster.promised[name] = NULL_BALLOT
    cluster.start(name)


TIGHT = {
    "promise_bytes_max": 200,
    "accept_ahead_slots_max": 8,
    "catch_up_slots_max": 3,
    "window_slots_max": 6,
    "eager_slots_max": 6,
    "batch_commands_max": 1,
    "queue_commands_max": 2,
}
"""Bounds so small that every run meets them: paged promises, laggards, busy answers."""


def run_chaos(seed, *, size=3, duration_ms=15_000, options=None, changing=False):
    """One whole run; raises AssertionError on any violation. Returns the cluster. Half of the
    seeds run with the ``TIGHT`` bounds unless ``options`` are given. ``changing``: so does the
    membership."""
    options = options or random.Random(seed).choice([None, TIGHT])
    cluster = Cluster(size, seed, options=options)
    rng = cluster.rng
    cluster.loss = rng.choice([0.0, 0.01, 0.1])
    cluster.duplicate = rng.choice([0.0, 0.05])
    cluster.replays = rng.choice([0.0, 0.01])
    cluster.lazy = rng.choice([0.0, 0.5])
    cluster.delay_ms = rng.choice([(0.2, 2.0), (0.2, 20.0), (1.0, 80.0)])
    cluster.sync_ms = rng.choice([(0.1, 2.0), (1.0, 40.0)])
    clients = [CountingClient(cluster, b"c%d" % i) for i in range(4)]
    readers = [Reader(cluster, clients) for _ in range(3)]

    def on_reply(token, reply):
        for each in (*clients, *readers):
            each.on_reply(token, reply)

    cluster.on_reply = on_reply
    nemesis(cluster, duration_ms)
    if rng.random() < 0.6:
        compactor(cluster, duration_ms + 2000)
    if changing:
        operator(cluster, duration_ms)
    cluster.run(duration_ms + 1)
    if changing:
        let_strangers_go(cluster)
    finish(cluster, clients, readers)
    return cluster


def let_strangers_go(cluster):
    """All is healed: a node that is no member hears of it and ends."""

    def done():
        leader = cluster.leader()
        if not leader:
            return False
        present = cluster.members[leader].node.membership
        strangers = [m for m in cluster.up() if m.name not in present.members]
        up = {member.name for member in cluster.up()}
        for member in strangers:
            known = member.node.membership
            # It was never added. (Who asks is served here, also a stranger: refusing those is the
            # inbox's, which these runs do without.)
            was_never_added = not known.epoch or member.name not in present.departed
            # It missed so much that all nodes that it could ask have gone, too.
            is_alone = member.name not in known.members and not up & set(known.members)
            if was_never_added or is_alone:
                cluster.crash(member.name)
        return not strangers

    cluster.run(2_000)  # the nemesis has its last word
    # Where one vote was enough all others may lag, and elect nobody before they have caught up.
    cluster.run_until(done, max(30_000, catch_up_limit_ms(cluster)))
    leader = cluster.leader()
    cluster.compact(leader)  # one that lags far need not pull slot by slot
    epoch = cluster.members[leader].node.membership.epoch
    for member in cluster.up():
        if member.node.membership.epoch < epoch:
            # All that it knows may have gone: it is started again, with the names of today.
            cluster.crash(member.name)
            cluster.start(member.name)


def catch_up_limit_ms(cluster):
    """Who lags far pulls page after page; each may take as long as until it is asked for again."""
    applied = [member.node.applied for member in cluster.up()]
    pages = (max(applied) - min(applied)) // cluster.options.get("catch_up_slots_max", 1024)
    return 250 * pages


def finish(cluster, clients, readers):
    """The liveness phase: all is healed, so every client and reader goes on within a bound."""
    before = [client.acked for client in clients]
    served = [reader.served for reader in readers]
    cluster.run_until(
        lambda: (
            all(c.acked > b + 1 for c, b in zip(clients, before, strict=True))
            and all(r.served > s + 1 for r, s in zip(readers, served, strict=True))
        ),
        limit_ms=30_000,
    )
    for each in (*clients, *readers):
        each.stopped = True
    cluster.run(1000)  # what is still under way comes to its end
    limit_ms = 120_000 if len(cluster.members) > len(cluster.first) else 10_000
    limit_ms = max(limit_ms, catch_up_limit_ms(cluster))
    cluster.run_until(lambda: len({m.node.applied for m in cluster.up()}) == 1, limit_ms)
    cluster.check_equal()
    for client in clients:
        for member in cluster.up():
            found = member.machine.query([[1, client.key]], 1 << 20)[0]
            assert found is not None
            value, version = int(found.value), found.version
            assert value >= client.acked, "an acknowledged write is lost"
            assert value <= client.acked + 1
            assert version == value, "a write was applied twice"
