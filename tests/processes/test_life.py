"""One daemon's life: starting and refusing to, signals, disks that fail, being frozen, behind."""

import ctypes
import signal
import socket
import time
from contextlib import closing

import pytest

from paxosctl.client.errors import ClientError
from paxosd.core.requests import GET, LINEARIZABLE, ReadAnswer, ReadRequest
from paxosd.daemon.notify import NotifyReceiver
from tests.processes.load import Load
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


_prctl = ctypes.CDLL(None).prctl


def obey_modes():
    """Between fork and exec: from then on the modes of files hold for root, too."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; others have none to lose
        _prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


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
            began_us = time.monotonic_ns() // 1000
            single.signal("n1", signal.SIGHUP)
            wait_for(lambda: hear("READY", "1"), what="the end of the reload")
            [begun] = [m for m in heard if "RELOADING" in m]
            assert began_us <= int(begun["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            assert heard.index(begun) < heard.index(next(m for m in heard if "READY" in m))
            assert single.wait_event("n1", "config.reloaded", at_next_start=[])
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
