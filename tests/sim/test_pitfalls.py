"""Bugs that systems like this really had, each as a scene in the simulator.

The numbers are those of the lines on Paxos in the project's list; docs/TESTING.md says which
test stands for which line.
"""

import pytest

from paxosd.check import history as words
from paxosd.check.exactly_once import FinalRow, check_exactly_once
from paxosd.check.linearizability import check_linearizable
from paxosd.check.workload import Request
from paxosd.core.commands import CAS_VALUE, DELETE_RANGE
from paxosd.core.run_id import boot_count_of
from paxosd.sim.nemesis.director import Director
from paxosd.sim.nemesis.schedule import Directive
from tests.sim.simple import KEYS, make_client, make_cluster, run_for, write

END = b"end"


class Scene:
    """A cluster, a client with its history, and faults by name."""

    def __init__(self, seed=1, count=3, **options):
        self.cluster = make_cluster(seed, count, **options)
        self.client, self.history = make_client(self.cluster, timeout_ms=4000)
        self.director = Director(self.cluster)
        self._rules = 0
        self.leader = self.cluster.elect()

    def do(self, verb, node="", **args):
        self.director.carry_out(Directive(0, verb, node, args))

    def cut(self, *names):
        """Cut these nodes off from all others; messages between them pass."""
        self._rules += 1
        others = [name for name in self.cluster.names if name not in names]
        self.do("fault_add", kind="partition", name=f"cut{self._rules}",
                **{"from": list(names), "to": others})  # fmt: skip

    def isolate(self, name):
        """Cut a node off from all, clients too."""
        self.cut(name)
        self.do("client_cut", name)

    def heal(self):
        self.director.heal()

    def process(self, name):
        return self.cluster.processes[name]

    def others(self, *names):
        return [name for name in self.cluster.names if name not in names]

    def write(self, key=KEYS[0], value=None):
        """One put, to its end; returns its operation, which was acknowledged."""
        value = self.client.workload.new_value() if value is None else value
        operation = self.put(key, value)
        self.wait(lambda: operation.returned >= 0)
        assert operation.acknowledged, operation
        return operation

    def write_at_last(self, tries=10):
        """As :meth:`write`, where a client may have to try for longer than one put takes."""
        for _ in range(tries):
            operation = self.put(KEYS[0], self.client.workload.new_value())
            self.wait(lambda operation=operation: operation.returned >= 0)
            if operation.acknowledged:
                return
        raise AssertionError("no write ends")

    def put(self, key, value):
        return self.client.write(Request(words.PUT, key, [1, key, value], value=value))

    def wait(self, condition, limit_ms=20_000, what="it"):
        assert self.cluster.run_until(condition, limit_ms), f"{what} did not come in time"

    def settle(self):
        """Heal, let all operations end and all nodes become equal; then judge the history."""
        self.heal()
        self.wait(lambda: self.client.idle, 60_000)
        self.write(END)
        cluster = self.cluster
        self.wait(
            lambda: cluster.agreed_leader() != "" and len(set(cluster.applied())) == 1,
            what="equal nodes",
        )
        stores = [process.machine.store for process in cluster.processes.values()]
        assert all(store.data == stores[0].data for store in stores)
        final = {
            key: FinalRow(*stores[0].data[key]) if key in stores[0].data else None
            for key in (*KEYS, END)
        }
        for verdict in (
            check_exactly_once(self.history, final),
            check_linearizable(self.history, alone=True),
        ):
            assert verdict.ok, verdict.explanation


# -- 1, 3: memory that was lost


def lost_memory(scene, peer_runs, lose):
    """The leader and one follower choose a value that the third node has not; then the follower
    loses memory, and the leader its power: (value, follower, third).

    ``lives``: how often the follower was started before, all of which the third node heard;
    ``lose(follower)``: how it loses memory.
    """
    follower, third = scene.others(scene.leader)
    scene.write()
    scene.do("remember", follower)
    for run_id in range(2, peer_runs + 1):
        scene.process(follower).crash(power=True)
        scene.do("restart", follower)
        peer_runs = scene.process(third).bus.inbox.peer_runs
        scene.wait(
            lambda run_id=run_id, peer_runs=peer_runs: (
                boot_count_of(peer_runs.known(follower)) == run_id
            )
        )
        scene.write()
    run_for(scene.cluster, 2000)
    assert scene.cluster.agreed_leader() == scene.leader
    scene.cut(third)
    value = scene.write().value
    scene.process(follower).crash(power=True)
    lose(follower)
    scene.cluster.invariants.forgive(follower)
    scene.do("crash", scene.leader)
    scene.do("fault_clear", third)
    return value, follower, third


def check_found_again(scene, third, value):
    """With the leader back, the value is where it was."""

    def there():
        found = scene.process(third).machine.store.get(KEYS[0])
        return found is not None and found.value == value

    scene.do("restart", scene.leader)
    scene.wait(there, what="the value")


def test_1_an_acceptor_whose_log_was_wiped_only_learns_until_it_is_let_back_in():
    scene = Scene()
    value, follower, third = lost_memory(
        scene, 1, lambda name: scene.process(name).disks.lose_log()
    )
    scene.do("restart", follower)
    run_for(scene.cluster, 10_000)
    assert scene.process(follower).node.role == "memory-lost"
    assert scene.cluster.leader() == "", "it and the third are no majority"
    check_found_again(scene, third, value)
    # With two of three in touch it has asked by itself, and votes again, under a new epoch.
    scene.wait(lambda: scene.process(follower).node.role == "follower", what="its vote")
    assert scene.process(follower).node.membership.epoch == 1


def test_1_an_acceptor_wiped_whole_is_not_heard_by_peers_that_knew_a_later_life():
    scene = Scene()
    value, follower, third = lost_memory(scene, 2, lambda name: scene.do("wipe", name))
    scene.do("restart", follower)
    run_for(scene.cluster, 10_000)  # the wiped one and the third, which has not got the value
    assert scene.cluster.leader() == ""
    check_found_again(scene, third, value)


def test_3_a_disk_rolled_back_by_two_lives_is_not_heard():
    scene = Scene()
    value, follower, third = lost_memory(scene, 3, lambda name: scene.do("rollback", name))
    scene.do("restart", follower)
    run_for(scene.cluster, 10_000)
    assert scene.cluster.leader() == ""
    check_found_again(scene, third, value)


@pytest.mark.parametrize("how", ["wipe", "rollback"])
def test_1_and_3_memory_lost_within_one_life_is_noticed(how):
    """The node is back with the very number of starts that its peers know; its lots differ."""
    scene = Scene()
    peer_runs = 1 if how == "wipe" else 2
    value, follower, third = lost_memory(scene, peer_runs, lambda name: scene.do(how, name))
    scene.do("restart", follower)
    run_for(scene.cluster, 12_000)
    assert scene.cluster.leader() == ""
    assert scene.process(follower).node.role == "memory-lost"
    check_found_again(scene, third, value)


@pytest.mark.parametrize("how", ["wipe", "rollback"])
def test_1_and_3_it_is_noticed_though_the_peer_was_restarted_meanwhile(how):
    """What a peer has heard is on its disk: its own restart forgets nothing."""
    scene = Scene()
    peer_runs = 1 if how == "wipe" else 2
    value, follower, third = lost_memory(scene, peer_runs, lambda name: scene.do(how, name))
    scene.process(third).crash(power=True)
    scene.do("restart", third)
    scene.do("restart", follower)
    run_for(scene.cluster, 12_000)
    assert scene.cluster.leader() == ""
    check_found_again(scene, third, value)


def test_1_a_newcomer_waits_for_every_peer_before_it_votes():
    """One peer alone may know that it was here before; so one that is down is waited for."""
    scene = Scene()
    _, follower, third = lost_memory(scene, 1, lambda name: scene.do("wipe", name))
    scene.process(third).crash(power=True)
    scene.process(third).disks.wipe()  # as if it had never met the follower
    scene.do("restart", third)
    scene.do("restart", follower)
    run_for(scene.cluster, 12_000)
    assert scene.process(follower).node.role == "newcomer"
    assert scene.cluster.leader() == ""
    scene.do("restart", scene.leader)
    run_for(scene.cluster, 12_000)
    assert scene.process(follower).node.role == "memory-lost"
    assert scene.cluster.leader() == "", "two of three have lost their memory: nobody may lead"


# -- 2: ballots


def test_2_no_ballot_is_used_twice_though_old_promises_come_again():
    scene = Scene(seed=3)
    scene.cluster.network.change(replay=0.3)
    reigns = []
    for _ in range(6):
        leader = scene.cluster.elect()
        scene.do("crash", leader)
        run_for(scene.cluster, 50)
        scene.do("restart", leader)
        run_for(scene.cluster, 2000)
        scene.write_at_last()
    ballots = scene.cluster.invariants.leaders
    reigns = list(ballots)
    assert len(reigns) >= 6
    assert reigns == sorted(reigns)
    scene.settle()


# -- 5: what was forgotten too early


def test_5_a_slot_that_one_node_has_applied_and_forgotten_is_not_decided_anew():
    """The leader and one follower apply and forget; the third, which has nothing, must lead."""
    scene = Scene(count=3)
    follower, third = scene.others(scene.leader)
    scene.cut(third)
    values = [scene.write(KEYS[0]).value for _ in range(10)]
    run_for(scene.cluster, 2000)
    scene.do("pause", scene.leader)
    for name in (follower, third):
        scene.director._fault_clear(scene.process(name), {})
    scene.wait(lambda: scene.process(third).node.applied >= 10, what="the third catching up")
    assert scene.process(third).machine.store.get(KEYS[0]).value == values[-1]
    scene.settle()


# -- 6: applied, but not on disk


@pytest.mark.parametrize("seed", range(4))
def test_6_applied_before_durable_a_disk_error_and_a_rejoin_leave_no_hole(seed):
    scene = Scene(seed=seed)
    victim = scene.others(scene.leader)[seed % 2]
    for number in range(3):
        scene.do("fault_add", victim, kind="fsync-error", name=f"e{number}", on=[victim])
        for _ in range(5):
            scene.write()
        scene.wait(lambda: not scene.process(victim).up, what="the end of the node")
        scene.write()
        scene.do("restart", victim)
        process = scene.process(victim)
        assert process.up, process.failure
        scene.wait(lambda process=process: process.node.applied >= 5)
        for slot in range(1, process.node.applied + 1):
            value = process.replica.wal.read(slot)[1]
            scene.cluster.invariants.check_log(victim, slot, value)
    scene.settle()


# -- 7, 9: an old leader


def test_7_an_old_leader_that_is_cut_off_answers_no_read():
    scene = Scene()
    old = scene.leader
    scene.write()
    reader, history = make_client(scene.cluster, "r", timeout_ms=3000)
    reader._endpoints = [old]
    reader._begin_life()
    for name in scene.others(old):
        scene.do("client_cut", name)
    scene.cut(old)
    reader.read(reader.workload.get(KEYS[0]))  # begun while it still believes
    scene.cluster.network.cut.clear()
    scene.do("client_cut", old)
    scene.wait(lambda: scene.cluster.leader() not in ("", old))
    fresh = scene.write()
    scene.cluster.network.cut.clear()
    reader.read(reader.workload.get(KEYS[0]))
    scene.wait(lambda: reader.idle)
    late = history.operations[-1]
    assert not late.acknowledged or late.result == fresh.value
    scene.settle()


def test_9_leadership_lost_and_regained_in_the_middle_of_a_request():
    """The request of the first reign must not be answered by the second one's luck."""
    scene = Scene(seed=5)
    old = scene.leader
    scene.write()
    first, second = scene.others(old)
    scene.cut(old)
    begun = [scene.put(KEYS[1], b"lost %d" % n) for n in range(5)]
    scene.wait(lambda: scene.cluster.leader() not in ("", old))
    between = scene.cluster.leader()
    scene.write(KEYS[1], b"between")
    scene.do("crash", between)
    scene.heal()
    scene.do("pause", first if between == second else second)
    run_for(scene.cluster, 4000)
    scene.heal()
    scene.wait(lambda: all(each.returned >= 0 for each in begun))
    scene.settle()


# -- 14: a retry


@pytest.mark.parametrize("effects", range(1, 16))
def test_14_a_client_that_tries_again_with_a_new_leader_is_applied_once(effects):
    """The leader dies right before each of the effects that follow the request, so also between
    the choice and the answer."""
    scene = Scene(seed=effects)
    scene.write()
    scene.process(scene.leader).crash_point.arm(effects, power=effects % 2 == 0)
    begun = [scene.put(KEYS[2], b"once %d" % n) for n in range(4)]
    key = KEYS[3]
    begun.append(
        scene.client.write(Request(words.CAS, key, [CAS_VALUE, key, None, b"c"], value=b"c"))
    )
    scene.wait(lambda: all(each.returned >= 0 for each in begun))
    scene.wait(lambda: scene.process(scene.leader).crashes == 1)
    assert all(each.acknowledged for each in begun), begun
    scene.settle()
    store = scene.process("n1").machine.store
    assert store.get(KEYS[2]).version == 4
    assert store.get(key).version == 1


# -- 17: restarts


def test_17_all_at_once_again_and_again():
    scene = Scene(seed=3)
    for number in range(6):
        scene.write()
        scene.do("crash", power=number % 2 == 0)
        run_for(scene.cluster, 100)
        scene.do("restart")
        scene.cluster.elect()
    scene.settle()


@pytest.mark.parametrize("after_ms", [1, 30, 80, 150, 300, 600, 900])
def test_17_a_crash_in_the_first_second_of_life(after_ms):
    cluster = make_cluster(after_ms)
    for _ in range(3):
        run_for(cluster, after_ms)
        cluster.crash("", power=True)
        run_for(cluster, 20)
        cluster.start()
        assert all(process.up for process in cluster.processes.values())
    cluster.elect()
    client, _ = make_client(cluster)
    assert write(cluster, client).acknowledged


def test_17_a_restart_with_a_full_disk():
    scene = Scene(seed=4)
    for _ in range(5):
        scene.write()
    victim = scene.others(scene.leader)[0]
    scene.do("crash", victim)
    scene.process(victim).disks.set_free_bytes(0)
    scene.cluster.start(victim)
    for _ in range(3):
        scene.write()  # with or without it
    run_for(scene.cluster, 3000)
    scene.settle()
    assert scene.process(victim).up


# -- 18: part of a batch


@pytest.mark.parametrize("seed", range(12))
def test_18_a_partly_chosen_batch_across_a_leader_change(seed):
    """The accept reaches one follower only, the leader dies, the other two decide."""
    scene = Scene(seed=seed)
    second = scene.others(scene.leader)[1]
    scene.write()
    scene.do("fault_add", second, kind="drop", name="lost", message=["accept"],
             **{"from": [scene.leader], "to": [second]})  # fmt: skip
    begun = [scene.put(KEYS[n % 3], b"part %d" % n) for n in range(30)]
    begun.append(
        scene.client.write(
            Request(words.DELETE_RANGE, KEYS[0], [DELETE_RANGE, KEYS[0], KEYS[1]], end=KEYS[1])
        )
    )
    scene.process(scene.leader).crash_point.arm(1 + seed * 2, power=True)
    scene.wait(lambda: all(each.returned >= 0 for each in begun), 30_000)
    scene.wait(lambda: scene.process(scene.leader).crashes == 1)
    scene.settle()


# -- always on


def test_a_cut_that_heals_lets_every_operation_end():
    scene = Scene(seed=8)
    scene.cut(scene.leader)
    begun = [scene.put(KEYS[n % 4], b"v%d" % n) for n in range(10)]
    run_for(scene.cluster, 1500)
    scene.settle()
    assert all(each.returned >= 0 for each in begun)
