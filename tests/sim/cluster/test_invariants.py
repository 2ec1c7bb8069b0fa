"""Each rule that is always checked, broken on purpose: it must be seen."""

import pytest

from paxosd.core.acceptor import Acceptor
from paxosd.core.commands import MEMBERS, Entry
from paxosd.core.effects import AcceptRecord, PromiseRecord, Ready
from paxosd.core.genesis import Founder, Record
from paxosd.core.membership import Member, Membership
from paxosd.core.messages import Accepted, Promise
from paxosd.core.outbox import Outbox
from paxosd.core.quorum import Quorums
from paxosd.core.state.machine import Machine
from paxosd.core.types import EPOCH_ROUNDS, Ballot
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.cluster.watched import WatchedMachine
from paxosd.storage.wal import Wal
from paxosd.storage.wal_recovery import Recovered
from paxosd.wire import encode_batch, encode_entry
from tests.sim.simple import make_client, make_cluster, run_for, write

LOW, HIGH = Ballot(1, "n1"), Ballot(2, "n2")


RECORD = Record("sim", {name: Founder(True, 7) for name in ("n1", "n2", "n3")}, "")


class FakeNode:
    def __init__(self, promised=HIGH, directory_id=7, record=RECORD):
        self.promised = promised
        self.directory_id = directory_id
        self.record = record
        self.membership = Membership.of_quorums(Quorums(["n1", "n2", "n3"]))


def ready_of(**parts):
    ready = Ready()
    for name, value in parts.items():
        getattr(ready, name).extend(value)
    return ready


@pytest.fixture
def invariants():
    return Invariants()


class TestRules:
    def test_one_value(self, invariants):
        invariants.on_chosen("n1", 1, b"")
        invariants.on_chosen("n2", 1, b"")
        with pytest.raises(Violation, match="one-value: n3"):
            invariants.on_chosen("n3", 1, b"x")

    @pytest.mark.parametrize("record", [AcceptRecord(1, LOW, b"a"), PromiseRecord(LOW)])
    def test_founding_and_named(self, invariants, record):
        ready = ready_of(persist=[record])
        invariants.on_ready("n1", FakeNode(), ready)
        other = RECORD._replace(members={"n2": Founder(True, 8)})
        with pytest.raises(Violation, match="founding: n2 acts in a cluster of its own"):
            invariants.on_ready("n2", FakeNode(directory_id=8, record=other), ready)
        with pytest.raises(Violation, match="founding: n3 acts in a cluster of its own: None"):
            invariants.on_ready("n3", FakeNode(record=None), ready)
        with pytest.raises(Violation, match="named: n3 acts in epoch 0 out of directory 9"):
            invariants.on_ready("n3", FakeNode(directory_id=9), ready)
        with pytest.raises(Violation, match=r"named: n9 acts in epoch 0 .* is none"):
            invariants.on_ready("n9", FakeNode(), ready)

    def test_named_by_a_later_membership(self, invariants):
        node = FakeNode()
        members = {"n1": Member("", "", "", directory_id=8), "n2": Member("", "", "", voter=False)}
        machine = Machine()
        machine.membership = node.membership = Membership(members, epoch=1, slot=5)
        invariants.on_state("n1", 4, machine)
        ballot = Ballot(EPOCH_ROUNDS + 1, "n1")
        ready = ready_of(persist=[PromiseRecord(ballot)])
        invariants.on_ready("n1", FakeNode(ballot, directory_id=8), ready_of())
        for name, directory in (("n1", 7), ("n2", 7), ("n3", 7)):
            late = FakeNode(ballot, directory)
            late.membership = machine.membership
            with pytest.raises(Violation, match=f"named: {name} acts in epoch 1"):
                invariants.on_ready(name, late, ready)

    def test_one_proposal(self, invariants):
        invariants.on_ready("n1", FakeNode(), ready_of(persist=[AcceptRecord(1, LOW, b"a")]))
        invariants.on_ready("n2", FakeNode(), ready_of(persist=[AcceptRecord(1, HIGH, b"b")]))
        with pytest.raises(Violation, match="one-proposal"):
            invariants.on_ready("n3", FakeNode(), ready_of(persist=[AcceptRecord(1, LOW, b"b")]))

    def test_a_promise_that_goes_down(self, invariants):
        sent = ready_of(sends=[("n2", Promise(HIGH, 1, 0, 0, ()))])
        invariants.on_ready("n1", FakeNode(), sent)
        with pytest.raises(Violation, match="promise: n1 went"):
            invariants.on_ready("n1", FakeNode(LOW), Ready())
        with pytest.raises(Violation, match="promise: n1 promises"):
            invariants.on_ready("n1", FakeNode(), ready_of(persist=[PromiseRecord(LOW)]))

    def test_a_promise_that_was_never_made(self, invariants):
        sent = ready_of(sends=[("n2", Promise(HIGH, 1, 0, 0, ()))])
        with pytest.raises(Violation, match="promise: n1 sends"):
            invariants.on_ready("n1", FakeNode(LOW), sent)

    def test_a_promise_that_a_restart_forgot(self, invariants):
        sent = ready_of(sends=[("n2", Promise(HIGH, 1, 0, 0, ()))])
        invariants.on_ready("n1", FakeNode(), sent)
        invariants.recovered("n1", Recovered(promised=HIGH))
        with pytest.raises(Violation, match="promise: n1 promised"):
            invariants.recovered("n1", Recovered(promised=LOW))

    def test_a_vote_that_a_restart_forgot(self, invariants):
        vote = ready_of(publishes=[Accepted(LOW, ((1, 2),), 1)])
        invariants.on_ready("n1", FakeNode(), vote)
        held = {1: (LOW, b"a"), 2: (HIGH, b"b")}
        invariants.on_ready("n1", FakeNode(), ready_of(persist=[AcceptRecord(1, LOW, b"a")]))
        invariants.on_ready("n1", FakeNode(), ready_of(persist=[AcceptRecord(2, HIGH, b"b")]))
        invariants.recovered("n1", Recovered(promised=HIGH, accepted=held))
        invariants.recovered("n1", Recovered(promised=HIGH, commit=1, accepted={2: held[2]}))
        invariants.on_ready("n1", FakeNode(), ready_of(publishes=[Accepted(HIGH, ((2, 3),), 1)]))
        with pytest.raises(Violation, match=r"memory: n1 voted for .* in slot 3"):
            invariants.recovered("n1", Recovered(promised=HIGH, commit=1, accepted={2: held[2]}))

    def test_a_vote_that_was_never_cast(self, invariants):
        ready = ready_of(persist=[AcceptRecord(1, LOW, b"a")])
        invariants.on_ready("n1", FakeNode(), ready)
        invariants.on_ready("n2", FakeNode(), ready)
        invariants.recovered("n1", Recovered(promised=LOW, accepted={1: (LOW, b"a")}))
        for name, held in (("n1", {2: (LOW, b"b")}), ("n3", {1: (LOW, b"a")})):
            with pytest.raises(Violation, match=f"memory: {name} takes for its own"):
                invariants.recovered(name, Recovered(promised=LOW, accepted=held))

    def test_a_start_with_a_promise_that_is_not_durable(self, invariants):
        invariants.started("n1", HIGH, Recovered(promised=HIGH))
        for promised in (LOW, HIGH):
            other = HIGH if promised == LOW else LOW
            with pytest.raises(Violation, match="promise: n1 starts with a promise"):
                invariants.started("n1", promised, Recovered(promised=other))

    def test_a_node_with_a_new_disk_is_forgiven(self, invariants):
        invariants.on_ready("n1", FakeNode(), ready_of(publishes=[Accepted(LOW, ((1, 2),), 1)]))
        invariants.forgive("n1")
        invariants.recovered("n1", Recovered())

    def test_what_nobody_sent(self, invariants):
        invariants.proposed.add(b"known")
        invariants.on_chosen("n1", 1, encode_batch(5, [b"known"]))
        with pytest.raises(Violation, match="proposed: slot 2"):
            invariants.on_chosen("n1", 2, encode_batch(5, [b"known", b"unknown"]))

    def test_a_change_of_the_membership_that_nobody_sent(self, invariants):
        """But one that lets a directory vote whose log was set aside."""

        def change(directory):
            members = {
                "n1": Member("a", "b", "c", directory_id=directory),
                "n2": Member("d", "e", "f"),
            }
            command = [MEMBERS, 0, Membership(members).to_command()]
            return encode_batch(5, [encode_entry(Entry(0, 1, 0, [command]))])

        invariants.forgive("n1", 77)
        invariants.on_chosen("n2", 1, change(77))
        with pytest.raises(Violation, match="proposed: slot 2"):
            invariants.on_chosen("n2", 2, change(78))

    def test_order(self, invariants):
        machine = WatchedMachine(invariants, "n1")
        machine.apply(1, None)
        with pytest.raises((Violation, AssertionError)):
            machine.apply(3, None)
        with pytest.raises(Violation, match="order: n1 applied slot 5 after slot 3"):
            invariants.on_applied("n1", 5, 3, machine)

    def test_unequal_states(self, invariants):
        one, other = WatchedMachine(invariants, "n1"), WatchedMachine(invariants, "n2")
        one.apply(1, None)
        other.chain = 99
        with pytest.raises(Violation, match="equal-states: after slot 1 n2"):
            other.apply(1, None)

    def test_the_log(self, invariants):
        invariants.on_chosen("n1", 1, b"")
        with pytest.raises(Violation, match="log: the log of n2"):
            invariants.check_log("n2", 1, b"x")

    def test_one_leader(self, invariants):
        invariants.on_leader("n1", LOW)
        with pytest.raises(Violation, match="one-leader"):
            invariants.on_leader("n2", LOW)


class TestBrokenProduct:
    """The product with one safeguard removed, in a running cluster."""

    def run_into(self, monkeypatch, rule, seeds=range(1, 6)):
        for seed in seeds:
            try:
                cluster = make_cluster(seed)
                cluster.elect()
                client, _ = make_client(cluster, timeout_ms=20_000)
                for _ in range(10):
                    write(cluster, client, 20_000)
                cluster.crash(power=True)
                cluster.start()
                cluster.elect()
                write(cluster, client, 20_000)
                run_for(cluster, 500)
            except Violation as breach:
                if breach.kind in rule:
                    return
                raise
        raise AssertionError("nothing was noticed")

    def test_votes_before_the_sync(self, monkeypatch):
        def open_at_once(self):
            self._synced = self._ticket
            return original(self)

        original = Outbox._open
        monkeypatch.setattr(Outbox, "_open", open_at_once)
        self.run_into(monkeypatch, ("memory", "promise"))

    def test_a_log_that_is_not_written(self, monkeypatch):
        original = Wal.append

        def forget_accepts(self, records):
            original(self, [r for r in records if not isinstance(r, AcceptRecord) or r.slot < 5])

        monkeypatch.setattr(Wal, "append", forget_accepts)
        with pytest.raises((Violation, KeyError)):
            self.run_into(monkeypatch, ("memory", "log"))

    def test_an_acceptor_that_forgets_its_promise(self, monkeypatch):
        def lower(self, message, *rest):
            answer = original(self, message, *rest)
            self.promised = LOW
            return answer

        original = Acceptor.receive_prepare
        monkeypatch.setattr(Acceptor, "receive_prepare", lower)
        self.run_into(monkeypatch, ("promise", "memory"))

    def test_a_state_machine_of_its_own_mind(self, monkeypatch):
        original = Machine._finish_slot

        def differ(self, slot, *rest):
            original(self, slot, *rest)
            if slot == 7:
                self.chain ^= id(self) & 0xFFFF | 1

        monkeypatch.setattr(Machine, "_finish_slot", differ)
        self.run_into(monkeypatch, ("equal-states",))
