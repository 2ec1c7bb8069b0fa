"""Snapshot files: what was written is read; a byte flipped, cut or added is refused."""

import random

import pytest

from paxosd.core.cluster_settings import (
    LEVEL_CLIENT_NAMES,
    LEVEL_COORDINATION,
    LEVEL_KEYS,
    ClusterSettings,
)
from paxosd.core.commands import CLOSE, GRANT, KEEPALIVE, OPEN, PUT, RIGHTS, Batch, Entry, Reign
from paxosd.core.lease_bounds import FIRST_ID
from paxosd.core.rights import RightsTable, admin_of
from paxosd.core.state.lease_walk import lease_pieces
from paxosd.core.state.snapshot import SnapshotWalk
from paxosd.core.state.snapshot_head import SnapshotError
from paxosd.snapshot.file import (
    BLOCK_BYTES_MAX,
    HEAD,
    HISTORY,
    LEASES,
    MAGIC,
    NAMES,
    ROWS,
    SESSIONS,
    OtherVersionError,
    SnapshotReader,
    SnapshotWriter,
    _decode_head,
    encode_head,
    encode_history,
    encode_leases,
    encode_names,
    encode_rows,
    encode_sessions,
    load,
    snapshot_name,
    snapshot_slot,
)
from paxosd.wire.fields import pack, unpack
from tests.core.state.parts import fingerprint
from tests.snapshot.lives import MEMBERS, reference
from tests.storage.memdisk import MemDisk


def summed(slot):
    """A machine at feature level 1, and the checksum of what it holds."""
    machine = reference(slot)
    machine.settings = ClusterSettings(version=1, level=1)
    machine.sum_up()
    while not machine.advance_checksum(100):
        pass
    return machine, machine.checksums[slot]


def written(machine, keys_max=7, total="", cluster="c"):
    """A disk with the machine's snapshot, and its info."""
    disk = MemDisk()
    walk = SnapshotWalk(machine, MEMBERS)
    writer = SnapshotWriter(disk, walk.head.slot, 1234)
    writer.write([(HEAD, encode_head(cluster, 1234, walk.head))])
    while sessions := walk.sessions():
        writer.write([(SESSIONS, encode_sessions(sessions))])
    while names := walk.names():
        writer.write([(NAMES, encode_names(names))])
    while leases := walk.leases():
        writer.write([(LEASES, encode_leases(leases))])
    while history := walk.history():
        writer.write([(HISTORY, encode_history(history))])
    while not walk.done:
        writer.write([(ROWS, encode_rows(walk.rows(keys_max, 1 << 20)))])
    walk.close()
    return disk, writer.finish(total)


@pytest.fixture(scope="module")
def machine():
    return reference(12)


class TestTheChecksumOfTheState:
    """What is in a file is what the node had when it summed its state up."""

    def test_it_goes_with_the_file(self):
        machine, total = summed(12)
        disk, info = written(machine, total=total)
        again, reader = load(disk.files[snapshot_name(12)])
        assert reader.info == info
        assert info.total == total
        again.sum_up()
        again.advance_checksum(1000)
        assert again.checksums == {12: total}

    @pytest.mark.parametrize("what", ["row", "session", "log time"])
    def test_another_state_is_refused(self, what):
        """The bytes are right, and the state is wrong: memory flipped while it was written."""
        machine, total = summed(12)
        if what == "row":
            key, (value, *rest) = next(iter(machine.store.data.items()))
            machine.store.data[key] = (value + b"!", *rest)
        elif what == "session":
            machine.sessions.table[1].max_seq += 1
        else:
            machine.clock.now_ms += 1
        disk, _ = written(machine, total=total)
        with pytest.raises(SnapshotError, match="the one that it was taken of"):
            load(disk.files[snapshot_name(12)])

    @pytest.mark.parametrize("total", ["x", "0" * 15, "G" * 16, 7])
    def test_what_is_no_checksum_is_refused(self, total):
        machine, _ = summed(12)
        disk, _ = written(machine, total=total)
        with pytest.raises(SnapshotError, match="no checksum"):
            load(disk.files[snapshot_name(12)])


class TestWhole:
    def test_what_was_written_is_read(self, machine):
        disk, info = written(machine)
        file = disk.files[snapshot_name(12)]
        again, reader = load(file, "c")
        assert reader.info == info
        assert (info.slot, info.size_bytes, info.created_ms) == (12, len(file.data), 1234)
        assert reader.head.members == MEMBERS
        assert again.chain == machine.chain
        assert again.store.data == machine.store.data
        assert fingerprint(again.sessions) == fingerprint(machine.sessions)

    def test_it_is_durable_under_its_name(self, machine):
        disk, info = written(machine)
        assert load(disk.crash().files[snapshot_name(12)])[1].info == info
        assert list(disk.files) == [snapshot_name(12)]

    def test_equal_states_make_equal_files(self, machine):
        assert written(machine)[1] == written(reference(12))[1]
        assert written(machine)[1].digest != written(reference(13))[1].digest

    def test_an_empty_state(self):
        disk, _ = written(reference(1))
        assert load(disk.files[snapshot_name(1)])[0].revision == 0

    def test_names(self):
        assert snapshot_slot(snapshot_name(77)) == 77
        assert snapshot_slot(snapshot_name(10**17)) == 10**17
        assert snapshot_slot(snapshot_name(7) + ".bad") is None


class TestDamaged:
    def refuse(self, disk):
        with pytest.raises(SnapshotError):
            load(disk.files[snapshot_name(12)], "c")

    def test_every_byte_flipped(self, machine):
        disk, _ = written(machine)
        data = disk.files[snapshot_name(12)].data
        rng = random.Random(1)
        for at in range(len(data)):
            change = rng.randrange(1, 256)
            data[at] ^= change
            self.refuse(disk)
            data[at] ^= change
        assert load(disk.files[snapshot_name(12)], "c")

    def test_cut_at_every_byte(self, machine):
        disk, _ = written(machine)
        file = disk.files[snapshot_name(12)]
        whole = bytes(file.data)
        for end in range(len(whole)):
            file.data = bytearray(whole[:end])
            self.refuse(disk)

    def test_bytes_after_the_end(self, machine):
        disk, _ = written(machine)
        disk.files[snapshot_name(12)].data += b"\0"
        self.refuse(disk)

    def test_a_block_left_out_or_there_twice(self, machine):
        disk, _ = written(machine)
        file = disk.files[snapshot_name(12)]
        starts = blocks(file.data)
        whole = bytes(file.data)
        for start, end in zip(starts, [*starts[1:], len(whole)], strict=True):
            file.data = bytearray(whole[:start] + whole[end:])
            self.refuse(disk)
            file.data = bytearray(whole[:end] + whole[start:])
            self.refuse(disk)

    def test_whole_blocks_of_another_snapshot(self, machine):
        """Each block is good, and so are the counts; the digest shows the difference."""
        disk, _ = written(machine)
        file = disk.files[snapshot_name(12)]
        starts, whole = blocks(file.data), bytes(file.data)
        first, second, third = (starts[n] for n in (2, 3, 4))
        assert whole[first] == whole[second] == ROWS
        swapped = whole[second:third] + whole[first:second]
        file.data = bytearray(whole[:first] + swapped + whole[third:])
        with pytest.raises(SnapshotError, match="digest of the whole"):
            load(file, "c")

    def test_another_clusters(self, machine):
        disk, _ = written(machine)
        with pytest.raises(SnapshotError, match="of cluster 'c', not of 'other'"):
            load(disk.files[snapshot_name(12)], "other")


def blocks(data):
    """The offset of every block."""
    starts, at = [], len(MAGIC)
    while at < len(data):
        starts.append(at)
        at += 9 + int.from_bytes(data[at + 1 : at + 5], "little")
    return starts


class TestForged:
    """Every checksum is right, but what it covers is not what this program writes."""

    def forge(self, *forged):
        disk = MemDisk()
        writer = SnapshotWriter(disk, 5, 0)
        writer.write(forged)
        writer.finish()
        with pytest.raises(SnapshotError) as caught:
            load(disk.files[snapshot_name(5)])
        return str(caught.value)

    def head(self, **changes):
        walk = SnapshotWalk(reference(3), {})
        walk.close()
        return HEAD, encode_head("c", 0, walk.head._replace(**changes))

    def test_heads(self):
        assert "first block" in self.forge((ROWS, encode_rows([])))
        assert "not what this program writes" in self.forge((HEAD, pack(())))
        assert "version is 9" in self.forge((HEAD, pack((9, "c", 0))))
        assert "number of fields" in self.forge((HEAD, pack((2, "c", 0))))
        assert "not what this version writes" in self.forge((HEAD, b"\xc1"))
        for members in ((), {"n1": "x"}, {"n1": {"peer": 5}}, {5: {}}):
            body = (2, "c", 0, 3, 6, 3, 1, 2, 1, 6, members, b"")
            assert self.forge((HEAD, pack(body)))
        for membership in ("", b"{", b"[]"):
            body = (2, "c", 0, 3, 6, 3, 1, 2, 0, 0, {}, membership)
            assert "membership" in self.forge((HEAD, pack(body)))

    def test_blocks(self):
        assert "kind 9" in self.forge(self.head(), (9, b""))
        assert "no array" in self.forge(self.head(), (ROWS, pack(5)))
        assert "array" in self.forge(self.head(), (ROWS, b"\xdd\xff\xff\xff\xff"))
        assert "sessions are missing" in self.forge(self.head())

    def test_a_length_is_not_believed(self):
        disk = MemDisk()
        file = disk.open("x", create=True)
        for length in (10, BLOCK_BYTES_MAX + 1, (1 << 32) - 1):
            file.data = bytearray(MAGIC + b"\x01" + length.to_bytes(4, "little") + bytes(4))
            with pytest.raises(SnapshotError, match="runs past the end"):
                SnapshotReader(file)


class TestNames:
    """Of clients: those of the sessions that are there, and those of the ones that have ended."""

    def named(self):
        machine = reference(12)
        machine.settings = ClusterSettings(version=1, level=LEVEL_CLIENT_NAMES)
        for name in ("anna", "ben"):
            opening = Entry(0, 1, 0, [[OPEN, name]])
            machine.apply(machine.applied + 1, Batch(0, [opening]))
        number = machine.sessions.next_id - 2
        machine.apply(machine.applied + 1, Batch(0, [Entry(number, 1, 0, [[CLOSE]])]))
        return machine

    def test_they_are_read_again(self):
        machine = self.named()
        machine.sum_up()
        while not machine.advance_checksum(100):
            pass
        disk, _ = written(machine, total=machine.checksums[15])
        again, _ = load(disk.files[snapshot_name(15)])
        assert again.sessions.former.all() == machine.sessions.former.all()
        assert [each.name for each in again.sessions.former.all()] == ["anna"]
        assert [each.name for each in again.sessions.table.values()][-1] == "ben"
        assert fingerprint(again.sessions) == fingerprint(machine.sessions)

    def test_without_any_the_bytes_are_those_of_before(self, machine):
        """A program of before reads it: no block and no field that it does not know."""
        disk, _ = written(machine)
        kinds, reader = [], SnapshotReader(disk.files[snapshot_name(12)])
        while (block := reader.read()) is not None:
            kinds.append(block[0])
            if block[0] == SESSIONS:
                assert {len(row) for row in unpack(block[1])} <= {5, 6}
        assert set(kinds) == {SESSIONS, ROWS}


class TestVersions:
    """What was written before is read; what is written now is read by programs of before, as long
    as the cluster's feature level is 0."""

    def version_of(self, disk, machine):
        payload = encode_head("c", 1234, SnapshotWalk(machine, MEMBERS).head)
        return unpack(payload, map_max=10)[0]

    def test_at_level_0_it_is_of_the_version_of_before(self, machine):
        disk, _ = written(machine)
        assert self.version_of(disk, machine) == 2

    def test_settings_and_reign_are_in_the_next_one(self):
        machine = reference(12)
        first = ClusterSettings(level=1, sessions_max=99)
        change = first.to_entry(ClusterSettings(), machine.membership.epoch)
        machine.apply(13, Batch(0, [change]))
        for elapsed_ms in (10, 30):
            machine.apply(machine.applied + 1, Batch(0, [], Reign(1, "n1", elapsed_ms)))
        disk, _ = written(machine)
        again, _ = load(disk.files[snapshot_name(15)], "c")
        assert self.version_of(disk, machine) == 3
        assert again.settings == machine.settings == first._replace(version=1)
        assert again.clock.reign == Reign(1, "n1", 30)

    def test_leases_are_in_the_one_after_it(self):
        machine = reference(12)
        machine.settings = ClusterSettings(version=1, level=LEVEL_COORDINATION)
        session = machine.sessions.next_id
        entries = Entry(0, 1, 0, [[OPEN]]), Entry(session, 1, 0, [[GRANT, 5000, 0]])
        put = Entry(session, 2, 0, [[PUT, b"leased", b"", FIRST_ID], [KEEPALIVE, [FIRST_ID, 3]]])
        machine.apply(13, Batch(0, [*entries, put], Reign(1, "n1", 5)))
        machine.sum_up()
        while not machine.advance_checksum(100):
            pass
        disk, _ = written(machine, total=machine.checksums[13])
        again, _ = load(disk.files[snapshot_name(13)], "c")
        assert self.version_of(disk, machine) == 4
        assert b"".join(lease_pieces(again.leases)) == b"".join(lease_pieces(machine.leases))
        assert fingerprint(again.sessions) == fingerprint(machine.sessions)

    def test_rights_and_keys_are_in_the_newest(self):
        machine, key = reference(12), b"\x05" * 32
        machine.settings = ClusterSettings(version=1, level=LEVEL_KEYS)
        session = machine.sessions.next_id
        table = RightsTable(1, True, (admin_of("root", (key,)),))
        entries = [
            Entry(0, 1, 0, [[OPEN, "", key], [RIGHTS, 0, table.to_command(), b""]]),
            Entry(session, 1, 0, [[GRANT, 5000, 0], [PUT, b"leased", b"", FIRST_ID]]),
        ]
        for slot, entry in enumerate(entries, 13):
            machine.apply(slot, Batch(0, [entry], Reign(1, "n1", slot)))
        machine.sum_up()
        while not machine.advance_checksum(100):
            pass
        disk, _ = written(machine, total=machine.checksums[14])
        again, _ = load(disk.files[snapshot_name(14)], "c")
        assert self.version_of(disk, machine) == 5
        assert again.rights == machine.rights == table
        assert again.sessions.table[session].key == key
        assert again.leases.table[FIRST_ID].owner == "root"
        assert b"".join(lease_pieces(again.leases)) == b"".join(lease_pieces(machine.leases))
        assert fingerprint(again.sessions) == fingerprint(machine.sessions)

    @pytest.mark.parametrize(("version", "left_out"), [(1, 1), (2, 0)])
    def test_older_ones_are_read(self, machine, version, left_out):
        head = SnapshotWalk(machine, MEMBERS).head
        _, cluster, created_ms, *fields = unpack(encode_head("c", 5, head), map_max=10)
        payload = pack((version, cluster, created_ms, *fields[: len(fields) - left_out]))
        found = _decode_head(payload)[2]
        assert found[:7] == head[:7]
        assert (found.settings, found.reign) == (b"", ())

    @pytest.mark.parametrize("version", [0, 6])
    def test_others_are_no_damage(self, machine, version):
        head = SnapshotWalk(machine, MEMBERS).head
        _, *fields = unpack(encode_head("c", 5, head), map_max=10)
        with pytest.raises(OtherVersionError, match=f"version is {version}; this program knows 1"):
            _decode_head(pack((version, *fields)))
