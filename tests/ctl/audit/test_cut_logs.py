"""A log whose end was cut off at a record, which looks like its end: who knows better."""

import pytest

from paxosctl.audit import wal_file
from paxosctl.audit.audit import audit
from paxosd.core.effects import AcceptRecord, PromiseRecord
from paxosd.storage import wal_mark
from paxosd.storage.disk import RealDisk
from paxosd.storage.wal_open import open_wal
from paxosd.storage.wal_segments import WalOptions
from tests.ctl.audit.made import B1, NODES, write_log

VOTES = [[PromiseRecord(B1)], *([AcceptRecord(slot, B1, b"x")] for slot in range(1, 7))]


def cut(report, node="n2"):
    return [note for note in report.notes if f"the log of {node} ends with group" in note]


def write_tail_mark(home, group, nonce=b"12345678"):
    notes = [wal_mark.encode(each, 1, nonce, 9999) for each in (group, group - 1)]
    places = [note.ljust(4096, b"\0") for note in notes]
    (home / "wal" / "tail-mark").write_bytes(b"".join(places))


def test_whole_logs_are_not_suspected(tmp_path):
    for name in NODES:
        write_log(tmp_path, name, VOTES, heard=[("n1", 7, 7), ("n2", 7, 7), ("n3", 7, 6)])
        write_tail_mark(tmp_path / name, 7)
    report = audit([tmp_path])
    assert report.broken == 0
    assert {note.removesuffix("is missing")[:-3] for note in report.notes} == {"the recording of "}


def test_the_second_witness_knows(tmp_path):
    for name in NODES:
        write_log(tmp_path, name, VOTES if name != "n2" else VOTES[:4])
        write_tail_mark(tmp_path / name, 7)
    report = audit([tmp_path])
    (note,) = cut(report)
    assert "ends with group 4, and" in note
    assert "tail-mark says that group 7 was durable" in note
    assert report.broken == 0
    write_tail_mark(tmp_path / "n2", 7, nonce=b"anotherX")  # of another log
    assert not cut(audit([tmp_path]))
    (tmp_path / "n2" / "wal" / "tail-mark").write_bytes(b"PXMARK\r\n" + bytes(9000))
    assert not cut(audit([tmp_path]))


def test_a_peer_knows(tmp_path):
    write_log(tmp_path, "n1", VOTES, heard=[("n2", 7, 6), ("n3", 7, 9)])
    write_log(tmp_path, "n2", VOTES[:4])
    write_log(tmp_path, "n3", VOTES[:4], directory_id=8)  # heard of another directory
    report = audit([tmp_path])
    (note,) = cut(report)
    assert "ends with group 4, and n1 had heard from it that group 6 was durable" in note
    assert not cut(report, "n3")


def test_a_node_that_writes_meanwhile_is_not_suspected(tmp_path, monkeypatch):
    write_log(tmp_path, "n1", VOTES[:4])
    write_log(tmp_path, "n2", VOTES, heard=[("n1", 7, 7)])
    read = wal_file.records_of

    def read_then_write(segment):
        yield from read(segment)
        if segment.node == "n1":
            write_log(tmp_path, "n1", VOTES)

    monkeypatch.setattr(wal_file, "records_of", read_then_write)
    assert not cut(audit([tmp_path]), "n1")


def test_the_next_segment_knows(tmp_path):
    for name in NODES:
        write_log(tmp_path, name, VOTES[:3] if name != "n2" else VOTES[:2])
        write_log(tmp_path, name, VOTES[3:], number=2, first_group=4)
    report = audit([tmp_path])
    (note,) = [note for note in report.notes if "goes on with group 4 after 2" in note]
    assert "n2" in note
    assert report.broken == 0


def write_real_log(home):
    """A log as a node writes it; where each group ends: (segment, offset)."""
    home.mkdir(parents=True)
    options = WalOptions(segment_bytes=8192, prepare_ahead=False)
    wal, _ = open_wal(RealDisk(home), cluster_id="c1", node_id="n1", options=options)
    ends = []
    for slot in range(1, 31):
        wal.append([AcceptRecord(slot, B1, bytes(500))])
        job = wal.begin_sync()
        job.run()
        wal.finish_sync(job)
        ends.append((job.header.name, job.end))
    wal.close()
    return ends


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_log_as_nodes_write_it(tmp_path, place):
    """Cut behind any group, and filled up with zeros as it was made."""
    ends = write_real_log(tmp_path / "n1" / "wal")
    assert not audit([tmp_path]).notes
    names = sorted({name for name, _ in ends})
    assert len(names) > 2
    name = names[0] if place == "first" else names[-1]
    path = tmp_path / "n1" / "wal" / name
    whole = path.read_bytes()
    own = [end for segment, end in ends if segment == name]
    for end in own[:-1]:
        path.write_bytes(whole[:end].ljust(len(whole), b"\0"))
        (note,) = audit([tmp_path]).notes
        assert ("tail-mark says" if place == "last" else "goes on with group") in note
