"""snapshot save, status, restore: what they write, and their exit codes."""

import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from paxosctl.cli.main import run
from paxosctl.cli.streams import StreamError
from paxosctl.client.errors import RefusedError
from paxosctl.commands.snapshot import BUMP
from paxosctl.commands.snapshot_files import SnapshotFileError, save
from paxosd.core.cluster_settings import LEVEL_COORDINATION
from paxosd.core.state.machine import DEFAULT_LIMITS
from paxosd.snapshot.file import load, snapshot_name
from paxosd.storage import restored_from
from paxosd.storage.datadir import DataDir
from paxosd.storage.disk import RealDisk, RealFile
from tests.processes.processes import Daemons, wait_for
from tests.replica.test_newcomer import started
from tests.snapshot.lives import reference
from tests.snapshot.test_file import written

ROOT = os.geteuid() == 0


@pytest.fixture
def file(tmp_path):
    disk, info = written(reference(9))
    path = tmp_path / "some.paxsnap"
    path.write_bytes(disk.files[snapshot_name(info.slot)].data)
    return path


@pytest.fixture
def ctl(capsys):
    """``ctl("snapshot", …) → (exit code, stdout, stderr)``."""

    def call(*arguments):
        code = run([str(each) for each in arguments])
        return code, *capsys.readouterr()

    return call


class TestStatus:
    def test_a_good_one_in_each_format(self, ctl, file):
        code, out, _ = ctl("snapshot", "status", file, "-o", "json")
        assert code == 0
        found = json.loads(out)
        assert (found["good"], found["cluster"], found["slot"]) == (True, "c", 9)
        keys = len(reference(9).store)
        assert (found["keys"], found["sessions"], found["revision"]) == (keys, 1, 24)
        assert found["bytes"] == file.stat().st_size
        assert list(found["members"]) == ["n1"]
        code, out, _ = ctl("snapshot", "status", file)
        assert code == 0
        assert "is good" in out
        code, out, _ = ctl("snapshot", "status", file, "-o", "plain")
        assert "slot\t9\n" in out

    def test_a_damaged_one(self, ctl, file):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        code, out, err = ctl("snapshot", "status", file, "-o", "json")
        assert code == 1
        assert json.loads(out)["good"] is False
        assert "not a good snapshot" in out + err

    def test_none_at_all(self, ctl, tmp_path):
        code, _, err = ctl("snapshot", "status", tmp_path / "nothing")
        assert code == 74
        assert "cannot be read: No such file" in err
        assert ctl("snapshot", "status")[0] == 2
        assert ctl("snapshot", "status", tmp_path)[0] == 2

    @pytest.mark.skipif(not ROOT, reason="only root can become another user")
    def test_not_readable_for_another_user(self, ctl, file):
        ctl("snapshot", "status", file)  # imports what that user may not read
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            closed = shutil.copy(file, directory)
            os.chmod(closed, 0)
            os.setresuid(65534, 65534, 0)
            try:
                code, _, err = ctl("snapshot", "status", closed)
            finally:
                os.setresuid(0, 0, 0)
        assert code == 77, err

    @pytest.mark.skipif(ROOT, reason="root may do anything")
    def test_not_readable(self, ctl, file):
        file.chmod(0)
        assert ctl("snapshot", "status", file)[0] == 77


class Node:
    """As much of a client as ``save`` needs, of a node that has one snapshot."""

    timeout_s = 1.0

    def __init__(self, data):
        self.data = data

    def status(self, endpoint):
        return {"snapshot": {"slot": 9}}

    def admin(self, verb, args, *, endpoint):
        if verb == "snapshot_take":
            return {"applied": 9}
        piece = self.data[args["offset"] : args["offset"] + 100]
        return {"slot": 9, "total": len(self.data), "data": piece}


class TestSave:
    @pytest.fixture
    def node(self, file):
        node = Node(file.read_bytes())
        file.unlink()
        return node

    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
    def test_nobody_else_may_read_it(self, node, file, umask):
        before = os.umask(umask)
        try:
            save(node, "", file, force=False)
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            file.chmod(0o644)
            save(node, "", file, force=True)
        finally:
            os.umask(before)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_bytes() == node.data
        assert list(file.parent.iterdir()) == [file]

    @pytest.mark.parametrize("force", [False, True])
    def test_what_is_no_regular_file_stays(self, node, file, force):
        os.mkfifo(file.with_name("fifo"))
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(file.with_name("socket")))
        for name in ("fifo", "socket", "link"):
            path = file.with_name(name)
            if name == "link":
                path.symlink_to("fifo")
            before = path.lstat()
            with pytest.raises(SnapshotFileError, match="no regular file, and is not replaced"):
                save(node, "", path, force=force)
            assert path.lstat().st_ino == before.st_ino, name

    def test_not_even_a_device(self, node):
        for force in (False, True):
            with pytest.raises(SnapshotFileError, match="no regular file, and is not replaced"):
                save(node, "", Path("/dev/null"), force=force)
        assert Path("/dev/null").is_char_device()

    def test_a_link_is_followed_and_stays_one(self, node, file):
        link = file.with_name("link")
        file.write_bytes(b"old")
        link.symlink_to(file.name)
        with pytest.raises(SnapshotFileError, match="exists"):
            save(node, "", link, force=False)
        save(node, "", link, force=True)
        assert link.is_symlink()
        assert file.read_bytes() == node.data
        link.unlink()
        link.symlink_to("link")
        with pytest.raises(SnapshotFileError, match="leads nowhere"):
            save(node, "", link, force=True)

    def test_what_is_not_whole_replaces_nothing(self, node, file):
        file.write_bytes(b"old")
        node.data = node.data[:-1]
        with pytest.raises(SnapshotFileError, match="not a good snapshot"):
            save(node, "", file, force=True)
        assert file.read_bytes() == b"old"
        assert list(file.parent.iterdir()) == [file]

    def test_a_full_disk_is_told_by_the_name_of_the_file(self, node, file, monkeypatch):
        def full(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StreamError, match=r"some\.paxsnap cannot be written: No space"):
            save(node, "", file, force=False)
        assert not list(file.parent.iterdir())


def restore(ctl, file, data_dir, *options, cluster="new", node="n1"):
    return ctl("snapshot", "restore", file, "--data-dir", data_dir, "--cluster-id", cluster,
               "--node", node, *options)  # fmt: skip


class TestRestore:
    def test_a_directory_of_a_new_cluster(self, ctl, file, tmp_path):
        home = tmp_path / "home"
        code, out, _ = restore(ctl, file, home, node="m1")
        assert code == 0
        assert "every other node" in out
        assert json.loads((home / "identity").read_text())["cluster"] == "new"
        disk = RealDisk(home / "wal")
        assert disk.list() == [snapshot_name(9)]
        disk.close()
        code, out, _ = ctl("snapshot", "status", home / "wal" / snapshot_name(9), "-o", "json")
        assert json.loads(out)["cluster"] == "new"

    def test_it_says_which_snapshot_it_began_with(self, ctl, file, tmp_path):
        assert restore(ctl, file, tmp_path / "home")[0] == 0
        _, out, _ = ctl("snapshot", "status", file, "-o", "json")
        revision = json.loads(out)["revision"]
        expected = {"cluster": "c", "slot": 9, "revision": revision}
        assert restored_from.read(tmp_path / "home") == expected

    @pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"cluster": 1, "slot": 1}', "\xff"])
    def test_a_note_that_cannot_be_read_is_none(self, tmp_path, text):
        if text is not None:
            (tmp_path / restored_from.NOTE).write_text(text, encoding="latin-1")
        assert restored_from.read(tmp_path) == {}

    def test_the_revision_jumps_ahead_and_all_else_stays(self, ctl, file, tmp_path):
        _, out, _ = ctl("snapshot", "status", file, "-o", "json")
        before = json.loads(out)
        for bump in (0, 5, 1_000_000_000):
            home = tmp_path / str(bump)
            option = [] if bump == 1_000_000_000 else ["--bump-revision", bump]
            code, out, _ = restore(ctl, file, home, *option)
            assert code == 0
            assert f"revision {before['revision'] + bump}" in out
            with open(home / "wal" / snapshot_name(9), "rb") as made:
                machine, reader = load(RealFile(os.dup(made.fileno())), "new", DEFAULT_LIMITS)
            old = reference(9)
            assert machine.revision == old.revision + bump
            assert machine.sessions.next_id == old.sessions.next_id + bump
            lease_bump = bump if old.settings.level >= LEVEL_COORDINATION else 0
            assert machine.leases.next_id == old.leases.next_id + lease_bump
            assert machine.history_floor_revision == machine.revision + 1
            assert (machine.chain == old.chain) == (bump == 0)
            assert machine.store.data == old.store.data
            assert bool(reader.info.total) == bool(before["checksum"])

    def test_not_beyond_what_there_are_numbers_for(self, ctl, file, tmp_path):
        assert restore(ctl, file, tmp_path / "home", "--bump-revision", 1 << 60)[0] == 2
        assert restore(ctl, file, tmp_path / "home", "--bump-revision", -1)[0] == 2

    def test_its_node_is_a_newcomer_that_waits_for_every_other(self, ctl, file, tmp_path):
        """It has a state, but promised nothing: nobody tells it from one that was wiped."""
        assert restore(ctl, file, tmp_path / "home")[0] == 0
        with DataDir.open(tmp_path / "home", "new", "n1") as home:
            node = started(home.home, home.disk, cluster="new")
            assert (node.applied, node.role) == (9, "newcomer")

    def test_not_into_what_exists(self, ctl, file, tmp_path):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "mine").touch()
        code, _, err = restore(ctl, file, tmp_path / "full")
        assert code == 1
        assert "not empty" in err
        assert (tmp_path / "full" / "mine").exists()
        (tmp_path / "empty").mkdir()
        assert restore(ctl, file, tmp_path / "empty")[0] == 0
        assert restore(ctl, file, tmp_path / "empty")[0] == 1

    def test_neither_from_a_file_that_is_not_there_nor_to_where_none_can_be(
        self, ctl, file, tmp_path
    ):
        code, _, err = restore(ctl, tmp_path / "nothing", tmp_path / "home")
        assert (code, "nothing cannot be read" in err) == (74, True)
        code, _, err = restore(ctl, file, file / "home")
        assert code == 74
        assert "Not a directory" in err

    def test_not_as_the_cluster_itself(self, ctl, file, tmp_path):
        code, _, err = restore(ctl, file, tmp_path / "home", cluster="c")
        assert code == 1
        assert "another id" in err
        assert not (tmp_path / "home").exists()

    def test_a_damaged_file_leaves_nothing(self, ctl, file, tmp_path):
        file.write_bytes(file.read_bytes()[:-1])
        assert restore(ctl, file, tmp_path / "home")[0] == 1
        assert not (tmp_path / "home").exists()

    def test_names(self, ctl, file, tmp_path):
        assert restore(ctl, file, tmp_path / "home", node="no/good")[0] == 2
        assert restore(ctl, file, tmp_path / "home", cluster="")[0] == 2
        assert ctl("snapshot", "restore", file, "--data-dir", tmp_path / "x")[0] == 2


@pytest.mark.timeout(120)
def _streamed(old, endpoints, tmp_path):
    """ "-" is standard output: nothing but the snapshot is there, and none of it if it is lost."""
    command = [sys.executable, "-m", "paxosctl", "--endpoints", endpoints, "snapshot", "save", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    (tmp_path / "streamed").write_bytes(done.stdout)
    assert b"written, as of slot" in done.stderr
    assert run(["snapshot", "status", str(tmp_path / "streamed")]) == 0
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 74
    assert b"No space left on device" in done.stderr


def _without_a_quorum(old, endpoints, tmp_path, capsys):
    """n3 alone is up: not submitted, and the way out is named; it works."""
    path = tmp_path / "without"
    wait_for(lambda: not (old.status("n3") or {"leader": "n1"})["leader"], what="n3 to see it")
    capsys.readouterr()
    assert run(["--endpoints", endpoints, "snapshot", "save", str(path)]) == 75
    assert "--endpoint tcp://HOST:PORT takes what that one node has applied" in (
        capsys.readouterr().err
    )
    assert not path.exists()
    saved = ["snapshot", "save", str(path), "--endpoint", old.endpoint("n3")]
    assert run(["--endpoints", endpoints, *saved]) == 0


def test_from_one_cluster_to_another(tmp_path, capsys):
    """save from live daemons, restore for each of three new ones, and there is everything."""
    saved = tmp_path / "saved.paxsnap"
    (tmp_path / "old").mkdir()
    with Daemons(tmp_path / "old") as old:
        old.start()
        old.wait_leader()
        with old.client() as client:
            for number in range(50):
                client.put(b"k%d" % number, b"v%d" % number)
            revision = client.put(b"last", b"one")
        endpoints = ",".join(old.endpoints)
        assert run(["--endpoints", endpoints, "snapshot", "save", str(saved)]) == 0
        assert run(["--endpoints", endpoints, "snapshot", "save", str(saved)]) == 1
        assert "exists" in capsys.readouterr().err
        one = old.endpoint("n2")
        force = ["snapshot", "save", str(saved), "--endpoint", one, "--force", "-o", "json"]
        assert run(["--endpoints", endpoints, *force]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["keys"] == 51
        known = old.admin("n2", "checksum", slot=told["slot"])
        assert known["checksum"] == told["checksum"], "what hash would show as of that slot"
        assert not list(tmp_path.glob("*.part"))
        _streamed(old, endpoints, tmp_path)
        old.kill("n1", "n2")
        _without_a_quorum(old, endpoints, tmp_path, capsys)
    assert run(["--endpoints", endpoints, "snapshot", "save", str(tmp_path / "x")]) == 69
    capsys.readouterr()
    (tmp_path / "new").mkdir()
    with Daemons(tmp_path / "new", cluster={"id": "second"}) as new:
        for name in new.names:
            home = str(tmp_path / "new" / name)
            assert run(["snapshot", "restore", str(saved), "--data-dir", home, "--cluster-id",
                        "second", "--node", name]) == 0  # fmt: skip
        new.start()
        new.wait_leader()
        with new.client() as client:
            assert client.get(b"k7").value == b"v7"
            assert client.get(b"last").modify_revision == revision
            assert client.put(b"next", b"one") == revision + BUMP + 1
        new.check_equal()
        new.kill()
        new.start()
        new.wait_leader()
        with new.client() as client:
            assert client.get(b"next").value == b"one"
            origin = client.status()["restored_from"]
            assert (origin["slot"], origin["revision"]) == (told["slot"], revision)
            assert origin["cluster"] != "second"
            with pytest.raises(RefusedError, match="restored from a snapshot of cluster") as ended:
                next(client.watch(b"k7", from_revision=revision + BUMP + 1000))
            assert ended.value.code == "history"
            with pytest.raises(RefusedError) as ended:
                next(client.watch(b"k7", from_revision=revision + 1000))
            assert ended.value.code == "compacted"
