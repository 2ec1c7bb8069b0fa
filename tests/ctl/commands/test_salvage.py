"""snapshot salvage: what it makes of a data directory, what it says may be lost, its exit codes."""

import fcntl
import json
import os
import shutil
from contextlib import closing
from dataclasses import replace

import pytest

from paxosctl.cli.main import run
from paxosctl.evidence.survivor import SurvivorError, read_survivor
from paxosd.core.effects import AcceptRecord, CommitRecord, DecisionRecord
from paxosd.core.types import Ballot
from paxosd.snapshot.file import snapshot_name, snapshot_slot
from paxosd.storage.disk import RealDisk
from tests.snapshot.lives import BALLOT, OPTIONS, Life, batch_of, reference

OTHER = Ballot(7, "n2")


def none(what, done, total):
    pass


def make(path, slots=40, snapshots=1000, records=()):
    """The directory of a node that voted in ``slots`` slots, of which it knows all but the last to
    be chosen; then these records."""
    (path / "wal").mkdir(parents=True)
    with closing(RealDisk(path / "wal")) as disk:
        life = Life(disk, options=replace(OPTIONS, slots_max=snapshots))
        life.write(slots)
        life.finish()
        if records:
            life.wal.append(list(records))
            life.wal.sync()
        life.wal.close()
    return path


def contents(path):
    return {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def same(machine, slot):
    want = reference(slot)
    return machine.store.data == want.store.data and machine.chain == want.chain


class TestReading:
    @pytest.mark.parametrize("snapshots", [1000, 12])
    def test_what_is_chosen_and_what_this_node_voted_for(self, tmp_path, snapshots):
        found = read_survivor(make(tmp_path / "n1", snapshots=snapshots), none)
        assert (found.cluster, found.node, found.slot, found.proven_slot) == ("c", "n1", 40, 39)
        assert (found.unproven, found.beyond, found.problems) == ((40,), (), [])
        assert bool(found.snapshot_slot) == (snapshots == 12)
        assert same(found.machine, 40)
        assert found.stamp_ms == 40
        assert found.ballot == BALLOT

    def test_votes_can_be_left(self, tmp_path):
        found = read_survivor(make(tmp_path / "n1"), none, take_unproven=False)
        assert (found.slot, found.unproven, found.beyond, found.newest_slot) == (39, (), (40,), 40)
        assert same(found.machine, 39)

    def test_the_vote_of_the_highest_ballot_counts(self, tmp_path):
        again = [AcceptRecord(40, OTHER, batch_of(41)), AcceptRecord(40, BALLOT, batch_of(40))]
        found = read_survivor(make(tmp_path / "n1", records=again), none)
        assert found.ballot == OTHER
        assert found.stamp_ms == 41

    def test_a_decision_behind_the_chosen_slots_is_sure(self, tmp_path):
        records = [DecisionRecord(40, BALLOT, batch_of(40)), AcceptRecord(41, BALLOT, batch_of(41))]
        found = read_survivor(make(tmp_path / "n1", records=records), none)
        assert (found.slot, found.proven_slot, found.unproven) == (41, 40, (41,))

    def test_nothing_behind_a_gap_is_taken(self, tmp_path):
        records = [AcceptRecord(slot, BALLOT, batch_of(slot)) for slot in (42, 43, 45)]
        found = read_survivor(make(tmp_path / "n1", records=records), none)
        assert (found.slot, found.beyond, found.newest_slot) == (40, (42, 43, 45), 45)

    def test_nothing_of_it_is_changed(self, tmp_path):
        path = make(tmp_path / "n1", snapshots=12)
        newest = max(filter(None, map(snapshot_slot, os.listdir(path / "wal"))))
        snapshot = path / "wal" / snapshot_name(newest)
        data = bytearray(snapshot.read_bytes())
        data[-9] ^= 1
        snapshot.write_bytes(data)
        before = contents(path)
        found = read_survivor(path, none)
        assert contents(path) == before
        assert same(found.machine, 40), "the older snapshot and more of the log"
        assert "is not good" in found.problems[0]

    @pytest.mark.parametrize("snapshots", [1000, 12])
    def test_a_damaged_log_is_taken_up_to_the_damage(self, tmp_path, snapshots):
        path = make(tmp_path / "n1", snapshots=snapshots)
        whole = read_survivor(path, none)
        [*_, last] = [each for each, data in contents(path).items() if each.suffix == ".log"]
        data = last.read_bytes()
        slots = set()
        for at in range(200, len(data.rstrip(b"\0")), 97):
            last.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
            before = contents(path)
            try:
                found = read_survivor(path, none)
            except SurvivorError as error:
                assert "has no state" in str(error)  # noqa: PT017 -- only the first bytes end so
                assert at < 700
                continue
            assert contents(path) == before
            assert found.slot >= whole.snapshot_slot
            assert same(found.machine, found.slot)
            assert found.proven_slot <= whole.proven_slot
            assert found.problems
            slots.add(found.slot)
        assert len(slots) > 2, "the later the damage, the more is there"

    def test_a_damaged_log_leaves_its_snapshots(self, tmp_path):
        path = make(tmp_path / "n1", snapshots=12)
        for file in (path / "wal").glob("wal-*.log"):
            data = bytearray(file.read_bytes())
            data[700:708] = b"\xff" * 8
            file.write_bytes(data)
        found = read_survivor(path, none)
        assert found.slot == found.snapshot_slot > 0
        assert same(found.machine, found.slot)
        assert "its log is damaged, and was taken up to there" in found.problems[0]

    def test_a_log_without_its_end_says_so(self, tmp_path):
        path = make(tmp_path / "n1")
        with closing(RealDisk(path / "wal")) as disk:
            life = Life(disk, options=replace(OPTIONS, slots_max=1000))
            marks = (path / "wal" / "tail-mark").read_bytes()
            older = contents(path)
            life.wal.append([CommitRecord(40)])
            life.wal.sync()
            life.wal.close()
        newer = (path / "wal" / "tail-mark").read_bytes()
        assert newer != marks
        for file, data in older.items():
            file.write_bytes(data)
        (path / "wal" / "tail-mark").write_bytes(newer)
        assert "the end of its log is gone" in read_survivor(path, none).problems[0]

    @pytest.mark.parametrize("field", ["lost", "diverged", "removed"])
    def test_what_the_directory_says_of_itself(self, tmp_path, field):
        path = make(tmp_path / "n1")
        (path / "identity").write_text(json.dumps({field: {"slot": 1}}))
        [problem] = read_survivor(path, none).problems
        assert problem

    def test_one_that_is_in_use(self, tmp_path):
        path = make(tmp_path / "n1")
        lock = os.open(path / "LOCK", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SurvivorError, match=r"a daemon runs with .*: stop it first"):
            read_survivor(path, none)
        os.close(lock)
        assert read_survivor(path, none).slot == 40


class TestVerb:
    @pytest.fixture
    def ctl(self, capsys):
        def call(*arguments):
            code = run(["snapshot", *map(str, arguments)])
            return code, *capsys.readouterr()

        return call

    def test_the_file_is_a_snapshot_that_can_be_restored(self, ctl, tmp_path):
        path, file = make(tmp_path / "n1"), tmp_path / "left.paxsnap"
        code, out, _ = ctl("salvage", path, file, "-o", "json")
        assert code == 0
        made = json.loads(out)
        assert (made["slot"], made["proven_slot"], made["unproven_slots"]) == (40, 39, 1)
        assert made["lost"][0].startswith("every write that was acknowledged after slot 40")
        assert made["last_write"] == "1970-01-01T00:00:00Z"
        assert sorted(each.name for each in tmp_path.iterdir()) == ["left.paxsnap", "n1"]
        code, out, _ = ctl("status", file, "-o", "json")
        assert json.loads(out)["slot"] == 40
        home = ("--data-dir", tmp_path / "new", "--cluster-id", "d", "--node", "m1")
        code, out, _ = ctl("restore", file, *home)
        assert code == 0
        assert "What c acknowledged after" in out

    def test_what_may_be_lost_in_words(self, ctl, tmp_path):
        path = make(tmp_path / "n1", records=[AcceptRecord(43, OTHER, batch_of(43))])
        code, out, _ = ctl("salvage", path, tmp_path / "x")
        assert code == 0
        assert "for slots 40 to 40 only the vote of n1 speaks" in out
        assert "slots 43 are in its log, and left out" in out
        assert "n1 itself led then" in out

    def test_another_that_goes_further_is_named(self, ctl, tmp_path):
        shorter, longer = make(tmp_path / "a"), make(tmp_path / "b", slots=60)
        code, out, _ = ctl("salvage", shorter, tmp_path / "x", "--compare", longer)
        assert code == 0
        assert "goes further, to slot 60" in out
        assert "salvage that one instead" in out
        _, out, _ = ctl("salvage", longer, tmp_path / "y", "--compare", shorter)
        assert "goes further" not in out

    def test_where_there_is_nothing_to_be_had(self, ctl, tmp_path):
        for name in ("none", "empty"):
            (tmp_path / "empty" / "wal").mkdir(parents=True, exist_ok=True)
            code, _, err = ctl("salvage", tmp_path / name, tmp_path / "x")
            assert code == 1
            assert str(tmp_path / name) in err
        assert not (tmp_path / "x").exists()
        assert ctl("salvage", tmp_path)[0] == 2

    def test_what_exists_is_not_replaced(self, ctl, tmp_path):
        path, file = make(tmp_path / "n1"), tmp_path / "x"
        file.write_bytes(b"old")
        assert ctl("salvage", path, file)[0] == 1
        assert file.read_bytes() == b"old"
        assert ctl("salvage", path, file, "--force")[0] == 0
        shutil.rmtree(path)
