"""A damaged log is set aside as a whole, under a new identity, wherever a crash comes."""

import itertools
import random
from dataclasses import replace

import pytest

from paxosd.core.effects import AcceptRecord
from paxosd.core.types import NULL_BALLOT, Ballot
from paxosd.replica import quarantine
from paxosd.replica.recovery import recover
from paxosd.snapshot.file import snapshot_name, snapshot_slot
from paxosd.storage import identity
from paxosd.storage.disk import CorruptionError, NewerVersionError, StorageError
from paxosd.storage.wal import WalOptions
from paxosd.storage.wal_format import segment_name, segment_number
from tests.snapshot.lives import OPTIONS, CrashDisk, Life, Lines, PowerLoss, batch_of, reference
from tests.storage.memdisk import SMALL, MemDisk, nonces

OLD = 77
"""The identity of the directory at first."""
SLOTS = 160


class Machine:
    """The two disks of a node. Its crashes count the changes of both."""

    def __init__(self, home=None, disk=None):
        self.home = CrashDisk.after(home or MemDisk())
        self.disk = CrashDisk.after(disk or MemDisk())
        self.count = 0
        self.die_at = 0
        for each in (self.home, self.disk):
            each.step = lambda operation, step=each.step: (step(operation), self._count(operation))
        self.log = Lines()

    def _count(self, operation):
        if operation in ("pread", "open"):
            return
        self.count += 1
        if self.count == self.die_at:
            raise PowerLoss

    def start(self, seed=1, machine=None):
        """A claim and a memory, as a daemon begins."""
        draw = itertools.count(1000 * seed)
        claim = identity.claim(
            self.home, "c", "n1", place="/d", created="now", has_log=bool(self.segments()),
            random_bits=lambda bits: next(draw),
        )  # fmt: skip
        options = WalOptions(
            segment_bytes=SMALL, prepare_ahead=False, random_bytes=nonces(seed)
        )  # fmt: skip
        memory = recover(
            self.home, self.disk, cluster="c", node="n1", wal_options=options, log=self.log,
            now_ms=lambda: 0.0, random_bits=lambda bits: next(draw), machine=machine,
        )  # fmt: skip
        return claim, memory

    def after_crash(self, rng=None):
        """What a power loss leaves; ``rng`` None: nothing that was not synced."""
        keep = (lambda: rng.random() < 0.5) if rng else (lambda: False)
        names = [rng.randint(0, 9) if rng else 0 for _ in range(2)]
        return Machine(self.home.crash(keep, names[0]), self.disk.crash(keep, names[1]))

    def copy(self):
        return Machine(self.home.copy(), self.disk.copy())

    def segments(self):
        return sorted(name for name in self.disk.files if segment_number(name) is not None)

    def lost(self):
        """The files set aside: name → bytes."""
        found = self.disk.contents()
        return {name: found[name] for name in sorted(found) if name.startswith("lost-")}

    def snapshots(self):
        return sorted(s for name in self.disk.files if (s := snapshot_slot(name)) is not None)

    def flip(self, name, at):
        file = self.disk.files[name]
        for data in (file.data, file.durable):
            data[at] ^= 0x10

    def shell(self):
        """What the directory says of itself."""
        return identity.claim(
            self.copy().home, "c", "n1", place="/d", created="now", has_log=True
        )  # fmt: skip


@pytest.fixture(scope="module")
def written():
    """A node that has voted in SLOTS slots, with snapshots and several segments."""
    made = Machine()
    identity.claim(made.home, "c", "n1", place="/d", created="now", has_log=False,
                   random_bits=lambda bits: OLD)  # fmt: skip
    life = Life(made.disk, options=replace(OPTIONS, margin_slots=110))
    life.write(SLOTS)
    life.finish()
    life.wal.append([AcceptRecord(SLOTS + 5, Ballot(9, "n2"), b"a vote above")])
    life.wal.sync()
    identity.mark_log_created(made.home)
    assert len(made.segments()) >= 4
    assert life.wal.first_slot > 1
    return made


@pytest.fixture
def node(written):
    return written.copy()


def check_set_aside(node, memory, damaged, slot):
    """The node goes on as another, with what the snapshot of ``slot`` holds and nothing more."""
    assert memory.lost
    assert memory.directory_id != OLD
    shell = node.shell()
    assert (shell.directory_id, shell.lost, shell.repaired) == (memory.directory_id, True, True)
    assert memory.recovered.promised == NULL_BALLOT
    assert memory.recovered.accepted == {}
    assert memory.recovered.commit == memory.machine.applied == slot
    assert memory.wal.first_slot == (slot + 1 if slot else 1)
    assert memory.machine.chain == reference(slot).chain
    assert memory.machine.store.data == reference(slot).store.data
    assert node.lost() == {f"lost-1-{name}": data for name, data in damaged.items()}
    assert node.segments() == [segment_name(1)]
    assert not quarantine.begun(node.home)


def log_of(node):
    found = node.disk.contents()
    return {name: found[name] for name in node.segments()}


class TestDamage:
    def test_a_sound_log_is_no_such_thing(self, node):
        claim, memory = node.start()
        assert (claim.directory_id, claim.lost, memory.lost, memory.directory_id) == (
            OLD,
            False,
            False,
            0,
        )
        assert memory.recovered.promised == Ballot(9, "n2")
        assert memory.machine.applied >= SLOTS - 1
        assert node.lost() == {}

    def test_anywhere_in_the_log(self, node):
        """But in its last group: there it looks like one that a crash tore."""
        last = node.segments()[-1]
        slot = node.snapshots()[-1]
        ends = {name: len(data.rstrip(b"\0")) for name, data in log_of(node).items()}
        ends[last] = bytes(node.disk.files[last].data).index(b"a vote above") - 200
        tried = 0
        for name, end in ends.items():
            for at in [*range(0, 512, 101), *range(512, end - 1, 211), end - 2]:
                bad = node.copy()
                bad.flip(name, at)
                damaged = log_of(bad)
                _, memory = bad.start()
                check_set_aside(bad, memory, damaged, slot)
                tried += 1
        assert tried > 60

    @pytest.mark.parametrize("which", [0, 1])
    def test_a_missing_segment(self, node, which):
        name = node.segments()[which]
        del node.disk.files[name], node.disk.durable_names[name]
        damaged = log_of(node)
        _, memory = node.start()
        check_set_aside(node, memory, damaged, node.snapshots()[-1])

    def test_a_log_that_is_gone(self, node):
        for name in node.segments():
            del node.disk.files[name], node.disk.durable_names[name]
        _, memory = node.start()
        check_set_aside(node, memory, {}, node.snapshots()[-1])

    def test_everything_is_gone(self, node):
        node.disk.files, node.disk.durable_names = {}, {}
        _, memory = node.start()
        check_set_aside(node, memory, {}, 0)

    def test_the_newest_snapshot_as_well(self, node):
        older, newest = node.snapshots()
        node.flip(snapshot_name(newest), 60)
        node.flip(node.segments()[0], 600)
        damaged = log_of(node)
        _, memory = node.start()
        check_set_aside(node, memory, damaged, older)
        assert memory.kept.newest.slot == older

    def test_all_snapshots_though_the_log_is_sound(self, node):
        for slot in node.snapshots():
            node.flip(snapshot_name(slot), 60)
        damaged = log_of(node)
        _, memory = node.start()
        check_set_aside(node, memory, damaged, 0)

    def test_that_shows_only_when_the_log_is_read_again(self, node, monkeypatch):
        """Found by the replay: the state is of some slots by then."""
        older, newest = node.snapshots()
        node.flip(snapshot_name(newest), 60)
        reads = []

        def read(wal, slot):
            reads.append(slot)
            if slot == older + 3:
                raise CorruptionError("bad", segment="wal-00000007.log", offset=9)
            return None, batch_of(slot)

        monkeypatch.setattr("paxosd.storage.wal.Wal.read", read)
        damaged = log_of(node)
        _, memory = node.start()
        assert reads == [older + 1, older + 2, older + 3]
        check_set_aside(node, memory, damaged, older)

    def test_it_is_told_where_and_what_to_do(self, node):
        name = node.segments()[1]
        node.flip(name, 700)
        node.start()
        (corrupt,) = node.log.named("storage.corrupt")
        assert corrupt["segment"] == name
        assert 512 <= corrupt["offset"] <= 700
        (lost,) = node.log.named("node.memory_lost")
        assert "majority" in lost["advice"]


class TestRefused:
    """What is no damage, and not to be set aside."""

    def refuse(self, node, match, kind=(StorageError, OSError)):
        before = node.home.contents() | node.disk.contents()
        with pytest.raises(kind, match=match) as caught:
            node.start()
        assert not isinstance(caught.value, CorruptionError)
        after = node.home.contents() | node.disk.contents()
        assert {**after, "incarnation": b""} == {**before, "incarnation": b""}

    def test_a_log_of_another_node(self, node):
        other = Machine()
        other.start()
        foreign = other.disk.files[segment_name(1)]
        text = bytes(foreign.data).replace(b"\x02n1", b"\x02n7")
        header = text[:508]
        from zlib import crc32

        foreign.data[:512] = header + crc32(header).to_bytes(4, "little")
        node.disk.files = {segment_name(1): foreign}
        self.refuse(node, "belongs to node 'n7'")

    def test_a_disk_that_cannot_be_read(self, node):
        node.disk.fail = {"pread": 5}
        self.refuse(node, "errno 5")

    def test_a_log_of_another_version(self, node, monkeypatch):
        monkeypatch.setattr("paxosd.storage.wal_format.VERSION", 2)
        self.refuse(node, "version of paxosd that wrote", NewerVersionError)

    def test_snapshots_of_another_version(self, node, monkeypatch):
        monkeypatch.setattr("paxosd.snapshot.file._FIELDS_OF", {9: 11})
        self.refuse(node, "version of paxosd that wrote", NewerVersionError)


class TestAfterwards:
    def test_the_next_start_is_an_ordinary_one_of_the_new_identity(self, node):
        node.flip(node.segments()[0], 600)
        _, memory = node.start()
        slot = memory.machine.applied
        memory.wal.append([AcceptRecord(slot + 1, Ballot(3, "n2"), b"x")])
        memory.wal.sync()
        again = node.after_crash()
        claim, found = again.start(seed=2)
        assert (claim.directory_id, claim.lost, claim.repaired) == (memory.directory_id, True, True)
        assert (found.lost, found.directory_id) == (False, 0)
        assert found.recovered.promised == Ballot(3, "n2")
        assert found.machine.applied == slot
        assert again.log.named("storage.corrupt") == []

    def test_one_generation_is_kept(self, node):
        node.flip(node.segments()[0], 600)
        node.start()
        first = node.lost()
        node.flip(segment_name(1), 3)
        damaged = log_of(node)
        node.start(seed=2)
        assert node.lost() == {f"lost-2-{name}": data for name, data in damaged.items()}
        # One that is gone leaves nothing to keep in the place of that.
        for name in node.segments():
            node.disk.unlink(name)
        node.start(seed=3)
        assert list(node.lost()) == [f"lost-2-{segment_name(1)}"]
        assert first


class TestCrashAnywhere:
    @pytest.mark.parametrize("survives", ["nothing", "some"])
    def test_before_every_change_of_either_disk(self, node, survives):
        """The damage is in a place where a part of the moves would leave a log that looks sound."""
        print("seed=3")
        rng = random.Random(3) if survives == "some" else None
        node.flip(node.segments()[-1], 520)
        damaged = {f"lost-1-{name}": data for name, data in log_of(node).items()}
        slot = node.snapshots()[-1]
        whole = node.copy()
        whole.start()
        assert whole.count > 15
        for die_at in range(1, whole.count + 1):
            dying = node.copy()
            dying.die_at = die_at
            with pytest.raises(PowerLoss):
                dying.start()
            left = dying.after_crash(rng)
            claim, memory = left.start(seed=2)
            assert memory.lost or claim.lost, die_at
            assert (memory.directory_id or claim.directory_id) != OLD, die_at
            assert left.lost() == damaged, die_at
            assert memory.recovered.promised == NULL_BALLOT, die_at
            assert memory.recovered.accepted == {}, die_at
            assert memory.machine.applied == slot, die_at
            shell = left.shell()
            assert shell.lost, die_at
            assert shell.repaired, die_at
            assert shell.directory_id == (memory.directory_id or claim.directory_id), die_at

    def test_and_again_in_the_start_that_goes_on_with_it(self, node):
        node.flip(node.segments()[-1], 520)
        damaged = {f"lost-1-{name}": data for name, data in log_of(node).items()}
        for die_at in range(2, 40):
            left = node.copy()
            for seed in range(2, 60):
                left.die_at = left.count + die_at
                try:
                    claim, memory = left.start(seed)
                except PowerLoss:
                    left = left.after_crash()
                    die_at += 1  # noqa: PLW2901 - one more each time, or it would never end
                    continue
                break
            assert memory.lost or claim.lost
            assert left.lost() == damaged
            assert memory.recovered.promised == NULL_BALLOT


class TestDiverged:
    """A directory whose state is not what was decided is of no use: its snapshots neither."""

    def test_nothing_of_it_is_used(self, node):
        old = {n: d for n, d in node.disk.contents().items() if n.endswith((".log", ".paxsnap"))}
        identity.mark_diverged(node.home, 150)
        assert node.shell().directory_id == OLD, "until the next start sets its data aside"
        claim, memory = node.start()
        assert (claim.directory_id, memory.lost, memory.repaired) == (OLD, True, False)
        assert memory.directory_id != OLD
        assert memory.machine.applied == memory.recovered.commit == 0
        assert memory.recovered.promised == NULL_BALLOT
        assert memory.kept.newest is None
        assert node.lost() == {f"lost-1-{name}": data for name, data in old.items()}
        assert identity.diverged(node.home) == 0
        (line,) = node.log.named("node.memory_lost")
        assert "member rejoin n1" in line["advice"]
        again = Machine(node.home.copy(), node.disk.copy())
        claim, memory = again.start(seed=3)
        assert (claim.lost, claim.repaired, memory.lost) == (True, False, False)
        assert again.lost() == node.lost()

    def test_a_second_call_keeps_the_first_slot(self, node):
        identity.mark_diverged(node.home, 150)
        identity.mark_diverged(node.home, 170)
        assert identity.diverged(node.home) == 150

    @pytest.mark.parametrize("seed", [None, 1])
    def test_wherever_power_is_lost(self, node, seed):
        rng = random.Random(seed) if seed is not None else None
        print(f"seed={seed}")
        identity.mark_diverged(node.home, 150)
        whole = node.copy()
        whole.start()
        for die_at in range(1, whole.count + 1):
            dying = node.copy()
            dying.die_at = die_at
            with pytest.raises(PowerLoss):
                dying.start()
            left = dying.after_crash(rng)
            claim, memory = left.start(seed=2)
            assert memory.machine.applied == 0, die_at
            assert memory.recovered.promised == NULL_BALLOT, die_at
            assert (memory.directory_id or claim.directory_id) != OLD, die_at
            assert left.lost().keys() == whole.lost().keys(), die_at
            shell = left.shell()
            assert (shell.lost, shell.repaired) == (True, False), die_at
