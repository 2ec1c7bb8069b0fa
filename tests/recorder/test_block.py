"""Blocks and files: what is torn, damaged or of a later version is passed over and counted."""

import os
import random
import struct

import pytest

from paxosd.recorder.block import (
    HEAD_BYTES,
    MAGIC,
    VERSION,
    BlockHead,
    Losses,
    blocks_of,
    encode_block,
)
from paxosd.recorder.event import APPLIED, FORM
from paxosd.recorder.files import AGAIN_US, FILES, RingFiles, file_number
from paxosd.recorder.reader import read_events, recorder_files
from paxosd.recorder.recorder import Recorder
from paxosd.storage.disk import RealDisk


def head(first_seq=1, **changes):
    return BlockHead(
        cluster="c1", node="n1", boot_count=3, run_id=7, first_seq=first_seq, base_us=10,
        mono_us=20, wall_us=1020, names=["n1"], **changes,
    )  # fmt: skip


def rows(*slots):
    return b"".join(FORM.pack(5, APPLIED, 255, 0, 0, slot, 1, 2, 3) for slot in slots)


def seqs(data):
    losses = Losses()
    return [h.first_seq for h, _ in blocks_of(data, losses)], losses


ONE, TWO, THREE = (encode_block(head(n), rows(n)) for n in (1, 2, 3))


class TestDamage:
    def test_sound_blocks_are_read_in_order(self):
        assert seqs(ONE + TWO + THREE) == ([1, 2, 3], Losses())
        assert seqs(b"") == ([], Losses())

    def test_a_torn_tail_costs_one_block(self):
        for cut in range(1, len(TWO)):
            found, losses = seqs(ONE + TWO[:-cut])
            assert found == [1]
            assert losses == Losses(damaged=1, bytes=len(TWO) - cut)

    def test_a_damaged_block_is_passed_over(self):
        for place in range(len(TWO)):
            bad = bytearray(TWO)
            bad[place] ^= 0x55
            found, losses = seqs(ONE + bytes(bad) + THREE)
            assert found == [1, 3]
            assert (losses.damaged, losses.later, losses.bytes) == (1, 0, len(TWO))

    def test_a_later_version_is_counted_and_passed_over(self):
        import zlib

        later = bytearray(TWO)
        struct.pack_into("<H", later, len(MAGIC), VERSION + 1)
        lead, body = later[: HEAD_BYTES - 4], later[HEAD_BYTES:]
        struct.pack_into("<I", later, HEAD_BYTES - 4, zlib.crc32(body, zlib.crc32(lead)))
        found, losses = seqs(ONE + bytes(later) + THREE)
        assert found == [1, 3]
        assert losses == Losses(later=1, bytes=len(TWO))

    def test_foreign_bytes_are_no_block(self):
        seed = random.randrange(1 << 32)
        print(f"seed={seed}")
        noise = random.Random(seed).randbytes(5000)
        found, losses = seqs(noise + ONE + noise)
        assert found == [1]
        assert losses.damaged == 2
        assert losses.bytes == 2 * len(noise)

    def test_what_claims_to_be_huge_is_damaged(self):
        bad = bytearray(ONE)
        struct.pack_into("<I", bad, len(MAGIC) + 8, 1 << 31)
        assert seqs(bytes(bad) + TWO)[0] == [2]

    def test_uncompressed_blocks_too(self):
        assert seqs(encode_block(head(5), rows(1, 2), level=0) + ONE)[0] == [5, 1]


class FailingDisk(RealDisk):
    """Refuses to write while ``error`` is set."""

    error = 0
    free = 1 << 40

    def open(self, name, create=False):
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return super().open(name, create)

    def free_bytes(self):
        return self.free


@pytest.fixture
def disk(tmp_path):
    return FailingDisk(tmp_path)


class TestRing:
    def test_the_files_stay_within_their_bound_and_the_newest_stay(self, disk, tmp_path):
        block = encode_block(head(), rows(*range(20)), level=0)
        ring = RingFiles(disk, FILES * 4 * len(block))
        for _ in range(500):
            assert ring.append(block, 0)
            assert ring.total_bytes <= FILES * 4 * len(block)
        ring.close()
        sizes = [path.stat().st_size for path in recorder_files(tmp_path)]
        assert len(sizes) >= FILES - 1
        assert sum(sizes) == ring.total_bytes
        assert file_number(recorder_files(tmp_path)[-1].name) == 500 / 4

    def test_a_run_begins_a_file_of_its_own_and_reads_go_over_all(self, disk, tmp_path):
        for run in (1, 2, 3):
            recorder = Recorder("c1", "n1", run, run)
            recorder.record(APPLIED, slot=run)
            recorder.settle()
            ring = RingFiles(disk, 1 << 20)
            for block in recorder.take_blocks(0, 0):
                assert ring.append(block, 0)
            ring.close()
        losses = Losses()
        events = list(read_events(recorder_files(tmp_path), losses))
        assert [(e.boot_count, e.slot) for e in events] == [(1, 1), (2, 2), (3, 3)]
        assert len(recorder_files(tmp_path)) == 3

    def test_an_old_ring_is_cut_to_a_smaller_bound(self, disk, tmp_path):
        block = encode_block(head(), rows(*range(200)), level=0)
        ring = RingFiles(disk, FILES * len(block))
        for _ in range(FILES):
            ring.append(block, 0)
        ring.close()
        ring = RingFiles(disk, FILES * len(block) // 4)
        assert ring.append(block, 0)
        ring.close()
        assert sum(p.stat().st_size for p in recorder_files(tmp_path)) <= FILES * len(block) // 4

    def test_a_disk_that_fails_is_tried_again_after_a_while(self, disk):
        ring = RingFiles(disk, 1 << 20)
        disk.error = 5
        assert not ring.append(ONE, 0)
        assert ring.problem == os.strerror(5)
        disk.error = 0
        assert not ring.append(ONE, AGAIN_US - 1), "not at once"
        assert ring.unwritten == 2
        assert ring.append(ONE, AGAIN_US)
        assert ring.problem == ""

    def test_a_disk_that_is_nearly_full_is_left_to_the_log(self, disk, tmp_path):
        disk.free = 1000
        ring = RingFiles(disk, 1 << 20)
        assert not ring.append(ONE, 0)
        assert recorder_files(tmp_path) == []
        disk.free = 1 << 40
        assert ring.append(ONE, AGAIN_US)
