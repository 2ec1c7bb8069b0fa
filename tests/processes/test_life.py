"""One daemon's life: starting and refusing to, signals, disks that fail, being frozen, behind."""

import ctypes
import errno
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
from contextlib import closing, contextmanager

import pytest

from paxosctl.client.client import ClientError
from paxosd.core.requests import GET, LINEARIZABLE, ReadAnswer, ReadRequest
from paxosd.daemon.notify import NotifyReceiver
from tests.processes.load import Load
from tests.processes.processes import Daemons, wait_for

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


def put_some(daemons, count=20, size=0):
    """Write k0 … with one outstanding request after another, so each has a group of its own."""
    with daemons.client(timeout_s=30.0) as client:
        for number in range(count):
            client.put(b"k%d" % number, b"%d" % number + b"." * size)


def check_some(daemons, count=20):
    with daemons.client(timeout_s=30.0) as client:
        values = {row.key: row.value.rstrip(b".") for row in client.scan(b"k")}
    assert values == {b"k%d" % number: b"%d" % number for number in range(count)}


class TestSigterm:
    def test_a_leader_hands_over(self, trio):
        leader = trio.wait_leader()
        with Load(trio) as load:
            load.wait_more(100)
            assert trio.kill(leader, sig=signal.SIGTERM) == [OK]
            load.wait_more(100)
        load.check()
        new = trio.wait_leader()
        assert new != leader
        assert trio.events(leader, "leader.handing_over")
        assert trio.events(leader, "node.stopped")[-1]["exit_code"] == 0
        # It was asked to campaign: no election timeout had to pass.
        assert trio.events(leader, "node.stopping")[-1]["reason"] == "SIGTERM"
        trio.start(leader)
        trio.check_equal()

    def test_a_follower_just_goes(self, trio):
        leader = trio.wait_leader()
        follower = trio.followers(leader)[0]
        assert trio.kill(follower, sig=signal.SIGINT) == [OK]
        put_some(trio)
        assert trio.wait_leader() == leader

    def test_all_at_once_end_though_nobody_is_left_to_take_over(self, trio):
        put_some(trio)
        for name in trio.names:
            trio.signal(name, signal.SIGTERM)
        assert [trio.wait_end(name) for name in trio.names] == [OK] * 3
        trio.start()
        check_some(trio)

    def test_a_second_one_does_not_wait(self, trio):
        leader = trio.wait_leader()
        others = trio.followers(leader)
        trio.kill(*others)
        trio.signal(leader, signal.SIGTERM)
        trio.signal(leader, signal.SIGTERM)
        assert trio.wait_end(leader) == OK


class TestSighup:
    def test_opens_the_log_file_anew(self, single):
        single.start()
        single.wait_leader()
        path = single.log_path("n1")
        path.rename(path.with_suffix(".old"))
        single.signal("n1", signal.SIGHUP)
        single.wait_event("n1", "log.reopened")
        assert "log.reopened" not in path.with_suffix(".old").read_text()
        put_some(single)

    def test_keeps_the_old_file_if_there_is_no_new_one(self, single):
        """A node must not end because somebody moved its log directory away."""
        logs = single.path / "logs"
        logs.mkdir()
        single.settings["log"] = {"format": "json", "file": "logs/n1.log"}
        single.write_config("n1")
        single.start()
        single.wait_leader()
        logs.rename(single.path / "moved")
        single.signal("n1", signal.SIGHUP)
        moved = single.path / "moved" / "n1.log"
        wait_for(lambda: "log.reopen_failed" in moved.read_text(), what="words about it")
        put_some(single)
        check_some(single)


class TestRefusesToStart:
    def test_on_a_directory_in_use(self, single):
        single.start()
        single.wait_leader()
        code, words = single.fails_to_start("n1")
        assert code == UNAVAILABLE
        assert f"process {single.processes['n1'].pid}" in words
        put_some(single)

    @pytest.mark.parametrize("port", ["peer", "client", "events"])
    def test_on_a_port_in_use(self, single, port):
        with closing(socket.socket()) as holder:
            holder.bind(("127.0.0.1", single.ports["n1"][port]))
            holder.listen()
            code, words = single.fails_to_start("n1")
        assert code == UNAVAILABLE
        assert single.endpoint("n1", port) in words
        assert "in use" in words
        single.start()  # nothing was left behind
        put_some(single)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("nonsense", "n1.toml"),
            ("[limits]\nkey_byte_max = 1\n", "key_bytes_max"),
            ('[limits]\nkey_bytes_max = "x"\n', "limits.key_bytes_max"),
        ],
        ids=["no-toml", "misspelt", "no-number"],
    )
    def test_with_a_bad_configuration(self, single, text, words):
        path = single.config_path("n1")
        path.write_text(path.read_text() + text if text == "nonsense" else text)
        code, said = single.fails_to_start("n1")
        assert code == CONFIG
        assert words in said
        assert "Traceback" not in said

    def test_with_the_directory_of_another_node_or_cluster(self, trio):
        name = "n1"
        path = trio.config_path(name)
        good = path.read_text()
        trio.kill()
        for old, new in (('data_dir = "n1"', 'data_dir = "n2"'), ('id = "test"', 'id = "prod"')):
            path.write_text(good.replace(old, new, 1))
            code, words = trio.fails_to_start(name)
            assert code == CONFIG
            assert "belongs to" in words

    def test_on_a_directory_that_it_may_not_write(self, single):
        (single.path / "n1").mkdir(mode=0o500)
        code, words = single.fails_to_start("n1", preexec=obey_modes)
        assert code == PERMISSION, words
        assert str(single.path / "n1") in words


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
        """Half of a group that nobody was told about."""
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


_prctl = ctypes.CDLL(None).prctl


def obey_modes():
    """Between fork and exec: from then on the modes of files hold for root, too."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; others have none to lose
        _prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


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


class TestFrozen:
    def test_a_leader_stopped_past_its_reign_and_continued(self, trio):
        """SIGSTOP: it wakes up as a leader in its own eyes, with requests in its queues."""
        old = trio.wait_leader()
        others = trio.followers(old)
        with Load(trio, seed=5) as load, trio.raw(old) as raw:
            load.wait_more(100)
            with trio.client(timeout_s=30.0) as client:
                client.put(b"k", b"before")
            trio.signal(old, signal.SIGSTOP)
            read = raw.send(ReadRequest(0, LINEARIZABLE, [[GET, b"k"]]))
            with trio.client(*others, timeout_s=60.0) as client:
                client.put(b"k", b"after")
            load.wait_more(100)
            trio.signal(old, signal.SIGCONT)
            answer = raw.answer(read, timeout_s=30.0)
            assert not isinstance(answer, ReadAnswer) or answer.results[0].value == b"after"
            load.wait_more(100)
        load.check()
        trio.check_equal()
        assert trio.status(old)["incarnation"] == 1

    def test_a_follower_stopped_and_continued_deposes_nobody(self, trio):
        leader = trio.wait_leader()
        frozen = trio.followers(leader)[0]
        ballot = trio.status(leader)["ballot"]
        with Load(trio) as load:
            trio.signal(frozen, signal.SIGSTOP)
            load.wait_more(1000)
            trio.signal(frozen, signal.SIGCONT)
            load.wait_more(200)
        load.check()
        trio.check_equal()
        assert trio.status(leader)["ballot"] == ballot


class TestCatchUp:
    def test_a_node_that_was_down_for_2000_writes(self, trio):
        leader = trio.wait_leader()
        down = trio.followers(leader)[0]
        trio.kill(down)
        with trio.client(timeout_s=60.0) as client:
            for _ in range(20):
                with client.pipeline() as pipe:
                    for number in range(100):
                        pipe.put(b"k%d" % number, b"%d" % number)
            revision = client.get(b"k99").modify_revision
        trio.start(down)
        wait_for(
            lambda: (trio.status(down) or {"revision": 0})["revision"] >= revision,
            what=f"{down} to catch up",
        )
        assert trio.wait_leader() == leader
        assert trio.wait_event(down, "catchup.finished")["slots"][1] > 10
        assert trio.wait_event(leader, "member.down", member=down)
        assert trio.wait_event(leader, "member.up", member=down)
        trio.check_equal()


class TestNotify:
    def test_the_service_manager_hears_ready_watchdog_status_and_stopping(self, single):
        receiver = NotifyReceiver(single.path / "notify")
        heard = []

        def hear(key, value=None):
            heard.extend(receiver.receive())
            return any(key in m and value in (None, m[key]) for m in heard)

        with closing(receiver):
            single.start(env={"NOTIFY_SOCKET": str(receiver.path), "WATCHDOG_USEC": "200000"})
            wait_for(lambda: hear("READY", "1"), what="READY")
            wait_for(lambda: hear("STATUS", "leader; leader n1"), what="STATUS")
            heard.clear()
            wait_for(lambda: sum("WATCHDOG" in m for m in heard) >= 3 or hear("") is None,
                     what="a fed watchdog")  # fmt: skip
            heard.clear()
            single.signal("n1", signal.SIGHUP)
            wait_for(lambda: hear("RELOADING", "1") and hear("READY", "1"), what="a reload")
            assert single.kill(sig=signal.SIGTERM) == [OK]
            assert hear("STOPPING", "1")

    def test_a_daemon_that_hangs_does_not_feed_the_watchdog(self, single):
        receiver = NotifyReceiver(single.path / "notify")
        with closing(receiver):
            single.start(env={"NOTIFY_SOCKET": str(receiver.path), "WATCHDOG_USEC": "200000"})
            wait_for(
                lambda: any("WATCHDOG" in m for m in receiver.receive()), what="a fed watchdog"
            )
            single.signal("n1", signal.SIGSTOP)
            wait_for(lambda: state_of(single.processes["n1"].pid) == "T", what="the stop")
            receiver.receive()
            single.signal("n1", signal.SIGCONT)
            wait_for(
                lambda: any("WATCHDOG" in m for m in receiver.receive()), what="a fed watchdog"
            )


class TestClusterOfOne:
    def test_works(self, single):
        single.start()
        assert single.wait_leader() == "n1"
        with single.client(timeout_s=30.0) as client:
            revision = client.put(b"k", b"v")
            assert client.get(b"k").modify_revision == revision
            assert client.cas_value(b"k", b"v", b"w").ok
            assert client.delete(b"k")
            assert client.get(b"k") is None
        view = single.status("n1")
        assert (view["role"], view["quorum"], view["fault_tolerance"]) == ("leader", 1, 0)
        single.check_equal()


class TestCrash:
    def test_the_directive_answers_and_then_kills(self, trio):
        leader = trio.wait_leader()
        put_some(trio)
        assert trio.admin(leader, "fault_crash") == {"crashing": True}
        assert trio.wait_end(leader) == -signal.SIGKILL
        check_some(trio)
        trio.start(leader)
        trio.check_equal()

    def test_directives_are_refused_where_they_are_not_enabled(self, tmp_path):
        with Daemons(tmp_path, 1, faults={"enabled": False}) as daemons:
            daemons.start()
            daemons.wait_leader()
            with pytest.raises(ClientError) as caught:
                daemons.admin("n1", "fault_crash")
            assert caught.value.code == "forbidden"
            assert caught.value.exit_code == PERMISSION


def state_of(pid):
    """The process's state letter, as ps shows it."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


class TestIdleClient:
    """A node that came back while a client was idle is as good as one that never went."""

    def test_the_next_call_does_not_take_the_old_end_for_a_new_one(self, tmp_path):
        with Daemons(tmp_path, size=1) as daemons:
            daemons.start()
            daemons.wait_leader()
            endpoint = daemons.endpoint("n1")
            with daemons.client(timeout_s=20.0) as client:
                for _ in range(3):
                    before = client.status(endpoint)["incarnation"]
                    daemons.kill("n1")
                    daemons.start("n1")
                    daemons.wait_leader()  # asked by other clients: this one stays idle
                    assert client.status(endpoint)["incarnation"] == before + 1


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
