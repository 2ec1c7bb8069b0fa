"""What is missing, torn, newer or foreign is named; the rest is used."""

import json
import struct
import tomllib
import zlib
from pathlib import Path

import pytest

from paxosctl.audit import recorder_file
from paxosctl.audit.audit import NothingToReadError, SeveralClustersError, audit
from paxosctl.audit.kinds import HEARTBEAT, RECEIVED
from paxosctl.audit.sources import read_sources
from paxosd.core.effects import AcceptRecord, PromiseRecord
from tests.ctl.audit.made import B1, B2, NODES, X, good, write_log

ROOT = Path(__file__).parents[3]


def reasons(report, name):
    (rule,) = [each for each in report.rules if each.name == name]
    return rule.unchecked


def file_of(directory, node):
    return directory / node / "recorder" / "rec-00000001.bin"


def test_the_auditor_may_import_nothing_of_the_daemon():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = [
        each for each in contracts["contracts"]
        if each["type"] == "forbidden" and each["source_modules"] == ["paxosctl.audit"]
    ]  # fmt: skip
    assert contract["forbidden_modules"] == ["paxosd"]
    assert not contract.get("ignore_imports")
    assert not contract.get("allow_indirect_imports")


def test_one_node_of_three(tmp_path):
    n1, *_ = good(tmp_path)
    n1.write()
    report = audit([tmp_path])
    assert report.broken == 0
    assert "the recording of n3 is missing" in report.notes
    assert "the log of n1 is missing" in report.notes
    assert [row["node"] for row in report.nodes] == ["n1"]


@pytest.mark.parametrize("number", [1, 2])
def test_a_log_without_its_first_segments_accuses_nobody(tmp_path, number):
    for each in good(tmp_path):
        each.write()
    write_log(tmp_path, "n2", [[], []], number=number)
    report = audit([tmp_path])
    assert (report.broken == 0) == (number == 2), "with all of it n2's votes are missing"
    said = "the log of n2 begins with segment 1, and here with 2: what is not in it proves nothing"
    assert (said in report.notes) == (number == 2)


def test_an_acknowledged_slot_whose_voters_are_not_all_there(tmp_path):
    n1, *_ = good(tmp_path)
    n1.add(HEARTBEAT, "n2", RECEIVED, 9, B1).apply(3, B1).acknowledge(3)
    n1.write()
    report = audit([tmp_path])
    assert report.broken == 0
    assert reasons(report, "acknowledged-chosen") == {
        "the votes of n1, n2, n3 in it are not all there": 1
    }


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_events_are_named_and_judge_nothing(tmp_path, missing):
    n1, n2, n3 = good(tmp_path)
    n2.write()
    n3.write()
    n1.write(without={missing})
    report = audit([tmp_path])
    assert report.broken == 0
    first, last = (1, 10) if missing == 0 else (11, 20)
    assert any(
        note.startswith(f"events n1/1:{first} to {last} are missing") for note in report.notes
    )


def test_a_start_of_which_nothing_is_left(tmp_path):
    n1, *_ = good(tmp_path)
    n1.runs.insert(0, (7, []))
    n1.write()
    notes = audit([tmp_path]).notes
    assert "nothing is there of what n1 did after its start number 1" in notes


def test_a_rule_without_anything_to_check_says_so(tmp_path):
    write_log(tmp_path, "n1", [[PromiseRecord(B1)]])
    report = audit([tmp_path])
    assert reasons(report, "reads") == {"the sources hold no reads and answers to questions": 0}


def test_a_torn_block(tmp_path):
    n1, n2, n3 = good(tmp_path)
    for each in (n1, n2, n3):
        each.write()
    path = file_of(tmp_path, "n1")
    path.write_bytes(path.read_bytes()[:-7])
    report = audit([tmp_path])
    assert report.broken == 0
    assert any("are torn or damaged, and passed over" in note for note in report.notes)


def test_a_block_of_a_later_version(tmp_path):
    n1, *_ = good(tmp_path)
    n1.write()
    lead = struct.pack("<8sHHII", b"PXREC\r\n\0", 2, 0, 3, 3)
    block = lead + struct.pack("<I", zlib.crc32(b"new", zlib.crc32(lead))) + b"new"
    with file_of(tmp_path, "n1").open("ab") as file:
        file.write(block)
    assert any("1 blocks are of a later version" in note for note in audit([tmp_path]).notes)


def test_foreign_files(tmp_path):
    n1, *_ = good(tmp_path)
    n1.write()
    (tmp_path / "n1" / "recorder" / "rec-00000002.bin").write_bytes(b"what is this?")
    other = tmp_path / "notes.txt"
    other.write_text("nothing")
    notes = audit([tmp_path / "n1", other]).notes
    assert any("rec-00000002.bin holds no sound block" in note for note in notes)
    assert any("notes.txt is not used" in note for note in notes)


def test_a_segment_that_is_none(tmp_path):
    write_log(tmp_path, "n1", [[PromiseRecord(B1)]])
    (tmp_path / "n1" / "wal" / "wal-00000002.log").write_bytes(b"x" * 600)
    notes = audit([tmp_path]).notes
    assert any("wal-00000002.log is no segment of a log" in note for note in notes)


def test_files_under_other_names(tmp_path):
    n1, n2, n3 = good(tmp_path)
    names = []
    for each in (n1, n2, n3):
        each.write()
        names.append(tmp_path / f"what {each.node} recorded")
        file_of(tmp_path, each.node).rename(names[-1])
    write_log(tmp_path, "n1", [[PromiseRecord(B1)], [AcceptRecord(1, B1, b"x")]])
    names.append(tmp_path / "log of n1")
    (tmp_path / "n1" / "wal" / "wal-00000001.log").rename(names[-1])
    report = audit(names)
    assert [node["runs"] for node in report.nodes] == [1, 1, 1]
    assert [node["log"] for node in report.nodes] == [True, False, False]
    assert "not used" not in str(report.notes)


def test_a_torn_group_was_never_durable(tmp_path):
    votes = [[PromiseRecord(B1)], [AcceptRecord(1, B1, b"x")]]
    for name in NODES:
        write_log(tmp_path, name, votes)
    path = tmp_path / "n1" / "wal" / "wal-00000001.log"
    data = bytearray(path.read_bytes())
    end = len(bytes(data).rstrip(b"\0"))
    data[end - 3] ^= 1
    path.write_bytes(data)
    report = audit([tmp_path])
    assert report.broken == 0
    assert any("its last group is torn" in note for note in report.notes)


def test_a_log_that_is_damaged_in_the_middle_proves_nothing(tmp_path):
    n1, n2, n3 = good(tmp_path)
    for each in (n1, n2, n3):
        each.write()
    votes = [
        [PromiseRecord(B1)], [AcceptRecord(1, B1, b"x")], [AcceptRecord(2, B1, b"x")],
        [PromiseRecord(B2)], [AcceptRecord(3, B2, b"y")],
    ]  # fmt: skip
    write_log(tmp_path, "n3", votes)
    assert audit([tmp_path]).broken == 0
    path = tmp_path / "n3" / "wal" / "wal-00000001.log"
    data = bytearray(path.read_bytes())
    at = data.index(b"\x02n1x", data.index(b"\x02n1x") + 1)
    data[at + 3] ^= 1
    path.write_bytes(data)
    report = audit([tmp_path])
    assert report.broken == 0
    assert any("later ones stand behind it" in note for note in report.notes)
    assert any("the log of n3 is damaged" in note for note in report.notes)
    # Where nothing stands behind it, what is not there was never written.
    write_log(tmp_path, "n3", votes[:2])
    report = audit([tmp_path])
    assert {rule.name for rule in report.rules if rule.broken} == {"log-keeps"}


def test_logs_alone(tmp_path):
    write_log(tmp_path, "n1", [[PromiseRecord(B1), AcceptRecord(1, B1, b"x"), 1]])
    write_log(tmp_path, "n2", [[PromiseRecord(B1), AcceptRecord(1, B1, b"y"), 1]])
    broken = {rule.name for rule in audit([tmp_path]).rules if rule.broken}
    assert broken == {"one-value", "one-value-per-ballot"}


def test_a_log_that_votes_below_its_promise(tmp_path):
    write_log(tmp_path, "n1", [[PromiseRecord(B1)], [AcceptRecord(1, B1._replace(round=0), b"x")]])
    (found,) = [rule for rule in audit([tmp_path]).rules if rule.broken]
    assert found.name == "votes-above-promises"
    assert found.violations[0].evidence[0].file.endswith("wal-00000001.log")


def test_a_compacted_log(tmp_path):
    n1, *_ = good(tmp_path)
    n1.write()
    write_log(tmp_path, "n1", [[PromiseRecord(B1), AcceptRecord(2, B1, b"x")]], first=2, commit=1)
    report = audit([tmp_path])
    assert report.broken == 0
    assert reasons(report, "log-keeps")["the log of n1 is compacted below slot 2"] == 1


def test_a_change_of_the_membership_in_the_log(tmp_path):
    import msgpack

    members = {
        name: {"peer": "", "client": "", "events": "", "voter": True, "directory": 7}
        for name in ("n1", "n2", "n4")
    }
    document = json.dumps({"members": members, "departed": {}, "phase1": 0, "phase2": 0}).encode()
    entry = msgpack.packb([0, 1, 0, [[10, 0, document]]])
    value = msgpack.packb([0, [entry]])
    write_log(tmp_path, "n1", [[PromiseRecord(B1), AcceptRecord(1, B1, value), 1]])
    notes = audit([tmp_path]).notes
    assert "the log of n4 is missing" in notes


def test_nothing_to_read(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToReadError, match="no recording and no log"):
        audit([tmp_path / "empty"])


def test_two_clusters(tmp_path):
    n1, n2, _ = good(tmp_path)
    n1.write()
    n2.write(cluster="c2")
    with pytest.raises(SeveralClustersError, match="c1, c2"):
        audit([tmp_path])
    assert [row["node"] for row in audit([tmp_path], cluster="c2").nodes] == ["n2"]
    with pytest.raises(NothingToReadError):
        audit([tmp_path], cluster="c3")


def test_the_same_file_twice_counts_once(tmp_path):
    n1, *_ = good(tmp_path)
    n1.write()
    once = audit([tmp_path])
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "rec-00000001.bin").write_bytes(file_of(tmp_path, "n1").read_bytes())
    assert [r.checked for r in audit([tmp_path]).rules] == [r.checked for r in once.rules]
    assert X


class TestWhatARunningNodeDrops:
    """The files of a node that runs may go at any moment: the oldest of its ring and of its log."""

    @pytest.fixture
    def after_a_look(self, monkeypatch):
        """``after_a_look(path)``: it is gone once the sources have been looked through."""

        def gone(path):
            def read_then_drop(paths):
                sources = read_sources(paths)
                path.unlink()
                return sources

            monkeypatch.setattr("paxosctl.audit.audit.read_sources", read_then_drop)

        return gone

    @pytest.mark.parametrize("dropped", [0, 1])
    def test_events_that_are_gone_are_a_gap_and_judge_nothing(
        self, tmp_path, after_a_look, dropped
    ):
        n1, n2, n3 = good(tmp_path)
        n2.write()
        n3.write()
        (n1.home / "recorder").mkdir(parents=True)
        files = []
        for number, block in enumerate(n1.blocks(), 1):
            files.append(n1.home / "recorder" / f"rec-{number:08d}.bin")
            files[-1].write_bytes(block)
        after_a_look(files[dropped])
        report = audit([tmp_path])
        assert report.broken == 0
        first, last = (1, 10) if dropped == 0 else (11, 20)
        notes = " ".join(report.notes)
        assert f"{files[dropped]} cannot be read again" in notes
        assert f"events n1/1:{first} to {last} are missing" in notes

    def test_before_it_was_looked_at(self, tmp_path, monkeypatch):
        for each in good(tmp_path):
            each.write()
        real = recorder_file.blocks_of

        def drop(path):
            if path == file_of(tmp_path, "n2"):
                path.unlink()
            return real(path)

        monkeypatch.setattr(recorder_file, "blocks_of", drop)
        report = audit([tmp_path])
        assert report.broken == 0
        assert any("n2" in note and "is gone" in note for note in report.notes)

    def test_a_segment_of_the_log(self, tmp_path, after_a_look):
        for each in good(tmp_path):
            each.write()
        write_log(tmp_path, "n1", [[PromiseRecord(B1)], [AcceptRecord(1, B1, b"x")]])
        (segment,) = (tmp_path / "n1" / "wal").iterdir()
        after_a_look(segment)
        report = audit([tmp_path])
        assert report.broken == 0
        assert any(f"{segment} is gone" in note for note in report.notes)
