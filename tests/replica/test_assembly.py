"""From a data directory to a node: what is done before what, and what a start leaves behind."""

import errno
import random
from pathlib import Path

import pytest

from paxosd.bus.inbox import Inbox
from paxosd.bus.peers import PeerEndpoints
from paxosd.core.agreement import CHAIN, Difference
from paxosd.core.effects import PromiseRecord
from paxosd.core.genesis import Founder, Record
from paxosd.core.membership import Membership
from paxosd.core.messages import Accepted, Genesis, Hello, Removed
from paxosd.core.options import NodeOptions
from paxosd.core.quorum import Quorums
from paxosd.core.requests import AdminRequest
from paxosd.core.roster import use_membership
from paxosd.core.run_id import boot_count_of, make_run_id
from paxosd.core.state.machine import Machine
from paxosd.core.types import Ballot
from paxosd.faults.plan import FaultPlan
from paxosd.replica import assembly
from paxosd.replica.assembly import Equipment, assemble, make_replica
from paxosd.replica.ports import Ports, ReplicaOptions
from paxosd.snapshot.keeper import SnapshotOptions
from paxosd.storage import identity
from paxosd.storage.disk import StorageError
from paxosd.storage.node_directory import NodeDirectory
from paxosd.storage.small_files import write_file
from paxosd.storage.standing import WRITE_AGAIN_MS
from paxosd.storage.wal import Wal, WalOptions
from paxosd.wire import EntryLimits
from tests.snapshot.lives import Lines
from tests.storage.memdisk import SMALL, MemDisk

NAMES = ("n1", "n2", "n3")
CONTACTS = {name: PeerEndpoints(name, name) for name in NAMES[1:]}
VOTE = Accepted(Ballot(1, "n1"), ((1, 1),), 1)
PROMISED = Ballot(7, "n2")


class Site:
    """The disks of n1 of three, started again and again."""

    def __init__(self):
        self.home, self.disk, self.lines = MemDisk(), MemDisk(), Lines()
        self.claims, self.harm = [], lambda disk: disk
        self.bits = random.Random(3)

    def start(self, cluster="c", node="n1", *, arriving=True, epoch=0):
        directory = NodeDirectory(
            cluster=cluster, node=node, home=self.home, log_disk=self.disk, place="/d"
        )
        equipment = Equipment(
            log=self.lines,
            log_disk=self.log_disk,
            now_ms=lambda: 5.0,
            wall_ms=lambda: 1_000,
            rng=random.Random(1),
            wal_options=WalOptions(segment_bytes=SMALL, prepare_ahead=False),
            random_bits=self.bits.getrandbits,
            identity_bits=lambda: self.bits.getrandbits,
            machine=self.machine(epoch),
        )
        options = NodeOptions(node="n1", quorums=Quorums(NAMES), cluster=cluster)
        return assemble(directory, options, CONTACTS, equipment, arriving=arriving)

    def log_disk(self, claim):
        self.claims.append(claim)
        return self.harm(self.disk)

    def machine(self, epoch):
        machine = Machine()
        if epoch:
            members = Membership.of_quorums(Quorums(NAMES)).members
            machine.membership = Membership(members, epoch=epoch)
        return machine

    def power_cut(self):
        self.home, self.disk = self.home.crash(), self.disk.crash()


@pytest.fixture
def site():
    return Site()


def test_a_first_start(site):
    parts = site.start()
    assert site.claims == [parts.claim]
    assert parts.claim.boot_count == 1
    assert boot_count_of(parts.run_id) == 1
    assert parts.node.directory_id == parts.claim.directory_id > 0
    assert parts.node.role == "newcomer"
    assert parts.links.peers == CONTACTS
    assert all(name in parts.peer_runs for name in CONTACTS)


def test_each_start_is_another_life_of_the_same_directory(site):
    peer_runs = []
    for starts in (1, 2, 3):
        parts = site.start()
        assert (parts.claim.boot_count, parts.claim.directory_id) == (starts, site.claims[0][1])
        peer_runs.append(parts.run_id)
        parts.memory.wal.close()
        site.power_cut()
    assert [boot_count_of(run_id) for run_id in peer_runs] == [1, 2, 3]
    assert len({run_id - make_run_id(boot_count_of(run_id), 0) for run_id in peer_runs}) == 3, (
        "their random bits"
    )


def test_promises_and_heard_lives_are_those_of_the_start_before(site):
    parts = site.start()
    parts.memory.wal.append([PromiseRecord(PROMISED)])
    parts.memory.wal.sync()
    hello = Hello(77, challenge=parts.run_id)
    assert parts.peer_runs.admit("n2", make_run_id(2, 9), hello) == make_run_id(2, 9)
    parts.memory.wal.close()
    site.power_cut()
    parts = site.start()
    assert parts.node.promised == PROMISED
    assert parts.peer_runs.known("n2") == make_run_id(2, 9)
    assert parts.peer_runs.admit("n2", make_run_id(1, 9), VOTE) < 0


@pytest.mark.parametrize(("cluster", "node"), [("other", "n1"), ("c", "n2")])
def test_nothing_of_anybody_elses_memory_is_looked_at(site, cluster, node):
    site.start().memory.wal.close()
    before = (site.home.contents(), site.disk.contents())
    site.claims.clear()
    with pytest.raises(identity.IdentityError, match="belongs to"):
        site.start(cluster, node)
    assert (site.home.contents(), site.disk.contents()) == before
    assert site.claims == [], "no fault acts, no log is opened"


def test_a_log_without_an_identity_is_refused(site):
    site.start().memory.wal.close()
    site.home = MemDisk()
    with pytest.raises(identity.IdentityError, match="identity file is missing"):
        site.start()


def test_the_log_is_read_through_its_faults(site):
    site.start().memory.wal.close()

    class Broken:
        def __getattr__(self, name):
            raise StorageError("faulty")

    site.harm = lambda disk: Broken()
    with pytest.raises(StorageError, match="faulty"):
        site.start()
    assert site.claims[-1].boot_count == 2, "counted all the same"


def test_a_lost_memory_is_lost_to_node_and_standing_alike(site):
    parts = site.start()
    founders = {name: Founder(True, parts.claim.directory_id) for name in NAMES}
    identity.write_genesis(site.home, Record("c", founders, ""))
    parts.memory.wal.append([PromiseRecord(PROMISED)])
    parts.memory.wal.sync()
    parts.memory.wal.close()
    for name in site.disk.list():
        site.disk.unlink(name)
    site.disk.sync_dir()
    before = parts.claim.directory_id
    parts = site.start()
    assert parts.memory.lost
    assert parts.node.directory_id == parts.memory.directory_id != before
    assert parts.node.forgetful
    parts.node._admission._lose("n2")
    parts.standing.look()
    assert parts.node.directory_id == parts.memory.directory_id, "one loss is one new identity"
    parts.memory.wal.close()
    site.power_cut()
    parts = site.start()
    assert (parts.claim.lost, parts.claim.repaired) == (True, True)
    assert not parts.memory.lost
    assert parts.node.forgetful
    parts.node._admission._lose("n2")
    parts.standing.look()
    assert parts.node.directory_id == parts.claim.directory_id, "one loss is one new identity"


def test_one_that_lost_nothing_that_acted_gets_a_new_identity_once_it_did(site):
    """Its directory lost what had never acted, and is whole for that; then it acted, and a peer
    heard more of it than it knows: the leader named the directory that had lost its memory, and
    so it never voted again (simulator, plain, 990027)."""
    parts = site.start()
    parts.memory.wal.close()
    identity.renew(site.home, repaired=False, random_bits=site.bits.getrandbits)
    parts = site.start()
    assert parts.claim.lost
    assert not parts.node.memory_lost
    parts.node._admission._lose("n2")
    parts.standing.look()
    assert parts.node.directory_id != parts.claim.directory_id


def test_one_that_has_no_vote_any_more_gets_one_new_identity_not_one_a_turn(site):
    """Emptied, a voter by its file, and a learner by the log that it then learned: the leader that
    made it a voter named a directory that was another one by then (simulator, members, 990569)."""
    parts = site.start()
    node, first = parts.node, parts.claim.directory_id
    node._admission._lose("n2")
    parts.standing.look()
    second = node.directory_id
    assert second != first
    members = node.membership.members
    learner = members | {"n1": members["n1"]._replace(voter=False)}
    use_membership(node._context, Membership(learner, epoch=1))
    for _ in range(3):
        parts.standing.look()
        assert not node.forgetful
        assert node.directory_id == second
    parts.memory.wal.close()
    site.power_cut()
    parts = site.start()
    assert (parts.claim.directory_id, parts.claim.lost) == (second, True)
    members |= {"n1": members["n1"]._replace(directory_id=second)}
    use_membership(parts.node._context, Membership(members, epoch=2))
    parts.node._admission.review()
    parts.standing.look()
    assert not parts.node.memory_lost
    parts.memory.wal.close()
    assert not site.start().claim.lost


FAILURES = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.EIO]


def _forget(site, node):
    node._admission._lose("n2")
    return lambda: node.directory_id != site.claims[-1].directory_id


def _diverge(site, node):
    node._comparison._agreement.difference = Difference(CHAIN, 5, 1, 2, ("n2", "n3"))
    node._context.diverged = True
    return lambda: identity.diverged(site.home) == 5


def _hear_number(site, node):
    use_membership(node._context, site.machine(1).membership)
    node.hear_genesis(0x5EED)
    return lambda: identity._read_identity(site.home)["genesis"] == f"{0x5EED:016x}"


@pytest.mark.parametrize("number", FAILURES, ids=errno.errorcode.get)
@pytest.mark.parametrize("happen", [_forget, _diverge, _hear_number])
def test_what_the_disk_does_not_take_is_written_later_and_the_node_goes_on(site, happen, number):
    parts = site.start()
    is_written = happen(site, parts.node)
    site.home.fail["fdatasync"] = number
    for now_ms in (0.0, 1.0, 10_000.0):
        parts.standing.look(now_ms)
        assert not is_written()
    reason = errno.errorcode[number]
    assert [each["reason"] for each in site.lines.named("storage.unwritten")] == [reason]
    site.home.fail.clear()
    parts.standing.look(10_000.0 + WRITE_AGAIN_MS)
    assert is_written()


def test_it_does_not_vote_before_its_lost_memory_is_written_down(site):
    parts = site.start()
    parts.node._admission._lose("n2")
    site.home.fail["fdatasync"] = errno.ENOSPC
    parts.standing.look()
    assert parts.node.forgetful
    assert parts.node.directory_id == parts.claim.directory_id


def test_one_that_was_removed_ends_whatever_the_disk_does(site):
    parts = site.start()
    parts.node._roster.removed = Removed(3, 7)
    site.home.fail["fdatasync"] = errno.ENOSPC
    parts.standing.look()
    assert parts.standing.removed


def test_a_founding_that_cannot_be_written_is_none_yet(site):
    parts = site.start()
    founders = {name: Founder(True, parts.claim.directory_id) for name in NAMES}
    founding = parts.node._roles.founding
    founding.record = Record("c", founders, "")
    assert founding.active
    site.home.fail["fdatasync"] = errno.ENOSPC
    parts.standing.look()
    assert parts.node.record is None
    assert not site.lines.named("cluster.founded")
    site.home.fail.clear()
    parts.standing.look(WRITE_AGAIN_MS)
    assert identity.read_genesis(site.home) == parts.node.record == founding.record


def test_what_never_had_a_record_has_no_memory_to_lose(site):
    """It never acted: it may still found a cluster, whatever became of its log."""
    site.start().memory.wal.close()
    for name in site.disk.list():
        site.disk.unlink(name)
    site.disk.sync_dir()
    for _ in range(2):
        parts = site.start()
        assert not parts.node.forgetful
        assert parts.node.role == "newcomer"
        parts.standing.look()
        parts.memory.wal.close()
        site.power_cut()
    assert not site.claims[-1].lost, "and that is written down"


@pytest.mark.parametrize("epoch", [0, 1])
def test_the_number_of_a_founding_that_others_told_of_is_kept_by_a_member(site, epoch):
    """Nobody may be left who has the record, once founders were emptied one after the other: a
    leader that invented another number refused who was away meanwhile (simulator, seed 991080).
    Who was let in nowhere may have heard it from another cluster of that name."""
    parts = site.start(epoch=epoch)
    parts.node.hear_genesis(0x5EED)
    parts.standing.look()
    parts.memory.wal.close()
    site.power_cut()
    assert site.start(epoch=epoch).node.genesis == (0x5EED if epoch else 0)


@pytest.mark.parametrize("epoch", [0, 1])
def test_so_is_that_of_a_record_that_names_another_directory(site, epoch):
    """The record itself is not written: this directory was emptied, and did not found anything
    (seed 990245)."""
    parts = site.start()
    record = Record("c", {name: Founder(True, 1) for name in NAMES}, "")
    parts.node.step("n2", 1, Genesis(record.to_json()))
    assert parts.node.record == record
    if epoch:
        use_membership(parts.node._context, site.machine(epoch).membership)
    parts.standing.look()
    parts.memory.wal.close()
    site.power_cut()
    parts = site.start()
    assert parts.node.record is None
    assert parts.node.genesis == (record.hash if epoch else 0)


def test_a_record_needs_no_number_beside_it(site):
    parts = site.start()
    founders = {name: Founder(True, parts.claim.directory_id) for name in NAMES}
    record = Record("c", founders, "")
    identity.write_genesis(site.home, record)
    parts.memory.wal.close()
    parts = site.start(epoch=1)
    parts.standing.look()
    assert parts.node.genesis == record.hash
    parts.memory.wal.close()
    assert site.start().claim.genesis == 0


def test_the_log_is_closed_if_what_follows_fails(site, monkeypatch):
    closed = []
    close = Wal.close
    monkeypatch.setattr(Wal, "close", lambda wal: (closed.append(wal), close(wal)))
    write_file(site.home, "peers", "{")
    with pytest.raises(identity.IdentityError, match="peers"):
        site.start()
    assert len(closed) == 1


def test_a_lesson_may_do_without_the_question_who_it_was(site):
    assert site.start(arriving=False).node.role == "candidate"


class Bus:
    def __init__(self):
        self.sent, self.peers, self.answers = [], None, []

    def send(self, to, message):
        self.sent.append((to, message))
        return True

    def answer(self, client, message):
        self.answers.append(message)
        return True

    def publish(self, topic, payload): ...
    def publish_accepted(self, message): ...
    def receive_peers(self, limit):
        return []

    receive_clients = receive_peers

    def disconnected(self):
        return []

    def set_peers(self, peers, pins):
        self.peers = peers

    has_subscriptions = False
    relay = None

    def take_on(self, parts):
        self.inbox = Inbox("n1", FaultPlan(), parts.peer_runs, answer=self.send, refused=print)
        return self


class Idle:
    """A committer and helper that is never done."""

    def start(self, job, **_): ...
    def finished(self):
        return []


def replica_of(parts, bus, snapshots):
    options = ReplicaOptions(
        cluster="c", node="n1", boot_count=1, contacts=CONTACTS, entry_limits=EntryLimits(),
        read_bytes_max=1 << 20, catch_up_bytes_max=1 << 20, subscriptions_max=1,
    )  # fmt: skip
    ports = Ports(
        bus=bus, committer=Idle(), helper=Idle(), log=Lines(), plan=FaultPlan(),
        faults_enabled=False, now_ms=lambda: 5.0, status=parts.node.status, crash=lambda: None,
    )  # fmt: skip
    return make_replica(parts, options, snapshots, ports)


def refusal(replica, bus, verb, args):
    """What the replica has against this admin request."""
    replica.service.receive(b"c", AdminRequest(1, verb, args))
    return bus.answers[-1].message


@pytest.mark.parametrize("snapshots", [None, SnapshotOptions(cluster="c", members={})])
def test_a_replica_of_it_says_hello_to_all(site, snapshots):
    parts = site.start()
    bus = Bus().take_on(parts)
    replica = replica_of(parts, bus, snapshots)
    replica.turn(5_000.0, 6_000)
    hello = Hello(parts.claim.directory_id)
    assert {("n2", hello), ("n3", hello)} <= set(bus.sent)
    assert bus.peers == CONTACTS
    assert replica.standing is parts.standing
    assert (snapshots is None) == (replica.exchange is None)
    assert "no snapshots" in refusal(replica, bus, "snapshot_read", {}) or snapshots is not None
    assert "does not lead" in refusal(replica, bus, "transfer_leader", {"name": "n2"})


def test_there_is_one_way_from_a_directory_to_a_node():
    """Daemon, simulator and lessons have no other: none of them names the steps."""
    package = Path(assembly.__file__).parent
    steps = (
        "make_restart(",
        "recover(",
        "identity.claim(",
        "life_number(",
        "Standing(",
        "Replica(",
    )
    own = {"assembly.py", "recovery.py", "node_directory.py"}
    for path in package.rglob("*.py"):
        if path.name in own or path.is_relative_to(package / "core"):
            continue
        found = [step for step in steps if f" {step}" in path.read_text(encoding="utf-8")]
        assert not found, f"{path.name} does by itself: {found}"
