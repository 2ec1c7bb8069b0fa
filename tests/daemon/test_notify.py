import os
import socket

import pytest

from paxosd.daemon.notify import Notifier, NotifyReceiver


@pytest.fixture
def manager(tmp_path):
    receiver = NotifyReceiver(tmp_path / "notify.sock")
    yield receiver
    receiver.close()


@pytest.fixture
def speak(manager):
    """Makes notifiers that are closed in the end; by default they speak to the manager."""
    made = []

    def make(address=str(manager.path), watchdog_interval_ms=0):
        made.append(Notifier(address, watchdog_interval_ms))
        return made[-1]

    yield make
    for notifier in made:
        notifier.close()


@pytest.fixture
def from_environ():
    made = []

    def make(environ):
        made.append(Notifier.from_environ(environ))
        return made[-1]

    yield make
    for notifier in made:
        notifier.close()


class TestNotifier:
    def test_a_life_as_the_manager_sees_it(self, manager, speak):
        notifier = speak()
        notifier.extend_timeout(1500)
        notifier.ready("follower of n2")
        notifier.status("leader")
        notifier.reloading()
        notifier.ready()
        notifier.stopping("SIGTERM")
        notifier.close()
        extend, ready, status, reloading, again, stopping = manager.receive()
        assert extend == {"EXTEND_TIMEOUT_USEC": "1500000"}
        assert ready == {"READY": "1", "STATUS": "follower of n2"}
        assert status == {"STATUS": "leader"}
        assert reloading["RELOADING"] == "1"
        assert int(reloading["MONOTONIC_USEC"]) > 0
        assert again == {"READY": "1"}
        assert stopping == {"STOPPING": "1", "STATUS": "SIGTERM"}

    def test_the_same_status_is_sent_once(self, manager, speak):
        notifier = speak()
        for text in ("leader", "leader", "follower", "leader"):
            notifier.status(text)
        assert [m["STATUS"] for m in manager.receive()] == ["leader", "follower", "leader"]

    def test_a_status_cannot_forge_another_line(self, manager, speak):
        speak().status("oops\nREADY=1")
        assert manager.receive() == [{"STATUS": "oops READY=1"}]

    def test_abstract_addresses(self, speak):
        name = f"paxosd-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind("\0" + name)
            receiver.settimeout(5)
            speak("@" + name).ready()
            assert receiver.recv(100) == b"READY=1"

    def test_without_a_manager_nothing_happens(self, from_environ):
        notifier = from_environ({})
        notifier.ready()
        notifier.tick(0)
        assert not notifier.enabled
        assert notifier.failures == 0

    def test_a_manager_that_went_away_is_counted_only(self, manager, speak):
        notifier = speak()
        manager.close()
        notifier.ready()
        assert notifier.failures == 1

    def test_a_manager_that_does_not_read_never_blocks(self, speak):
        notifier = speak()
        for number in range(10_000):
            notifier.status(str(number))
        assert notifier.failures > 0

    def test_that_it_is_ready_is_said_again_until_it_was_heard(self, manager, speak):
        """A service manager that never hears it waits, and ends the node."""
        notifier = speak()
        while not notifier.failures:  # its queue is full
            notifier.reloading()
        notifier.ready("leader")
        manager.receive()
        notifier.tick(1000)
        notifier.tick(1001)
        assert manager.receive() == [{"READY": "1", "STATUS": "leader"}]

    def test_one_that_stops_is_not_ready_any_more(self, manager, speak):
        notifier = speak()
        while not notifier.failures:
            notifier.reloading()
        notifier.ready("leader")
        notifier.stopping("SIGTERM")
        manager.receive()
        notifier.tick(1000)
        assert manager.receive() == []


class TestEnvironment:
    def test_it_is_read_and_removed(self, manager, from_environ):
        environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "20000000", "HOME": "/"}
        notifier = from_environ(environ)
        assert environ == {"HOME": "/"}
        assert notifier.watchdog_interval_ms == 10_000

    def test_a_watchdog_for_another_process_is_not_ours(self, manager, from_environ):
        notifier = from_environ(
            {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "2000", "WATCHDOG_PID": "1"}
        )
        assert notifier.watchdog_interval_ms == 0

    @pytest.mark.parametrize("address", ["relative", "vsock:2:1", ""])
    def test_an_address_of_another_kind_is_left_alone(self, address, from_environ):
        assert not from_environ({"NOTIFY_SOCKET": address}).enabled

    def test_a_period_that_is_no_number(self, manager, from_environ):
        environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "soon"}
        assert from_environ(environ).watchdog_interval_ms == 0


class TestWatchdog:
    def test_it_is_fed_at_half_its_period(self, manager, speak):
        notifier = speak(watchdog_interval_ms=100)
        for now_ms in (1000, 1050, 1099, 1100, 1150, 1500, 1501):
            notifier.tick(now_ms)
        assert manager.receive() == [{"WATCHDOG": "1"}] * 3

    def test_no_watchdog_no_food(self, manager, speak):
        speak().tick(1000)
        assert manager.receive() == []


class TestReceiver:
    def test_odd_datagrams_are_skipped(self, manager):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"\xff\xfe\nno equals\nSTATUS=a=b", str(manager.path))
        assert manager.receive() == [{"STATUS": "a=b"}]

    def test_closing_removes_the_path(self, tmp_path):
        receiver = NotifyReceiver(tmp_path / "x.sock")
        receiver.close()
        assert not (tmp_path / "x.sock").exists()
