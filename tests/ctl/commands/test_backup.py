"""backup take, list, verify: what they write, what they remove, and their exit codes."""

import errno
import fcntl
import json
import os
import stat
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from paxosctl.cli.main import run
from paxosctl.cli.streams import StreamError
from paxosctl.commands import backup_files
from paxosctl.commands.backup_files import (
    BackupError,
    Retention,
    backups_in,
    check,
    glance,
    look_through,
    take,
)
from paxosctl.commands.snapshot_files import SnapshotFileError, opened
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.snapshot.file import snapshot_name
from tests.snapshot.lives import reference
from tests.snapshot.test_file import written

NOW = datetime(2026, 11, 30, 3, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def snapshot_of(slot, founding="", cluster="c"):
    """The bytes of a snapshot of this cluster after this slot."""
    machine = reference(slot)
    if founding:
        machine.settings = ClusterSettings(1, LEVEL_COORDINATION, genesis=founding)
    disk, info = written(machine, cluster=cluster)
    return bytes(disk.files[snapshot_name(info.slot)].data)


class Node:
    """As much of a client as ``take`` needs: each snapshot is of a later slot."""

    timeout_s = 1.0

    def __init__(self, slot=9, founding="", cluster="c"):
        self.of = (founding, cluster)
        self.slot = slot
        self.data = snapshot_of(slot, *self.of)

    def status(self, endpoint):
        return {"snapshot": {"slot": self.slot}}

    def admin(self, verb, args, *, endpoint):
        if verb == "snapshot_take":
            return {"applied": self.slot}
        piece = self.data[args["offset"] : args["offset"] + 4096]
        return {"slot": self.slot, "total": len(self.data), "data": piece}

    def advance(self, slots=1):
        self.slot += slots
        self.data = snapshot_of(self.slot, *self.of)


@pytest.fixture
def node():
    return Node()


def none(what, done, total):
    pass


def taken(node, directory, retention=Retention(), now=NOW):  # noqa: B008 - it is frozen
    done = take(node, "", directory, retention, lambda: now, none)
    node.advance()
    return done


def failing(monkeypatch, error, *failed):
    """No file of these names can be opened."""

    @contextmanager
    def broken(path):
        if path.name in failed:
            raise error
        with opened(path) as file:
            yield file

    monkeypatch.setattr(backup_files, "opened", broken)


def names(directory):
    return [each.path.name for each in backups_in(directory)]


class TestTake:
    def test_it_is_named_by_cluster_time_and_slot_and_nobody_else_may_read_it(self, node, tmp_path):
        done = taken(node, tmp_path)
        assert done.path == tmp_path / "c-20261130T030000Z-slot9.paxsnap"
        assert stat.S_IMODE(done.path.stat().st_mode) == 0o600
        assert done.path.read_bytes() == snapshot_of(9)
        assert sorted(each.name for each in tmp_path.iterdir()) == [".lock", done.path.name]

    def test_what_is_not_whole_is_none_and_removes_nothing(self, node, tmp_path):
        for day in range(3):
            taken(node, tmp_path, now=NOW + day * DAY)
        before = names(tmp_path)
        node.data = node.data[:-1]
        with pytest.raises(SnapshotFileError, match="not a good snapshot"):
            take(node, "", tmp_path, Retention(1), lambda: NOW + 9 * DAY, none)
        assert names(tmp_path) == before
        assert sorted(each.name for each in tmp_path.iterdir()) == sorted([".lock", *before])

    def test_a_full_disk_removes_nothing(self, node, tmp_path, monkeypatch):
        taken(node, tmp_path)

        def full(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StreamError, match="No space left"):
            take(node, "", tmp_path, Retention(1), lambda: NOW + DAY, none)
        assert names(tmp_path) == ["c-20261130T030000Z-slot9.paxsnap"]

    def test_what_a_crash_left_is_removed_and_nothing_else(self, node, tmp_path):
        left = [".new-0123abcd.paxsnap", ".new-0123abcd.paxsnap.77aa.part",
                "c-20261129T030000Z-slot3.paxsnap.00ff.part"]  # fmt: skip
        other = ["notes.txt", "c.paxsnap", "x.part", "d-20261129T030000Z-slot3.paxsnap"]
        for name in left + other:
            (tmp_path / name).write_bytes(b"")
        done = taken(node, tmp_path, Retention(1))
        there = {each.name for each in tmp_path.iterdir()}
        assert there == {*other, ".lock", done.path.name}

    def test_what_is_no_file_is_left_alone_and_hangs_nobody(self, node, tmp_path):
        good = taken(node, tmp_path).path
        called = ["c-20261129T030000Z-slot3.paxsnap", ".new-0123abcd.paxsnap"]
        os.mkfifo(tmp_path / called[0])
        (tmp_path / called[1]).mkdir()
        (tmp_path / "c-20261128T030000Z-slot2.paxsnap").symlink_to("nowhere")
        (tmp_path / "c-20261127T030000Z-slot1.paxsnap").symlink_to(good)
        (tmp_path / "c-20261126T030000Z-slot1.paxsnap").mkdir()
        assert names(tmp_path) == [good.name]
        before = {each.name for each in tmp_path.iterdir()}
        done = taken(node, tmp_path, Retention(1), NOW + DAY)
        assert done.removed == [good], "a link to it does not count as another one"
        assert {each.name for each in tmp_path.iterdir()} == before - {good.name} | {done.path.name}

    def test_one_at_a_time(self, node, tmp_path):
        lock = os.open(tmp_path / ".lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BackupError, match="another backup is being taken"):
            taken(node, tmp_path)
        os.close(lock)
        assert taken(node, tmp_path)

    def test_into_a_directory_that_is_there(self, node, tmp_path):
        with pytest.raises(BackupError, match="no such directory; make it first"):
            taken(node, tmp_path / "none")


class TestRetention:
    def fill(self, node, tmp_path, count, retention=Retention()):  # noqa: B008 - it is frozen
        return [taken(node, tmp_path, retention, NOW + day * DAY) for day in range(count)]

    def test_without_a_word_all_stay(self, node, tmp_path):
        assert not any(done.removed for done in self.fill(node, tmp_path, 5))
        assert len(names(tmp_path)) == 5

    def test_the_newest_stay(self, node, tmp_path):
        done = self.fill(node, tmp_path, 6, Retention(3))
        assert [each.slot for each in backups_in(tmp_path)] == [14, 13, 12]
        assert [path.name for path in done[-1].removed] == ["c-20261202T030000Z-slot11.paxsnap"]

    def test_days_keep_more_and_never_less(self, node, tmp_path):
        self.fill(node, tmp_path, 8, Retention(2, 4))
        assert [each.slot for each in backups_in(tmp_path)] == [16, 15, 14, 13, 12]
        done = taken(node, tmp_path, Retention(2, 4), NOW + 400 * DAY)
        assert len(done.removed) == 4
        assert [each.slot for each in backups_in(tmp_path)] == [17, 16]

    def test_without_days_a_clock_that_went_back_keeps_no_more(self, node, tmp_path):
        self.fill(node, tmp_path, 3)
        done = taken(node, tmp_path, Retention(1), NOW + 2 * DAY - timedelta(hours=1))
        assert len(done.removed) == 3

    def test_a_clock_that_was_in_2099_once(self, node, tmp_path):
        """By their times, those of that day would be the newest for ever, and push out the rest."""
        self.fill(node, tmp_path, 3)
        for _ in range(3):
            taken(node, tmp_path, now=datetime(2099, 1, 1, 0, 0, node.slot, tzinfo=UTC))
        for day in range(3, 9):
            taken(node, tmp_path, Retention(4, 1), NOW + day * DAY)
        assert [each.slot for each in backups_in(tmp_path)] == [20, 19, 18, 17]

    def test_one_that_is_damaged_does_not_count(self, node, tmp_path):
        for done in self.fill(node, tmp_path, 3)[1:]:
            data = bytearray(done.path.read_bytes())
            data[len(data) // 2] ^= 1
            done.path.write_bytes(data)
        done = taken(node, tmp_path, Retention(2), NOW + 9 * DAY)
        assert [each.backup.slot for each in done.unusable] == [11, 10]
        assert done.removed == []
        good = [each.slot for each in backups_in(tmp_path) if not check(each, none).trouble]
        assert good == [12, 9], "two good ones stay, the new one among them"

    def test_one_that_cannot_be_read_does_not_count(self, node, tmp_path, monkeypatch):
        first, second = (done.path.name for done in self.fill(node, tmp_path, 2))
        failing(monkeypatch, StreamError("Input/output error"), second)
        done = taken(node, tmp_path, Retention(2), NOW + 9 * DAY)
        assert [each.damaged for each in done.unusable] == ["Input/output error"]
        failing(monkeypatch, PermissionError("not yours"), second)
        done = taken(node, tmp_path, Retention(3), NOW + 10 * DAY)
        assert [each.refused for each in done.unusable] == ["not yours"]
        assert done.removed == []
        assert first in names(tmp_path)

    def test_one_that_cannot_be_removed_stops_nothing(self, node, tmp_path, monkeypatch):
        first, second, _ = (done.path for done in self.fill(node, tmp_path, 3))
        unlink = os.unlink

        def refused(path, *rest, **more):
            if os.fspath(path) == str(second):
                raise PermissionError(errno.EPERM, "Operation not permitted")
            unlink(path, *rest, **more)

        monkeypatch.setattr(os, "unlink", refused)
        done = taken(node, tmp_path, Retention(1), NOW + 9 * DAY)
        assert done.stuck == [(second, "Operation not permitted")]
        assert first in done.removed
        assert names(tmp_path) == [done.path.name, second.name]

    def test_of_a_cluster_founded_anew_under_its_id(self, tmp_path):
        """Its slots begin again at 1: by them alone its own would be the oldest for a long time."""
        old = self.fill(Node(20, founding="aa"), tmp_path, 3)
        new = [
            taken(node, tmp_path, Retention(2), NOW + day * DAY)
            for node in [Node(9, founding="bb")]
            for day in range(5, 9)
        ]
        assert [each.slot for each in backups_in(tmp_path)] == [22, 21, 20, 12, 11]
        assert [path for done in new for path in done.removed] == [each.path for each in new[:2]]
        listed = look_through(tmp_path, glance)
        assert [each.backup.slot for each in listed] == [12, 11, 22, 21, 20]
        damaged = old[2].path
        damaged.write_bytes(b"")
        listed = look_through(tmp_path, glance)
        assert [each.backup.slot for each in listed] == [22, 12, 11, 21, 20]

    def test_another_clusters_stay(self, node, tmp_path):
        other = tmp_path / "d-20200101T000000Z-slot1.paxsnap"
        other.write_bytes(b"")
        self.fill(node, tmp_path, 3, Retention(1))
        assert other.exists()
        assert len(backups_in(tmp_path)) == 2


class TestVerbs:
    @pytest.fixture
    def ctl(self, capsys):
        def call(*arguments):
            code = run([str(each) for each in arguments])
            return code, *capsys.readouterr()

        return call

    @pytest.fixture
    def directory(self, node, tmp_path):
        for day in range(2):
            taken(node, tmp_path, now=NOW + day * DAY)
        return tmp_path

    def test_list(self, ctl, directory):
        code, out, _ = ctl("backup", "list", directory, "-o", "json")
        assert code == 0
        rows = json.loads(out)["backups"]
        assert [row["slot"] for row in rows] == [10, 9]
        assert {row["good"] for row in rows} == {None}
        assert rows[1]["taken"] == "2026-11-30T03:00:00Z"
        assert rows[1]["keys"] == len(reference(9).store)
        code, out, _ = ctl("backup", "list", directory)
        assert (code, out.count("not checked")) == (0, 2)

    def test_verify(self, ctl, directory):
        code, out, _ = ctl("backup", "verify", directory, "-o", "plain")
        assert code == 0
        assert [line.split("\t")[1:] for line in out.splitlines()] == [
            ["good", "10"],
            ["good", "9"],
        ]

    def test_verify_finds_damage_of_any_byte(self, ctl, directory):
        path = backups_in(directory)[0].path
        whole = path.read_bytes()
        for at in range(0, len(whole), 97):
            data = bytearray(whole)
            data[at] ^= 1
            path.write_bytes(data)
            code, out, err = ctl("backup", "verify", directory, "-o", "json")
            assert code == 1, at
            assert [row["good"] for row in json.loads(out)["backups"]] == [False, True]
            assert json.loads(err)["error"] == "damaged"

    def test_the_cluster_that_was_backed_up_last_comes_first(self, ctl, node, directory):
        taken(Node(3, cluster="restored"), directory, now=NOW + 5 * DAY)
        for verb in ("list", "verify"):
            out = ctl("backup", verb, directory, "-o", "plain")[1]
            assert [line.split("\t")[2] for line in out.splitlines()] == ["3", "10", "9"]

    def test_one_that_was_removed_meanwhile_is_none(self, ctl, directory, monkeypatch):
        newest = backups_in(directory)[0].path
        real = backup_files.backups_in
        monkeypatch.setattr(
            backup_files, "backups_in", lambda where: [*real(where), newest.unlink()][:-1]
        )
        code, out, _ = ctl("backup", "verify", directory, "-o", "plain")
        assert (code, out.count("\n")) == (0, 1)

    def test_one_that_cannot_be_read_hides_no_other(self, ctl, directory, monkeypatch):
        newest = backups_in(directory)[0].path.name
        for error, code in ((StreamError("no sector"), 1), (PermissionError("not yours"), 77)):
            failing(monkeypatch, error, newest)
            for verb in ("list", "verify"):
                found, out, err = ctl("backup", verb, directory, "-o", "json")
                rows = json.loads(out)["backups"]
                assert (found, len(rows)) == (code, 2)
                assert rows[0]["good"] is (False if code == 1 else None)
                assert rows[0]["message"] == str(error)
                assert str(error) in json.loads(err)["message"]

    def test_one_under_another_name_is_damaged(self, ctl, directory):
        path = backups_in(directory)[0].path
        path.rename(path.with_name("c-20261201T030000Z-slot11.paxsnap"))
        code, _, err = ctl("backup", "verify", directory)
        assert code == 1
        assert "its name says otherwise" in err

    def test_there_is_none(self, ctl, tmp_path):
        for verb in ("list", "verify"):
            code, _, err = ctl("backup", verb, tmp_path)
            assert code == 1
            assert f"there is no backup in {tmp_path}" in err
            assert ctl("backup", verb, tmp_path / "none")[0] == 1
            assert ctl("backup", verb)[0] == 2

    def test_take_where_an_older_one_is_damaged(self, ctl, directory, monkeypatch, node):
        """The new one is good, and the job is red nevertheless: somebody should look."""
        data = bytearray(backups_in(directory)[0].path.read_bytes())
        data[-5] ^= 1
        backups_in(directory)[0].path.write_bytes(data)
        real = backup_files.take
        monkeypatch.setattr(
            backup_files, "take", lambda client, source, *rest: real(node, source, *rest)
        )
        where = ("--endpoint", "tcp://127.0.0.1:1", "--keep", "2")
        code, out, err = ctl("backup", "take", directory, *where, "-o", "json")
        assert code == 1
        assert json.loads(out)["slot"] == 11
        assert json.loads(out)["removed"] == []
        assert json.loads(out)["damaged"] == ["c-20261201T030000Z-slot10.paxsnap"]
        assert "the new backup is good" in json.loads(err)["message"]
        assert len(backups_in(directory)) == 3

    def test_take_where_an_older_one_can_neither_be_read_nor_removed(
        self, ctl, directory, monkeypatch, node
    ):
        """Of another user, in a directory such as /tmp."""
        newest = backups_in(directory)[0].path.name
        failing(monkeypatch, PermissionError("not yours"), newest)

        unlink = os.unlink

        def refused(path, *rest, **more):
            if os.path.basename(path) == newest:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            unlink(path, *rest, **more)

        real = backup_files.take
        monkeypatch.setattr(
            backup_files, "take", lambda client, source, *rest: real(node, source, *rest)
        )
        where = ("--endpoint", "tcp://127.0.0.1:1", "--keep")
        code, out, err = ctl("backup", "take", directory, *where, "2")
        assert code == 1
        assert out.startswith("taken: ")
        assert f"belong to another user, and were not read: {newest}" in err
        node.advance()
        monkeypatch.setattr(os, "unlink", refused)
        code, out, err = ctl("backup", "take", directory, *where, "1")
        assert code == 1
        assert out.startswith("taken: ")
        assert "older ones cannot be removed: " in err
        assert f"{newest} (Operation not permitted)" in err

    def test_take_without_a_node(self, ctl, tmp_path):
        endpoint = ("--endpoints", "tcp://127.0.0.1:1", "--timeout", "300ms")
        code, _, _ = ctl("backup", "take", tmp_path, *endpoint)
        assert code in (69, 75)
        assert backups_in(tmp_path) == []
