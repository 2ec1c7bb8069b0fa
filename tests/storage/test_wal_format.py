"""Records and headers, byte by byte."""

import pytest

from paxosd.core.types import Ballot
from paxosd.storage.disk import CorruptionError, StorageError
from paxosd.storage.wal_format import (
    ACCEPT,
    HEADER_BYTES,
    FormatError,
    GroupBuilder,
    SegmentHeader,
    check_record,
    decode_header,
    decode_value,
    segment_name,
    segment_number,
)
from tests.storage.memdisk import MemDisk, open_wal


def header(number=1, nonce=b"12345678"):
    return SegmentHeader(number, nonce, 8192, "cluster", "n1")


class TestHeader:
    def test_round_trip(self):
        assert decode_header(header(7).encode()) == header(7)

    def test_bad_ones(self):
        with pytest.raises(FormatError, match="shorter"):
            decode_header(b"PXWAL")
        with pytest.raises(FormatError, match="begin"):
            decode_header(bytes(HEADER_BYTES))
        with pytest.raises(ValueError, match="limit"):
            SegmentHeader(1, b"12345678", 8192, "c" * 201, "n").encode()

    def test_names(self):
        assert segment_number(segment_name(12)) == 12
        assert segment_number("wal-12.log") is None
        assert segment_number("spare-00000012.log") is None


class TestRecord:
    @pytest.mark.parametrize("other", [header(2), header(1, b"87654321")])
    def test_records_of_another_use_of_the_file_never_validate(self, other):
        assert other.seed != header().seed
        assert other.marker != header().marker
        group = GroupBuilder(header(), 1, 0)
        group.add_value(ACCEPT, 5, Ballot(3, "n2"), b"value")
        data = memoryview(b"".join(group.buffers))
        record = check_record(data, 0, header())
        assert record is not None
        assert decode_value(data, record) == (5, Ballot(3, "n2"), b"value")
        assert check_record(data, 0, other) is None
        # Even with the right marker the checksum, seeded by the use, does not hold.
        forged = data[:4].tobytes() + other.marker.to_bytes(4, "little") + data[8:].tobytes()
        assert check_record(memoryview(forged), 0, other) is None

    @pytest.mark.parametrize("how", ["count", "kind", "short"])
    def test_a_whole_group_that_makes_no_sense_is_corrupt(self, how):
        disk = MemDisk()
        wal, _ = open_wal(disk)
        wal.sync()
        group = GroupBuilder(wal._header, 2, wal._end)
        if how == "count":
            group.add_commit(1)
            group.count += 1
        else:
            group._add(99 if how == "kind" else ACCEPT, b"")
        group.finish()
        wal._file.pwritev(group.buffers, group.start)
        with pytest.raises(StorageError, match=r"count|kind|short") as caught:
            open_wal(disk, seed=2)
        # What a newer version wrote is sound: it must not be taken for damage, and set aside.
        assert isinstance(caught.value, CorruptionError) is (how != "kind")
