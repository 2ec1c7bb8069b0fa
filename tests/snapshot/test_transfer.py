"""A snapshot on its way from one node to another, and everything that may go wrong with it.

PITFALLS Paxos 12: superseded during the install; the donor dies; a crash in the middle.
"""

import errno
import random

import pytest

from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.messages import SnapshotChunk, SnapshotOffer, SnapshotRequest
from paxosd.snapshot.exchange import SnapshotExchange
from paxosd.snapshot.fetch import ASK_AGAIN_MS, AVOID_MS, RETRY_MS, SILENT_MS
from paxosd.snapshot.file import snapshot_name
from paxosd.storage.disk import CorruptionError, NewerVersionError, StorageError
from tests.snapshot.lives import OPTIONS, CrashDisk, Inline, Life, PowerLoss
from tests.storage.memdisk import MemDisk

SMALL_PIECES = OPTIONS.__class__(
    cluster="c", members={}, slots_max=10**6, margin_slots=0, chunk_bytes=60,
    send_bytes_per_s=10**9,
)  # fmt: skip


class Place:
    """A node's disk, log and snapshots, without its roles; what it sends waits in ``out``."""

    def __init__(self, name, disk=None, options=SMALL_PIECES, seed=1, helper=None):
        self.name = name
        self.objection = ""
        self.out = []
        self.life = Life(disk or MemDisk(), seed, options, helper)
        self.now = 0.0
        self.exchange = SnapshotExchange(
            self.life.snapshots, self.life.machine,
            lambda to, message: self.out.append((to, message)) or True,
            self.install, self.life.log, lambda: None, lambda slot, total: self.objection,
        )  # fmt: skip

    def install(self, slot, machine, done):
        """As the replica does it, with the log's sync at once."""
        if self.life.wal.commit >= slot:
            return done(False)
        self.life.wal.install(slot)
        self.life.wal.sync()
        behind = self.life.machine.applied < slot
        if behind:
            self.life.machine.adopt(machine)
        return done(behind)

    def turn(self, ms=1.0):
        self.now += ms
        self.exchange.turn(self.now, int(self.now))
        self.life.machine.advance_checksum(100)

    def snapshot(self):
        self.life.snapshots.ask()
        for _ in range(50):
            self.turn()
        assert self.life.snapshots.newest.slot == self.life.machine.applied
        return self.life.snapshots.newest

    @property
    def stage(self):
        return self.exchange.fetch.stage


def exchange(places, turns, until=lambda: False, filtered=lambda src, dst, message: True):
    """Let messages travel between places by name; true once ``until()``."""
    for _ in range(turns):
        for name, place in places.items():
            place.turn()
            out, place.out = place.out, []
            for to, message in out:
                if to in places and filtered(name, to, message):
                    places[to].exchange.receive(name, message)
        if until():
            return True
    return False


def donor(name="n2", slots=40, **options):
    place = Place(name, **options)
    place.life.write(slots, turns=0)
    place.snapshot()
    return place


def behind(name="n1", **options):
    place = Place(name, **options)
    place.life.write(3, turns=0)
    return place


class TestWhatOthersSayOfIt:
    """Who takes a state over agrees with it from then on: so others are heard first."""

    @pytest.mark.parametrize("objection", ["", "n3 had another state after slot 40"])
    def test_a_state_that_others_do_not_have_is_not_taken_over(self, objection):
        n1, n2 = behind(), Place("n2")
        n2.life.machine.settings = ClusterSettings(version=1, level=1)
        n2.life.write(40, turns=0)
        assert n2.snapshot().total
        n1.objection = objection
        n2.exchange.offer("n1", 4)
        exchange({"n1": n1, "n2": n2}, 200)
        assert n1.life.machine.applied == (3 if objection else 40)
        bad = [fields["reason"] for fields in n1.life.log.named("snapshot.bad")]
        assert bad == [objection] * bool(objection)


class TestTransfer:
    def test_in_pieces_and_then_it_is_as_the_donor(self):
        n1, n2 = behind(), donor()
        places = {"n1": n1, "n2": n2}
        n2.exchange.offer("n1", 4)
        pieces = []

        def see(src, dst, message):
            if isinstance(message, SnapshotChunk):
                pieces.append(len(message.data))
            return True

        assert exchange(places, 200, lambda: n1.exchange.fetch.installed, see)
        assert len(pieces) > 4
        assert max(pieces) == 60
        n1.life.check()
        assert n1.life.machine.applied == 40
        assert (n1.life.wal.first_slot, n1.life.wal.commit) == (41, 40)
        assert n1.life.snapshots.newest.digest == n2.life.snapshots.newest.digest
        assert n1.life.log.named("snapshot.installed")[0]["from"] == "n2"
        assert n2.life.log.named("snapshot.sent")[0]["to"] == "n1"
        n1.life.write(60, turns=0)
        again = Life(n1.life.disk.crash(), seed=2)
        assert again.machine.applied >= 59
        again.check()

    def test_of_the_same_contents_another_donor_sends_the_rest(self):
        """The first one dies: silence, then an offer of the same bytes."""
        n1, n2, n3 = behind(), donor("n2"), donor("n3")
        n3.life.snapshots.newest = n3.life.snapshots.newest._replace(created_ms=0)
        if n2.life.snapshots.newest.digest != n3.life.snapshots.newest.digest:
            copy_snapshot(n2, n3)
        n2.exchange.offer("n1", 4)
        exchange({"n1": n1, "n2": n2}, 6)
        got = n1.exchange.fetch._coming.offset
        assert 0 < got < n2.life.snapshots.newest.size_bytes
        n3.exchange.offer("n1", 4)
        exchange({"n1": n1, "n3": n3}, 3)
        assert n1.exchange.fetch._coming.donor == "n2", "not before the first is silent"
        n1.now += SILENT_MS
        n1.turn()
        n3.exchange.offer("n1", 4)
        offsets = []

        def see(src, dst, message):
            if isinstance(message, SnapshotRequest) and dst == "n3":
                offsets.append(message.offset)
            return True

        places = {"n1": n1, "n3": n3}
        assert exchange(places, 200, lambda: n1.exchange.fetch.installed, see)
        assert offsets[0] == got
        n1.life.check()

    def test_of_other_contents_it_begins_anew(self):
        n1, n2, n3 = behind(), donor("n2"), donor("n3", slots=44)
        n2.exchange.offer("n1", 4)
        exchange({"n1": n1, "n2": n2}, 6)
        n1.now += SILENT_MS
        n1.turn()
        n3.exchange.offer("n1", 4)
        assert exchange({"n1": n1, "n3": n3}, 200, lambda: n1.exchange.fetch.installed)
        assert n1.life.machine.applied == 44
        n1.life.check()

    def test_one_in_use_is_kept_and_the_log_above_it(self):
        """Superseded twice by newer ones while it is fetched."""
        n1, n2 = behind(), donor()
        n2.exchange.offer("n1", 4)
        places = {"n1": n1, "n2": n2}
        exchange(places, 6)
        for slots in (50, 60, 70):
            n2.life.write(slots, turns=0)
            n2.snapshot()
        assert n2.life.disk.exists(snapshot_name(40))
        assert n2.life.wal.first_slot <= 41
        assert exchange(places, 200, lambda: n1.exchange.fetch.installed)
        assert n1.life.machine.applied == 40
        n2.turn(60_000.0)
        n2.life.write(80, turns=0)
        n2.snapshot()
        assert not n2.life.disk.exists(snapshot_name(40))
        n2.life.write(81, turns=0)
        assert n2.life.wal.first_slot > 41

    def test_a_donor_that_has_it_no_more_says_so(self):
        n1, n2 = behind(), donor()
        n2.exchange.offer("n1", 4)
        places = {"n1": n1, "n2": n2}
        exchange(places, 6)
        n2.life.snapshots.newest = None
        exchange(places, 5)
        assert n1.stage == ""
        n2.life.write(50, turns=0)
        n2.snapshot()
        n2.exchange.offer("n1", 4)
        assert exchange(places, 200, lambda: n1.exchange.fetch.installed)
        assert n1.life.machine.applied == 50

    def test_lost_and_repeated_messages(self):
        rng = random.Random(7)
        print("seed=7")
        n1, n2 = behind(), donor()
        n2.exchange.offer("n1", 4)
        places = {"n1": n1, "n2": n2}

        def lossy(src, dst, message):
            if rng.random() < 0.3:
                places[dst].exchange.receive(src, message)
            if rng.random() < 0.3:
                n1.now += ASK_AGAIN_MS
                return False
            return True

        def offer_again():
            if n1.stage == "":
                n2.exchange.offer("n1", 4)
            return n1.exchange.fetch.installed

        assert exchange(places, 3000, offer_again, lossy)
        n1.life.check()

    def test_the_log_was_enough_after_all(self):
        n1, n2 = behind(), donor()
        n2.exchange.offer("n1", 4)
        places = {"n1": n1, "n2": n2}
        exchange(places, 6)
        n1.life.write(45, turns=0)
        exchange(places, 3)
        assert n1.stage == ""
        assert n1.exchange.fetch.installed == 0
        n2.exchange.offer("n1", 4)
        exchange(places, 3)
        assert n1.stage == ""

    def test_an_own_one_that_is_being_taken_ends_with_the_jump(self):
        """It walks rows that go away with the jump, even if it began just before."""
        n1, n2 = behind(), donor()
        install = n1.exchange.fetch._install

        def begin_one(slot, machine, done):
            n1.life.snapshots.ask()
            n1.life.snapshots.turn(n1.now, 1)
            assert n1.life.snapshots.running
            install(slot, machine, done)

        n1.exchange.fetch._install = begin_one
        n2.exchange.offer("n1", 4)
        places = {"n1": n1, "n2": n2}
        assert exchange(places, 200, lambda: n1.exchange.fetch.installed)
        exchange(places, 20)
        assert not n1.life.snapshots.running
        assert n1.life.snapshots.newest.slot == 40
        assert not [name for name in n1.life.disk.files if name.endswith(".part")]
        n1.life.check()

    def test_the_rate_is_kept(self):
        slow = OPTIONS.__class__(
            cluster="c", members={}, slots_max=10**6, chunk_bytes=60, send_bytes_per_s=3000
        )
        n1, n2 = behind(), donor(options=slow)
        began, size = n2.now, n2.life.snapshots.newest.size_bytes
        n2.exchange.offer("n1", 4)
        assert exchange({"n1": n1, "n2": n2}, 60_000, lambda: n1.exchange.fetch.installed)
        took_s = (n2.now - began) / 1000
        assert took_s > size / 3000 * 0.8
        assert took_s < size / 3000 * 2


def copy_snapshot(source, target):
    """Give the target the same file as its newest."""
    info = source.life.snapshots.newest
    name = snapshot_name(info.slot)
    target.life.disk.open(name, create=True).data = bytearray(source.life.disk.files[name].data)
    target.life.snapshots.newest = info


class TestDamage:
    @pytest.mark.parametrize("place", ["start", "middle", "end"])
    def test_a_damaged_one_is_refused_and_its_donor_avoided(self, place):
        n1, n2, n3 = behind(), donor("n2"), donor("n3")
        data = n2.life.disk.files[snapshot_name(40)].data
        data[{"start": 30, "middle": len(data) // 2, "end": len(data) - 1}[place]] ^= 8
        before = n1.life.machine.chain
        n2.exchange.offer("n1", 4)
        places = {"n1": n1, "n2": n2, "n3": n3}
        assert exchange(places, 200, lambda: n1.life.log.named("snapshot.bad"))
        assert n1.life.log.named("snapshot.bad")[0]["from"] == "n2"
        assert n1.life.machine.chain == before
        n2.exchange.offer("n1", 4)
        exchange(places, 3)
        assert n1.stage == ""
        assert not [name for name in n1.life.disk.files if name.endswith(".part")]
        n3.exchange.offer("n1", 4)
        assert exchange(places, 200, lambda: n1.exchange.fetch.installed)
        n1.life.check()
        assert AVOID_MS > 10_000

    def test_one_of_a_later_format_ends_the_node(self, monkeypatch):
        """It would ask for it again for ever: the cluster has gone on without this version."""
        n1, n2 = behind(), donor("n2")
        monkeypatch.setattr("paxosd.snapshot.file._FIELDS_OF", {9: 11})
        n2.exchange.offer("n1", 4)
        with pytest.raises(NewerVersionError, match=r"that n2 sent: .*start a newer paxosd"):
            exchange({"n1": n1, "n2": n2}, 200)
        assert n1.life.machine.applied == 3

    def test_one_of_another_cluster(self):
        other = OPTIONS.__class__(cluster="x", members={}, slots_max=10**6, chunk_bytes=60)
        n1, n2 = behind(), donor("n2", options=other)
        n2.exchange.offer("n1", 4)
        assert exchange({"n1": n1, "n2": n2}, 200, lambda: n1.life.log.named("snapshot.bad"))
        assert "of cluster 'x'" in n1.life.log.named("snapshot.bad")[0]["reason"]

    @pytest.mark.parametrize("change", ["slot", "digest", "longer", "shorter"])
    def test_an_offer_that_is_not_true(self, change):
        n1, n2 = behind(), donor("n2")
        slot, size, digest = n2.life.snapshots.newest[:3]
        changed = {
            "slot": (slot + 1, size, digest),
            "digest": (slot, size, bytes(16)),
            "longer": (slot, size + 5, digest),
            "shorter": (slot, size - 5, digest),
        }
        n1.exchange.receive("n2", SnapshotOffer(*changed[change]))  # fmt: skip
        data = bytes(n2.life.disk.files[snapshot_name(slot)].data)
        for _ in range(100):
            n1.turn()
            out, n1.out = n1.out, []
            for _, ask in out:
                piece = data[ask.offset : ask.offset + 60] or b"12345"
                n1.exchange.receive("n2", SnapshotChunk(ask.slot, ask.offset, ask.digest, piece))
        assert n1.exchange.fetch.installed == 0
        assert n1.life.log.named("snapshot.bad")
        assert n1.life.machine.applied == 3

    def test_what_was_not_asked_for_is_ignored(self):
        n1 = behind()
        n1.exchange.receive("n2", SnapshotChunk(40, 0, bytes(16), b"x" * 300))
        n1.exchange.receive("n2", SnapshotRequest(40, 0, bytes(16)))
        assert n1.out == [("n2", SnapshotChunk(40, 0, bytes(16), b""))]
        n1.exchange.receive("n2", SnapshotOffer(3, 100, bytes(16)))
        assert n1.stage == ""

    def test_a_full_disk(self):
        n1, n2 = behind(), donor("n2")
        n1.life.disk.free_bytes = lambda: 1000
        n2.exchange.offer("n1", 4)
        places = {"n1": n1, "n2": n2}
        exchange(places, 3)
        assert "are free" in n1.life.log.named("snapshot.failed")[0]["reason"]
        del n1.life.disk.free_bytes
        n1.now += RETRY_MS
        n1.turn()
        n2.exchange.offer("n1", 4)
        exchange(places, 4)
        n1.life.disk.fail = {"pwritev": errno.ENOSPC}
        exchange(places, 100)
        n1.life.disk.fail = {}
        assert len(n1.life.log.named("snapshot.failed")) == 2
        n1.now += RETRY_MS
        n1.turn()
        n2.exchange.offer("n1", 4)
        assert exchange(places, 200, lambda: n1.exchange.fetch.installed)


class TestCrash:
    @pytest.mark.parametrize("survives", ["nothing", "all", "some"])
    def test_a_crash_before_every_disk_operation_of_an_install(self, survives):
        """The node is where it was, or has the snapshot: never in between."""
        rng = random.Random(8)
        print("seed=8")
        at, seen = 0, set()
        while True:
            at += 1
            n2 = donor("n2")
            n1 = Place("n1", CrashDisk())
            n1.life.write(3, turns=0)
            n1.life.disk.die_at = n1.life.disk.count + at
            n2.exchange.offer("n1", 4)
            try:
                done = exchange({"n1": n1, "n2": n2}, 200, lambda p=n1: p.exchange.fetch.installed)
                n1.life.write(42, turns=0)
            except PowerLoss:
                done = False
            if done:
                break
            keep = {"nothing": lambda: False, "all": lambda: True,
                    "some": lambda: rng.random() < 0.5}[survives]  # fmt: skip
            names = {"nothing": 0, "all": 1 << 30, "some": rng.randint(0, 3)}[survives]
            after = n1.life.disk.crash(keep, names)
            again = Place("n1", after, seed=2)
            seen.add(again.life.machine.applied)
            assert again.life.machine.applied in (2, 3, 40, 41, 42)
            again.life.check()
            assert not [name for name in after.files if name.endswith(".part")]
            if again.life.machine.applied < 40:
                n2.turn()
                n2.exchange.offer("n1", 4)
                places = {"n1": again, "n2": n2}
                assert exchange(places, 200, lambda p=again: p.exchange.fetch.installed)
            again.life.write(50, turns=0)
            again.life.check()
        assert at > 6
        assert {40} <= seen
        assert seen & {2, 3}

    def test_the_jump_waits_for_the_logs_record(self):
        """Without that order a crash would leave a log that goes on from nowhere."""
        n1, n2 = behind(helper=Inline()), donor()
        n2.exchange.offer("n1", 4)
        order = []
        install, sync = n1.life.wal.install, n1.life.wal.sync
        n1.life.wal.install = lambda slot: (
            order.append(("log", n1.life.disk.crash().exists(snapshot_name(slot)))),
            install(slot),
        )
        n1.life.wal.sync = lambda: (sync(), order.append(("synced", n1.life.machine.applied)))
        assert exchange({"n1": n1, "n2": n2}, 200, lambda: n1.exchange.fetch.installed)
        assert order == [("log", True), ("synced", 3)]

    def test_a_bad_snapshot_after_an_install_is_refused_in_clear_words(self):
        n1, n2 = behind(), donor()
        n2.exchange.offer("n1", 4)
        assert exchange({"n1": n1, "n2": n2}, 200, lambda: n1.exchange.fetch.installed)
        n1.life.disk.files[snapshot_name(40)].durable[99] ^= 1
        with pytest.raises(CorruptionError, match="begins at slot 41") as caught:
            Life(n1.life.disk.crash(), seed=2)
        assert isinstance(caught.value, StorageError)
        assert snapshot_name(40) in str(caught.value)
