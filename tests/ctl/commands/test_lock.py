"""lock and elect: what each does, prints and ends with."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from paxosctl.client import Client, ClosedError, FencedOffError, LockLostError
from paxosctl.client.errors import EXIT_LOCK_LOST, EXIT_NOT_ACQUIRED, EXIT_QUOTA
from paxosctl.commands import lock as lock_module
from paxosctl.commands.lock import _ended
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from tests.ctl.client.test_shared import Crowd, wait_until

WORDS = "'{PAXOS_LOCK_NAME} {PAXOS_LOCK_TOKEN}'.format(**os.environ)"
SHOW = f"import os; open('shown', 'w').write({WORDS})"


@pytest.fixture
def ctl(daemon, ctl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)
    return ctl


@pytest.fixture
def client(daemon):
    daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)
    with Client([daemon.endpoint], name="anna") as client:
        yield client


def python(text):
    return ("--", sys.executable, "-c", text)


class TestLock:
    def test_a_command_has_the_token_and_its_code_is_passed_on(self, ctl):
        assert ctl("lock", "jobs", *python(SHOW + "; raise SystemExit(7)"))[0] == 7
        assert Path("shown").read_text() == "jobs 1"
        assert ctl("get", "jobs/", "--prefix", "-o", "plain")[1] == ""

    def test_a_command_that_a_signal_ends(self, ctl):
        text = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
        assert ctl("lock", "jobs", *python(text))[0] == 128 + 9

    def test_a_command_that_there_is_not(self, ctl):
        code, _, words = ctl("lock", "jobs", "--", "/no/such/command")
        assert (code, "/no/such/command was not run: No such file" in words) == (127, True)
        code, _, words = ctl("lock", "jobs", "--", "/")
        assert (code, "/ was not run: Permission denied" in words) == (126, True)

    @pytest.mark.parametrize("verb", [("lock", "jobs/"), ("elect", "jobs/", "host1")])
    def test_a_name_that_is_none(self, ctl, verb):
        code, _, words = ctl(*verb, *python(SHOW))
        assert (code, "ends with /" in words) == (77, True)

    def test_a_full_store(self, ctl, client, daemon):
        client.put(b"k", b"v")
        daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION, quota_bytes=1)
        code, _, words = ctl("lock", "jobs", *python(SHOW))
        assert (code, "quota" in words) == (EXIT_QUOTA, True)

    def test_not_acquired(self, ctl, client):
        with client.lock(b"jobs"):
            code, _, words = ctl("lock", "jobs", "--wait", "0s", *python(SHOW))
        assert code == EXIT_NOT_ACQUIRED
        first = words.splitlines()[0]
        held = "it is held by another; waited 0 s"
        assert first == f'paxosctl: the lock "jobs" was not acquired: {held}'

    @pytest.mark.parametrize("verb", [("lock", "jobs"), ("elect", "jobs", "host1")])
    def test_not_answered(self, ctl, daemon, verb):
        daemon.silent = True
        code, _, words = ctl(*verb, "--wait", "600ms", *python(SHOW))
        assert code == EXIT_NOT_ACQUIRED
        assert "whether others hold it is not known: the cluster has not answered" in words
        assert daemon.endpoint in words  # the diagnosis of each endpoint

    @pytest.mark.parametrize("wait", ["0s", "200ms"])
    def test_a_key_in_the_way(self, ctl, client, wait):
        client.put(b"jobs/mine", b"")
        code, _, words = ctl("lock", "jobs", "--wait", wait, *python(SHOW))
        assert code == EXIT_NOT_ACQUIRED
        assert 'the key "jobs/mine" has no lease' in words
        assert "paxosctl delete jobs/mine" in words

    def test_a_key_in_the_way_of_who_waits_for_ever(self, daemon, client, monkeypatch):
        """It is said while it waits, and once it is deleted the lock is had."""
        monkeypatch.setattr(lock_module, "STRAYS_AFTER_S", 0.01)
        client.put(b"jobs/mine", b"")
        said = []

        def say(words):
            said.append(words)
            client.delete(b"jobs/mine")

        monkeypatch.setattr(lock_module, "say", say)
        lock = client.lock(b"jobs")
        with lock_module._strays_said(client, lock):
            assert lock.acquire(timeout_s=30)
        lock.release()
        (words,) = said
        assert words.startswith('the lock "jobs" is waited for: the key "jobs/mine" has no lease')

    def test_shared(self, ctl, client):
        with client.semaphore(b"jobs", 2):
            assert ctl("lock", "jobs", "--shared", "2", *python(SHOW))[0] == 0

    def test_lost(self, ctl, client):
        """Somebody ends the lease: the command gets SIGTERM at the next renewal."""
        text = "import time; time.sleep(60)"
        thread = _when_there_is_a_lease(client)
        code, _, words = ctl("lock", "jobs", "--ttl", "1s", *python(text))
        thread.join()
        assert code == EXIT_LOCK_LOST
        assert "was lost" in words

    def test_lost_to_somebody_who_deleted_its_key(self, ctl, daemon):
        """The lease goes on, and the command ends well: only giving it back shows it."""
        text = (
            "import os; from paxosctl.client import Client\n"
            f"with Client([{daemon.endpoint!r}]) as client:\n"
            "    client.delete(os.environb[b'PAXOS_LOCK_KEY'])"
        )
        code, _, words = ctl("lock", "jobs", "--ttl", "1h", *python(text))
        assert code == EXIT_LOCK_LOST
        assert 'the lock "jobs" was lost: its key had been removed' in words


def test_a_command_that_ends_at_nothing_is_killed_at_the_second_interrupt(monkeypatch):
    text = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True)"
    child = subprocess.Popen(
        [sys.executable, "-c", f"{text}; signal.pause()"], stdout=subprocess.PIPE
    )
    child.stdout.read(1)  # from now on it passes over SIGTERM
    interrupts = [KeyboardInterrupt]
    wait = child.wait

    def interrupted(timeout=None):
        if interrupts:
            raise interrupts.pop()
        return wait(timeout)

    monkeypatch.setattr(child, "wait", interrupted)
    with child.stdout, pytest.raises(KeyboardInterrupt), _ended(child, 30):
        raise KeyboardInterrupt
    assert child.returncode == -signal.SIGKILL


def _when_there_is_a_lease(client):
    import threading

    def end():
        while not list(client.scan(b"jobs/")):
            pass
        # Only now: before that, a lock whose lease has gone begins anew with another one.
        for each in list(client.leases()):
            client.revoke(each.id)

    thread = threading.Thread(target=end)
    thread.start()
    return thread


class TestElect:
    def test_nobody_leads(self, ctl):
        code, _, words = ctl("elect", "primary")
        assert (code, words) == (1, "paxosctl: nobody leads primary\n")

    def test_who_leads(self, ctl, client):
        with client.election(b"primary").campaign(b"host1") as lead:
            assert ctl("elect", "primary", "-o", "plain") == (0, "host1\n", "")
            found = json.loads(ctl("elect", "primary", "-o", "json")[1])
            assert found == {"value": "host1", "key": lead.key.decode(), "token": lead.token}

    def test_a_candidate(self, ctl):
        assert ctl("elect", "primary", "host2", *python(SHOW))[0] == 0
        assert Path("shown").read_text() == "primary 1"

    def test_observe_takes_no_value(self, ctl):
        assert ctl("elect", "primary", "host1", "--observe")[0] == 2


class TestPython:
    def test_the_token_fences_writes(self, client):
        with client.lock(b"jobs") as lock:
            client.put(b"k", b"1", fence=lock.fence)
            old = lock.fence
        with client.lock(b"jobs") as lock:
            assert lock.token > old[1]
            with pytest.raises(FencedOffError):
                client.put(b"k", b"2", fence=old)

    def test_a_lock_that_was_lost_says_so_at_its_end(self, client):
        lock = client.lock(b"jobs", ttl_s=1)
        with pytest.raises(LockLostError), lock:  # noqa: PT012 - the end of the block raises
            client.delete_prefix(b"jobs/")
            client.revoke(next(client.leases()).id)
            assert lock.lost.wait(10)
            assert not lock.check()

    def test_it_is_acquired_once_at_a_time(self, client):
        lock = client.lock(b"jobs")
        with lock, pytest.raises(RuntimeError, match="already"):
            lock.acquire()
        with pytest.raises(RuntimeError, match="does not hold"):
            lock.release()

    def test_the_end_of_the_client_gives_it_back(self, daemon, client):
        with Client([daemon.endpoint]) as other:
            assert other.lock(b"jobs").acquire()
        assert list(client.scan(b"jobs/")) == []

    def test_after_the_end_of_the_client(self, daemon):
        daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)
        with Client([daemon.endpoint]) as other:
            lock = other.lock(b"jobs")
            with lock:
                pass
        with pytest.raises(RuntimeError, match="closed"):
            lock.acquire()
        with pytest.raises(RuntimeError, match="closed"):
            other.lock(b"jobs")


class TestEnds:
    """Whatever ends the thread that keeps the locks, nobody waits for it, or believes it."""

    def test_a_client_that_is_closed_while_a_thread_waits_for_a_lock(self, daemon, client):
        with client.lock(b"jobs"), Client([daemon.endpoint]) as other:
            waiter = other.lock(b"jobs")
            crowd = Crowd(1, lambda _: waiter.__enter__())
            wait_until(lambda: waiter.protocol.is_behind)
            other.close()
            assert isinstance(crowd.join()[0], ClosedError)
        assert client.count(b"jobs/", b"jobs0") == 0

    def test_a_client_that_is_closed_while_it_holds_a_lock(self, daemon, client):
        with Client([daemon.endpoint]) as other:
            lock = other.lock(b"jobs")
            assert lock.acquire()
            crowd = Crowd(1, lambda _: lock.lost.wait(30))
            other.close()
            assert crowd.join() == {0: True}
            with pytest.raises(LockLostError, match="the client is closed"):
                lock.release()

    def test_a_thread_that_ends_by_an_error(self, daemon, client, monkeypatch):
        monkeypatch.setattr("threading.excepthook", lambda _: None)
        with client.lock(b"jobs"), Client([daemon.endpoint]) as other:
            first = other.lock(b"other")
            assert first.acquire()
            waiter = other.lock(b"jobs")
            crowd = Crowd(1, lambda _: waiter.acquire())
            wait_until(lambda: waiter.protocol.is_behind)
            monkeypatch.setattr(other._keeper.made._transport, "poll", None)
            assert first.lost.wait(30)
            assert not first.check()
            assert isinstance(crowd.join()[0], ClosedError)
            with pytest.raises(RuntimeError, match="thread that keeps the locks has ended"):
                other.lock(b"more").acquire()
            # Its last act is to call the hook, which is that of the test until then.
            other._keeper.made._thread.join(30)

    def test_an_endpoint_that_is_none_is_passed_over(self, daemon, client):
        lock = client.lock(b"jobs")
        assert lock.acquire()
        with Client(["none", daemon.endpoint]) as other:
            waiter = other.lock(b"jobs")
            crowd = Crowd(1, lambda _: waiter.acquire())
            wait_until(lambda: waiter.protocol.is_behind)
            lock.release()
            assert crowd.join() == {0: True}

    def test_it_is_acquired_again_before_it_was_given_back(self, client, monkeypatch):
        """The thread is slow: what it has to do for the former attempt is not done to the new."""
        lock = client.lock(b"jobs")
        assert lock.acquire()
        monkeypatch.setattr(type(lock), "_patience_s", 0.05)
        go_on, keeper = threading.Event(), client._keeper.made
        keeper._do(lambda _: go_on.wait(30))
        lock.release()
        crowd = Crowd(1, lambda _: lock.acquire())
        wait_until(lambda: len(keeper._todo) == 2)
        go_on.set()
        assert crowd.join() == {0: True}
        wait_until(lambda: client.count(b"jobs/", b"jobs0") == 1)
        assert lock.check()
