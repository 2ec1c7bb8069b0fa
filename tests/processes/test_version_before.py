"""Data directories of earlier versions: they start, and go on as those of the present one.

Of the version before founding records, and of the one before clients gave their names. The fixtures
were made by those programs, see tests/fixtures/make_before_genesis.py and make_before_names.py.
"""

import shutil
import signal
import tarfile
from pathlib import Path

import pytest

from paxosd.core.cluster_settings import LEVEL_LATEST
from tests.processes.growing import Growing
from tests.processes.processes import Daemons, wait_for

FIXTURES = Path(__file__).parents[1] / "fixtures"
EXPECTED = {b"key/%03d" % number: b"value %d" % number for number in range(70)}
EXPECTED[b"key/003"] = b"written again"
del EXPECTED[b"key/007"]


def unpack(path, which, fixture="before_genesis"):
    """The data directories of one cluster of the fixture, in ``path``."""
    with tarfile.open(FIXTURES / f"{fixture}.tar.xz") as archive:
        members = [each for each in archive if each.name.startswith(f"{which}/")]
        for each in members:
            each.name = each.name.removeprefix(f"{which}/")
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later, and it warns without
            archive.extractall(path, members, filter="data")
        else:
            archive.extractall(path, members)


def read_all(daemons, name):
    """All keys with their values, by linearizable reads through one node."""
    with daemons.client(name, timeout_s=30.0) as client:
        return {item.key: item.value for item in client.scan(b"key/")}


def is_adopted(daemons):
    """Whether all nodes have raised the level, and know the cluster by one record."""
    views = [daemons.status(name) for name in daemons.processes]
    return (
        None not in views
        and {view["level"] for view in views} == {LEVEL_LATEST}
        and len({view["genesis"] for view in views}) == 1
        and views[0]["genesis"] != ""
    )


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("which", "size"), [("three", 3), ("one", 1)])
def test_old_directories_start_and_adopt_a_founding_record(tmp_path, which, size):
    unpack(tmp_path, which)
    with Daemons(tmp_path, size) as daemons:
        daemons.founded = True
        daemons.start()
        daemons.wait_leader()
        expected = dict(EXPECTED)
        for name in daemons.names:
            assert read_all(daemons, name) == expected
        with daemons.client() as client:
            client.put(b"key/new", b"written on")
        expected[b"key/new"] = b"written on"
        wait_for(lambda: is_adopted(daemons), 60.0, "a founding record on all nodes")
        genesis = daemons.status("n1")["genesis"]
        directories = {
            name: member["directory"]
            for name, member in daemons.status("n1")["membership"]["members"].items()
        }
        assert directories == {n: daemons.status(n)["directory"] for n in daemons.names}
        assert daemons.kill(sig=signal.SIGTERM) == [0] * size
        daemons.start()
        daemons.wait_leader()
        wait_for(lambda: is_adopted(daemons), 60.0, "the record is there after a restart")
        assert daemons.status("n1")["genesis"] == genesis
        for name in daemons.names:
            assert read_all(daemons, name) == expected
        daemons.check_equal()


@pytest.mark.timeout(180)
def test_a_directory_that_is_lost_on_the_way_is_let_in_again(tmp_path):
    """It founds nothing with those that have a past, and votes after ``member rejoin``."""
    unpack(tmp_path, "three")
    shutil.rmtree(tmp_path / "n3")
    with Growing(tmp_path, size=3, more=0) as daemons:
        daemons.start()
        wait_for(lambda: (daemons.status("n1") or {}).get("leader"), what="a leader")
        daemons.wait_event("n3", "node.memory_lost")
        assert not (tmp_path / "n3" / "genesis").exists()
        assert daemons.status("n3")["role"] == "memory-lost"
        assert read_all(daemons, "n1") == EXPECTED
        daemons.ctl("rejoin", "n3")
        wait_for(lambda: is_adopted(daemons), 60.0, "a founding record on all nodes")
        assert daemons.status("n3")["role"] in ("follower", "leader")
        daemons.kill("n1")
        with daemons.client("n2", "n3", timeout_s=30.0) as client:
            client.put(b"key/new", b"by n2 and n3")
        assert read_all(daemons, "n3") == EXPECTED | {b"key/new": b"by n2 and n3"}


def has_raised(daemons):
    return {(daemons.status(name) or {}).get("level") for name in daemons.names} == {LEVEL_LATEST}


@pytest.mark.timeout(180)
def test_directories_of_before_names_go_on_and_clients_get_names(tmp_path):
    """Their votes and promises count, nothing is set aside; snapshots of then are read."""
    unpack(tmp_path, "three", "before_names")
    with Daemons(tmp_path, 3) as daemons:
        daemons.founded = True
        daemons.start()
        daemons.wait_leader()
        for name in daemons.names:
            assert read_all(daemons, name) == EXPECTED
            assert not [each for each in (tmp_path / name / "wal").iterdir() if "lost" in each.name]
        wait_for(lambda: has_raised(daemons), 60.0, "the level at which clients have names")
        with daemons.client() as client:
            client.put(b"key/new", b"written on")
        for name in daemons.names:
            assert read_all(daemons, name) == EXPECTED | {b"key/new": b"written on"}
        daemons.check_equal()
