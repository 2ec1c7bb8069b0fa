"""Whose directory it is, who uses it now, and how often it was opened."""

import os
import subprocess
import sys

import pytest

from paxosd.storage import identity
from paxosd.storage.datadir import DataDir, DataDirLocked, usable
from paxosd.storage.disk import StorageError
from paxosd.storage.identity import IdentityError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "n1"


def claimed(opened):
    """The claim of a directory that was opened, as at a start."""
    with usable(opened.path):
        return opened.node_directory.claim()


def start(path, cluster="c", node="n1"):
    """Open, claim, close: how often it was claimed."""
    with DataDir.open(path, cluster, node) as opened:
        return claimed(opened).boot_count


class TestDataDir:
    def test_incarnation_goes_up_by_one_each_time(self, path):
        for expected in (1, 2, 3):
            with DataDir.open(path, "c", "n1") as opened:
                assert claimed(opened).boot_count == expected
                assert opened.disk.list() == []

    def test_it_knows_itself(self, path):
        with DataDir.open(path, "c", "n1") as opened:
            boot_count, first, *rest = claimed(opened)
            assert (boot_count, *rest) == (1, False, False, True, 0)
        with DataDir.open(path, "c", "n1") as opened:
            assert claimed(opened).directory_id == first > 0
            second = identity.renew(opened.home, repaired=True)
        with DataDir.open(path, "c", "n1") as opened:
            assert claimed(opened) == (3, second, True, True, True, 0)
            identity.mark_removed(opened.home, 2, 9)
        with pytest.raises(IdentityError, match=f"slot 9: what {path} holds"):
            start(path)

    def test_only_the_owner_gets_in(self, path):
        start(path)
        assert path.stat().st_mode & 0o777 == 0o700
        assert (path / "wal").stat().st_mode & 0o777 == 0o700
        assert (path / "identity").stat().st_mode & 0o777 == 0o600

    def test_a_second_daemon_is_told_who_has_it(self, path):
        with (
            DataDir.open(path, "c", "n1"),
            pytest.raises(DataDirLocked, match=f"process {os.getpid()}") as caught,
        ):
            DataDir.open(path, "c", "n1")
        assert caught.value.pid == os.getpid()
        assert isinstance(caught.value, StorageError)
        assert start(path) == 1, "those that did not get as far do not count"

    def test_a_process_that_dies_lets_go(self, path):
        code = (
            "import os, sys; from paxosd.storage.datadir import DataDir; "
            "d = DataDir.open(sys.argv[1], 'c', 'n1'); d.node_directory.claim(); "
            "print('open', flush=True); os._exit(9)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, check=False
        )
        assert done.stdout == b"open\n"
        assert start(path) == 2

    @pytest.mark.parametrize(("cluster", "node"), [("d", "n1"), ("c", "n2")])
    def test_another_identity_is_refused_and_changes_nothing(self, path, cluster, node):
        start(path)
        with pytest.raises(IdentityError, match=r"belongs to (cluster 'c'|node 'n1')"):
            start(path, cluster, node)
        assert start(path) == 2

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 99}'])
    def test_a_damaged_identity(self, path, text):
        start(path)
        (path / "identity").write_text(text)
        with pytest.raises(IdentityError):
            start(path)

    @pytest.mark.parametrize("text", [None, "", "-1", "x", "\u0663"])
    def test_a_damaged_incarnation(self, path, text):
        start(path)
        if text is None:
            (path / "incarnation").unlink()
        else:
            (path / "incarnation").write_text(text)
        with pytest.raises(IdentityError, match="incarnation"):
            start(path)

    def test_a_log_without_an_identity(self, path):
        with DataDir.open(path, "c", "n1") as opened:
            claimed(opened)
            opened.disk.open("wal-00000001.log", create=True).close()
        (path / "identity").unlink()
        with pytest.raises(IdentityError, match="identity file is missing"):
            start(path)

    def test_a_crash_before_the_identity_was_written(self, path):
        path.mkdir(parents=True)
        (path / "incarnation").write_text("1\n")
        (path / ".identity.tmp").write_text("{")
        assert start(path) == 1

    def test_the_mark_of_a_log(self, path):
        with DataDir.open(path, "c", "n1") as opened:
            assert not identity.log_created(opened.home)
            identity.mark_log_created(opened.home)
            identity.mark_log_created(opened.home)
        with DataDir.open(path, "c", "n1") as opened:
            assert identity.log_created(opened.home)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything")
    def test_no_permission(self, path):
        path.mkdir(parents=True, mode=0o500)
        with pytest.raises(PermissionError, match="not usable by user id"):
            DataDir.open(path, "c", "n1")

    def test_no_permission_in_words(self, path, monkeypatch):
        def refuse(*_args, **_kwargs):
            raise PermissionError(13, "Permission denied", str(path / "LOCK"))

        path.mkdir(parents=True)
        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(PermissionError, match="not usable by user id"):
            DataDir.open(path, "c", "n1")

    def test_a_file_that_may_not_be_read_in_words(self, path):
        """What a start finds later is reported in the same words as what it finds at once."""
        start(path)
        with (
            DataDir.open(path, "c", "n1") as opened,
            pytest.raises(PermissionError, match=f"{path} is not usable by user id"),
            usable(opened.path),
        ):
            raise PermissionError(13, "Permission denied", str(path / "identity"))
        with pytest.raises(StorageError, match="not usable: I/O error"), usable(path):
            raise OSError(5, "I/O error")

    def test_a_file_in_its_place(self, path):
        path.parent.mkdir(parents=True)
        path.write_text("")
        with pytest.raises(StorageError, match="not usable"):
            DataDir.open(path, "c", "n1")
