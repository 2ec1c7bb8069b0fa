"""A daemon and its disk: a log that is damaged or gone, a full disk, a wiped directory."""

import errno
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
from contextlib import contextmanager

import pytest

from tests.processes.processes import Daemons, check_some, put_some, wait_for

OK, UNAVAILABLE, STORAGE, PERMISSION, CONFIG = 0, 69, 74, 77, 78


@pytest.fixture
def trio(tmp_path):
    with Daemons(tmp_path) as daemons:
        daemons.start()
        daemons.wait_leader()
        yield daemons


@pytest.fixture
def single(tmp_path):
    """A cluster of one, not started."""
    with Daemons(tmp_path, 1) as daemons:
        yield daemons


class TestTheLogOnDisk:
    def segment(self, daemons, number=1):
        return daemons.path / "n1" / "wal" / f"wal-{number:08d}.log"

    def check_set_aside(self, daemons, damaged):
        """A lone voter is a majority: it starts, lets nobody write, and says why."""
        daemons.start()
        lost = daemons.wait_event("n1", "node.memory_lost")
        assert "majority" in lost["advice"]
        daemons.wait_event("n1", "node.waiting")
        status = daemons.status("n1")
        assert status["role"] == "memory-lost"
        assert status["leader"] == ""
        kept = {
            path.name: path.read_bytes() for path in self.segment(daemons).parent.glob("lost-*")
        }
        assert kept == {f"lost-1-{name}": data for name, data in damaged.items()}
        identity = json.loads((daemons.path / "n1" / "identity").read_text())
        assert (identity["lost"], identity["repaired"]) == (True, True)
        assert not (daemons.path / "n1" / "quarantine").exists()

    def logs(self, daemons):
        return {p.name: p.read_bytes() for p in self.segment(daemons).parent.glob("wal-*")}

    def test_damaged_early_is_set_aside_with_its_place_told(self, single):
        single.start()
        put_some(single)
        single.kill()
        path = self.segment(single)
        data = bytearray(path.read_bytes())
        place = data.index(b"k3\xc4\x013") if b"k3\xc4\x013" in data else data.index(b"k3")
        data[place] ^= 0x40
        path.write_bytes(data)
        self.check_set_aside(single, self.logs(single))
        event = single.events("n1", "storage.corrupt")[-1]
        assert event["segment"] == path.name
        assert 512 <= event["offset"] <= place

    def test_a_missing_segment(self, single):
        single.start()
        put_some(single, 200, size=50_000)
        single.kill()
        assert self.segment(single, 2).exists()
        self.segment(single, 1).unlink()
        self.check_set_aside(single, self.logs(single))
        assert single.events("n1", "storage.corrupt")[-1]["segment"] == self.segment(single, 1).name

    def test_a_log_that_is_gone_is_refused(self, single):
        """Its vote, that is."""
        single.start()
        put_some(single)
        single.kill()
        for path in self.segment(single).parent.iterdir():
            path.unlink()
        self.check_set_aside(single, {})

    @pytest.mark.parametrize("how", ["flipped", "shortened"])
    def test_damaged_on_one_of_three_votes_again_by_itself(self, trio, how):
        leader = trio.wait_leader()
        put_some(trio)
        victim = trio.followers(leader)[0]
        trio.kill(victim)
        path = trio.path / victim / "wal" / "wal-00000001.log"
        data = bytearray(path.read_bytes())
        if how == "flipped":
            data[600] ^= 0x40
        else:
            del data[len(data.rstrip(b"\0")) - 100 :]
        path.write_bytes(data)
        trio.start(victim)
        trio.wait_event(victim, "node.memory_lost")
        trio.wait_event(victim, "node.rejoined")
        other = next(name for name in trio.followers(leader) if name != victim)
        trio.kill(other)
        with trio.client(timeout_s=30.0) as client:
            client.put(b"with its vote", b"")
        trio.start(other)
        trio.check_equal()

    def test_a_torn_tail_is_cut_off(self, single):
        """Half of a group that was never acknowledged."""
        single.start()
        put_some(single)
        single.kill()
        path = self.segment(single)
        data = path.read_bytes()
        end = len(data.rstrip(b"\0"))
        marker = data[512 + 4 : 512 + 8]
        torn = b"\1\2\3\4" + marker + struct.pack("<IQB", 500, 9999, 2) + os.urandom(200)
        path.write_bytes(data[:end] + bytes(4) + torn + data[end + 4 + len(torn) :])
        single.start()
        check_some(single)
        assert single.events("n1", "storage.truncated")
        put_some(single, 30)
        single.kill()
        single.start()
        check_some(single, 30)

    def test_restarts_by_the_dozen_keep_everything(self, single):
        for number in range(8):
            single.start()
            with single.client(timeout_s=30.0) as client:
                client.put(b"k%d" % number, b"%d" % number)
            single.kill(sig=signal.SIGKILL if number % 2 else signal.SIGTERM)
        single.start()
        check_some(single, 8)
        assert single.status("n1")["incarnation"] == 9


class TestFullDisk:
    def fill(self, daemons, victim):
        """Write until ``victim`` has ended of its own; its exit code."""
        with daemons.client(timeout_s=60.0) as client:
            for number in range(2000):
                with client.pipeline() as pipe:
                    for key in range(10):
                        pipe.put(b"k%d" % key, b"%d" % number + b"." * 50_000)
                if daemons.processes[victim].poll() is not None:
                    break
        return daemons.wait_end(victim)

    @pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
    def test_at_a_limit_of_file_size_the_node_ends_and_the_others_go_on(self, trio, leads):
        """EFBIG where a real disk has ENOSPC: the same path, and it needs no privileges."""
        leader = trio.wait_leader()
        victim = leader if leads else trio.followers(leader)[0]
        limit = 5 << 20  # of a file of all: the segments of 4 MiB are below it …
        pid = trio.processes[victim].pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, limit))
        put_some(trio)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 20, limit))  # … and now are not
        assert self.fill(trio, victim) == STORAGE
        line = trio.events(victim, "node.failed")[-1]
        assert "wal-" in line["message"] or "log segment" in line["message"]
        assert trio.events(victim, "storage.failed")[-1]["errno"] == errno.EFBIG
        assert "Traceback" not in trio.stderr(victim)
        with trio.client(timeout_s=30.0) as client:
            client.put(b"after", b"all")
        trio.start(victim)
        trio.check_equal()

    def test_a_full_file_system(self, tmp_path):
        with Daemons(tmp_path) as daemons, small_disk(tmp_path / "n2", "20m"):
            daemons.start()
            daemons.wait_leader()
            assert self.fill(daemons, "n2") == STORAGE
            assert "the disk is full" in daemons.stderr("n2")
            with daemons.client(timeout_s=30.0) as client:
                client.put(b"after", b"all")
            # Still full: it says so again, or starts and says so when it has to write.
            daemons.start("n2")
            assert daemons.wait_end("n2") == STORAGE
            assert "the disk is full" in daemons.stderr("n2")
            with daemons.client(timeout_s=30.0) as client:
                assert client.get(b"after").value == b"all"
            for process in daemons.processes.values():
                assert process.poll() is None


@contextmanager
def small_disk(path, size):
    """A tmpfs of this size at ``path``; skips where this user may not mount one."""
    path.mkdir(mode=0o700)
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


class TestLostMemory:
    """PITFALLS, Paxos 1: whoever forgot its promises must not vote."""

    def test_a_data_directory_wiped_in_its_first_life(self, trio):
        leader = trio.wait_leader()
        put_some(trio)
        victim, other = trio.followers(leader)
        trio.kill(victim)
        shutil.rmtree(trio.path / victim)
        trio.kill(other)
        trio.start(other)  # it was restarted meanwhile, and remembers all the same
        trio.start(victim)
        wait_for(
            lambda: (trio.status(victim) or {}).get("role") == "memory-lost",
            what="the node to be told that it has lost its memory",
        )
        advice = trio.wait_event(victim, "node.memory_lost")["advice"]
        assert f"paxosctl member rejoin {victim}" in advice
        with trio.client(timeout_s=30.0) as client:
            client.put(b"after", b"all")
        revision = trio.status(leader)["revision"]
        wait_for(lambda: trio.status(victim)["revision"] >= revision, what="it to learn all")
        status = trio.status(victim)
        assert (status["memory"], status["role"]) == ("lost", "memory-lost")

    def test_a_new_cluster_waits_for_its_last_member_once(self, tmp_path):
        with Daemons(tmp_path) as daemons:
            daemons.start("n1", "n2")
            for name in ("n1", "n2"):
                wait_for(lambda name=name: (daemons.status(name) or {}).get("unconfirmed_by")
                         == ["n3"], what=f"{name} to wait for n3")  # fmt: skip
            assert daemons.status("n1")["role"] == "newcomer"
            daemons.start("n3")
            daemons.wait_leader()
            daemons.kill("n3")
            daemons.kill("n1")
            daemons.start("n1")  # from now on a majority is enough
            daemons.wait_leader()
