"""Names are looked up beside the loop: a silent name server holds up nobody, for ever or twice."""

import os
import select
import socket
import subprocess
import sys
import threading

import pytest

from paxosd.net import resolver
from paxosd.net.resolver import (
    LOOKUP_MS_MAX,
    LOOKUPS,
    NO_HOST,
    RETRY_MS,
    RETRY_MS_MAX,
    SILENT,
    Lookups,
    News,
    ResolveError,
    Resolver,
    resolve,
    system_addresses,
)
from tests.net.name_server import NameServer
from tests.processes.processes import wait_for


class Time:
    """A clock that stands until it is moved."""

    def __init__(self):
        self.ms = 0

    def __call__(self):
        return self.ms


@pytest.fixture
def server():
    with NameServer(one_example=["192.0.2.1"], two_example=["192.0.2.2"]) as made:
        yield made


@pytest.fixture
def world(server):
    now_ms = Time()
    made = Resolver(server.lookups, now_ms)
    yield made, now_ms
    made.close()


def news_of(names):
    """What has come, once something has."""
    ready = select.select([names.wake_fd], [], [], 30)[0]
    assert ready, "no answer came"
    return names.poll()


class TestResolver:
    def test_an_answer_wakes_the_loop(self, world):
        names, _ = world
        name = names.name("one.example")
        assert name.addresses == ()
        assert news_of(names) == [News("one.example", (), ("192.0.2.1",), "")]
        assert name.addresses == ("192.0.2.1",)
        assert names.poll() == []
        assert not select.select([names.wake_fd], [], [], 0)[0], "the wake-up is taken back"

    def test_one_that_hangs_holds_up_no_other(self, world, server):
        server.hang("one.example")
        names, _ = world
        hanging, good = names.name("one.example"), names.name("two.example")
        assert [news.host for news in news_of(names)] == ["two.example"]
        assert good.addresses
        assert not hanging.addresses
        assert not hanging.error

    def test_a_deadline_and_an_answer_after_it(self, world, server):
        server.hang("one.example")
        names, now_ms = world
        name = names.name("one.example")
        now_ms.ms = LOOKUP_MS_MAX - 1
        assert names.poll() == []
        now_ms.ms += 1
        assert names.poll() == [News("one.example", (), (), SILENT)]
        assert names.poll() == [], "it is said once"
        server.answer("one.example")
        assert news_of(names) == [News("one.example", (), ("192.0.2.1",), "")]
        assert name.error == ""

    def test_the_last_good_addresses_are_kept(self, world, server):
        names, now_ms = world
        name = names.name("one.example")
        news_of(names)
        server.addresses["one.example"] = []
        now_ms.ms += RETRY_MS
        names.refresh(name)
        assert news_of(names) == [News("one.example", ("192.0.2.1",), ("192.0.2.1",), NO_HOST)]
        assert name.addresses == ("192.0.2.1",)

    def test_other_addresses_are_news_another_order_is_none(self, world, server):
        names, now_ms = world
        server.addresses["one.example"] = ["192.0.2.1", "192.0.2.3"]
        name = names.name("one.example")
        news_of(names)
        now_ms.ms += RETRY_MS
        server.addresses["one.example"] = ["192.0.2.3", "192.0.2.1"]
        names.refresh(name)
        assert news_of(names) == []
        now_ms.ms += RETRY_MS_MAX
        server.addresses["one.example"] = ["192.0.2.9"]
        names.refresh(name)
        [news] = news_of(names)
        assert set(news.before) == {"192.0.2.1", "192.0.2.3"}
        assert news.addresses == ("192.0.2.9",)

    def test_refreshes_are_spread_out_more_and_more(self, world, server):
        names, now_ms = world
        name = names.name("nowhere.example")
        pauses, asked_ms = [], 0
        while len(pauses) < 8:
            wait_for(lambda: names.poll() or not name.pending, what="an answer")
            before = len(server.asked)
            while len(server.asked) == before and not name.pending:
                now_ms.ms += 50
                names.refresh(name)
            pauses.append(now_ms.ms - asked_ms)
            asked_ms = now_ms.ms
        assert pauses[:5] == [RETRY_MS << n for n in range(5)]
        assert max(pauses) == RETRY_MS_MAX
        wait_for(lambda: names.poll() or not name.pending, what="an answer")
        names.hasten(name)
        now_ms.ms += RETRY_MS
        names.refresh(name)
        assert name.pending, "a connection that broke is a reason to ask soon"

    def test_one_lookup_of_a_name_at_a_time_in_the_whole_process(self, server):
        server.hang("one.example")
        now_ms = Time()
        several = [Resolver(server.lookups, now_ms) for _ in range(5)]
        for each in several:
            name = each.name("one.example")
            for _ in range(10):
                now_ms.ms += RETRY_MS_MAX
                each.refresh(name)
        wait_for(lambda: server.asked, what="the question")
        assert server.asked == ["one.example"]
        assert server.lookups.under_way == 1
        server.answer("one.example")
        for each in several:
            assert news_of(each)[-1].addresses == ("192.0.2.1",)
            each.close()

    def test_what_comes_after_the_end_is_dropped(self, server):
        server.hang("one.example")
        names = Resolver(server.lookups)
        names.name("one.example")
        names.close()
        stranger = os.eventfd(0, os.EFD_NONBLOCK)  # the same number, most likely
        server.answer("one.example")
        wait_for(lambda: not server.lookups.under_way, what="the end of the lookup")
        with pytest.raises(BlockingIOError):
            os.eventfd_read(stranger)
        os.close(stranger)

    def test_forgotten_names(self, world):
        names, _ = world
        for host in ("one.example", "two.example"):
            names.name(host)
            news_of(names)
        names.keep({"two.example"})
        assert [name.host for name in names] == ["two.example"]


class TestLookups:
    def test_threads_are_bounded_and_all_get_their_turn(self, monkeypatch):
        monkeypatch.setattr(resolver, "LOOKUPS_MAX", 3)
        hosts = [f"h{n}.example" for n in range(10)]
        with NameServer(**{host.replace(".", "_"): ["192.0.2.1"] for host in hosts}) as server:
            server.hang(*hosts)
            answers = []
            for host in hosts:
                server.lookups.ask(host, lambda *answer: answers.append(answer))
            wait_for(lambda: len(server.asked) == 3, what="three questions")
            assert server.lookups.under_way == 10
            threads = [t for t in threading.enumerate() if t.name.startswith("paxosd-name-h")]
            assert len(threads) == 3
            server.answer(*hosts)
            wait_for(lambda: len(answers) == 10, what="all answers")
        assert {host for host, _ in answers} == set(hosts)
        assert server.lookups.under_way == 0

    def test_no_room_for_a_thread(self, monkeypatch):
        def refuse(_):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(ResolveError, match="can't start new thread"):
            resolve("one.example", 30)
        assert not LOOKUPS.under_way

    def test_a_lookup_that_raises_something_else_is_an_answer_too(self):
        def wrong(_):
            raise ZeroDivisionError

        with pytest.raises(ResolveError, match="ZeroDivisionError"):
            resolve("one.example", 30, Lookups(wrong))

    def test_a_child_after_fork_looks_up_for_itself(self, server, monkeypatch):
        monkeypatch.setattr(LOOKUPS, "look_up", server.look_up)
        server.hang("one.example")
        LOOKUPS.ask("one.example", lambda *_: None)
        assert LOOKUPS.under_way == 1
        child = os.fork()
        if not child:
            os._exit(LOOKUPS.under_way)  # the thread of that lookup is the parent's
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        server.answer("one.example")
        wait_for(lambda: not LOOKUPS.under_way, what="the end of the lookup")

    def test_a_lookup_that_hangs_keeps_no_process_from_its_end(self):
        code = (
            "import time, threading\n"
            "from paxosd.net.resolver import Lookups, ResolveError, resolve\n"
            "begun = threading.Event()\n"
            "def hang(_): begun.set(); time.sleep(3600)\n"
            "try: resolve('one.example', 0.1, Lookups(hang))\n"
            "except ResolveError as error: print(error)\n"
            "assert begun.wait(30)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert SILENT in done.stdout.decode()


class TestResolve:
    def test_an_address_needs_no_thread(self, monkeypatch):
        monkeypatch.setattr(threading, "Thread", None)
        assert resolve("192.0.2.1", 0) == ("192.0.2.1",)
        assert resolve("::1", 0) == ("::1",)

    def test_a_deadline(self, server):
        server.hang("one.example")
        with pytest.raises(ResolveError, match=f"{SILENT} within 0.05 s"):
            resolve("one.example", 0.05, server.lookups)

    def test_none(self, server):
        with pytest.raises(ResolveError, match=NO_HOST):
            resolve("nowhere.example", 30, server.lookups)


class TestSystemAddresses:
    @pytest.fixture
    def say(self, monkeypatch):
        def set_answer(answer):
            def look_up(*_, **__):
                if isinstance(answer, Exception):
                    raise answer
                return answer

            monkeypatch.setattr(socket, "getaddrinfo", look_up)

        return set_answer

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), NO_HOST),
            (socket.gaierror(socket.EAI_NODATA, "No address"), NO_HOST),
            (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), SILENT),
            (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), "non-recoverable"),
            (UnicodeError("label too long"), "label too long"),
            (OSError(24, "Too many open files"), "Too many open files"),
        ],
    )
    def test_failures(self, say, error, words):
        say(error)
        with pytest.raises(ResolveError, match=words):
            system_addresses("one.example")

    def test_both_families_in_the_order_that_the_system_prefers(self, say):
        say(
            [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0)),
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 2)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0)),
            ]
        )
        assert system_addresses("one.example") == ("2001:db8::1", "fe80::1%2", "192.0.2.1")

    def test_no_address_of_a_family_that_is_used(self, say):
        say([])
        with pytest.raises(ResolveError, match=NO_HOST):
            system_addresses("one.example")

    def test_this_machine(self):
        assert set(system_addresses("localhost")) & {"127.0.0.1", "::1"}
