"""A watch learns from each node who the members are, and of which history it is."""

import json

import pytest

from paxosctl.cli.main import run
from paxosctl.client import watch_session
from paxosctl.client.client import Client
from paxosctl.client.errors import RefusedError
from paxosctl.client.watch_nodes import WatchNodes
from paxosd.core.client.cluster_info import ClusterInfo, Limits
from paxosd.core.status import Reached
from tests.ctl.fake_daemon import FakeDaemon

A, B, C, D = "tcp://a:1", "tcp://b:1", "tcp://c:1", "tcp://d:1"
WAIT_MS = 60_000


def info(*clients, epoch=0):
    members = {f"n{number}": Reached(each, "") for number, each in enumerate(clients)}
    return ClusterInfo("test", "n0", False, "", "", epoch, members, Limits())


class TestNodes:
    def test_the_members_that_the_user_named_come_first_in_their_order(self):
        nodes = WatchNodes([C, A])
        nodes.learn(info(A, B, C))
        assert nodes.order == [C, A, B]
        assert [nodes.next() for _ in range(4)] == [C, A, B, C]

    def test_what_the_user_named_stays_as_the_last_resort(self):
        nodes = WatchNodes([A, B])
        nodes.learn(info(B, C, epoch=1))
        assert nodes.order == [B, C, A]

    def test_a_member_that_left_is_forgotten_and_the_others_get_their_turn(self):
        nodes = WatchNodes([A])
        nodes.learn(info(A, B, C))
        assert [nodes.next(), nodes.next()] == [A, B]
        nodes.learn(info(A, C, D, epoch=1))
        assert [nodes.next(), nodes.next()] == [A, C]
        nodes.learn(info(C, D, epoch=2))
        assert [nodes.next(), nodes.next()] == [D, A]

    def test_one_that_lags_is_not_believed(self):
        nodes = WatchNodes([A])
        nodes.learn(info(B, epoch=3))
        nodes.learn(info(C, epoch=2))
        nodes.learn(info(epoch=4))
        assert nodes.order == [B, A]

    def test_without_any_members_the_given_ones_are_tried(self):
        assert WatchNodes([A, B, A]).order == [A, B]


@pytest.fixture
def ctl(capsysbinary):
    """``ctl(daemon, "get", "k") → (exit code, stdout, stderr)``."""

    def call(daemon, *arguments):
        code = run(["--endpoints", daemon.endpoint, *arguments])
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return call


@pytest.fixture
def eager(monkeypatch):
    """Members are asked for again and again without a pause of 5 s."""
    monkeypatch.setattr(watch_session, "LEARN_MS", 50)


class TestReplacement:
    def test_a_watch_outlives_every_node_that_it_began_with(self, eager):
        with (
            FakeDaemon("n1") as first,
            FakeDaemon("n2", follows=first) as second,
            FakeDaemon("n3", follows=first, member=False) as third,
        ):
            for daemon in (second, third):  # n1 has left, and n3 has come
                daemon.status = {"epoch": 1, "members": {
                    each.name: {"client": each.endpoint, "events": each.events_endpoint}
                    for each in (second, third)
                }}  # fmt: skip
            troubles = []
            with (
                Client([first.endpoint], timeout_s=30) as client,
                Client([third.endpoint], timeout_s=30) as writer,
            ):
                watcher = client.watch(b"k", on_trouble=troubles.append)
                writer.put(b"k", b"0")
                while not watcher.live:
                    watcher.poll(100)
                first.stop()
                while not troubles:
                    watcher.poll(100)
                while third.endpoint not in watcher._session._nodes.order or not watcher.live:
                    watcher.poll(100)
                second.stop()
                writer.put(b"k", b"last")
                while (change := watcher.poll(WAIT_MS)).value != b"last":
                    pass
                assert change.key == b"k"

    def test_news_of_another_membership_are_a_reason_to_ask(self, monkeypatch):
        monkeypatch.setattr(watch_session, "NEWS_SPREAD_MS", 10)
        with FakeDaemon("n1") as daemon, Client([daemon.endpoint], timeout_s=30) as client:
            watcher = client.watch(b"k")
            while not watcher.live:
                watcher.poll(100)
            assert watcher._session._nodes.order == [daemon.endpoint]
            other = {"client": D, "events": D}
            daemon.status = {"epoch": 1, "members": daemon.members | {"n9": other}}
            daemon.publish_members(1)
            while D not in watcher._session._nodes.order:  # it would ask by itself in half a minute
                watcher.poll(100)

    def test_a_node_that_is_no_member_any_more_is_asked_for_the_others_and_left(self):
        with FakeDaemon("n1") as first, FakeDaemon("n2", follows=first) as second:
            first.status = {"epoch": 1, "members": {
                "n2": {"client": second.endpoint, "events": second.events_endpoint}
            }}  # fmt: skip
            second.status = first.status
            troubles = []
            with Client([first.endpoint, second.endpoint], timeout_s=30) as client:
                watcher = client.watch(b"k", from_revision=1, on_trouble=troubles.append)
                watcher._session._nodes = WatchNodes([first.endpoint])
                client.put(b"k", b"v")
                assert watcher.poll(WAIT_MS).value == b"v"
            assert troubles == ["n1 is no member of the cluster"]

    def test_a_node_that_is_removed_while_it_is_listened_to_is_left(self, eager):
        with FakeDaemon("n1") as first, FakeDaemon("n2", follows=first) as second:
            troubles = []
            with Client([first.endpoint], timeout_s=30) as client:
                watcher = client.watch(b"k", on_trouble=troubles.append)
                while not watcher.live:
                    watcher.poll(100)
                second.status = first.status = {"epoch": 1, "members": {
                    "n2": {"client": second.endpoint, "events": second.events_endpoint}
                }}  # fmt: skip
                while not troubles:
                    watcher.poll(100)
                while not watcher.live:
                    watcher.poll(100)
            assert troubles == ["n1 is no member of the cluster"]


class TestHistory:
    def test_a_revision_above_the_newest_ends_the_watch_with_a_clear_word(self):
        with FakeDaemon() as daemon, Client([daemon.endpoint], timeout_s=30) as client:
            client.put(b"k", b"v")
            watcher = client.watch(b"k", from_revision=1000)
            with pytest.raises(RefusedError, match=r"newest revision .* is 1, but") as caught:
                watcher.poll(WAIT_MS)
            assert (caught.value.code, caught.value.detail) == ("history", 2)
            assert caught.value.exit_code == 77

    def test_the_command_says_so_too(self, ctl):
        with FakeDaemon() as daemon:
            code, out, err = ctl(daemon, "watch", "k", "--from-revision", "1000")
            assert (code, out) == (77, "")
            assert "the newest revision of cluster 'test' is 0" in err
            assert "then watch from revision 1 on" in err
            code, _, err = ctl(daemon, "-o", "json", "watch", "k", "--from-revision", "1000")
            assert code == 77
            assert json.loads(err)["error"] == "history"

    def test_a_cluster_that_was_founded_anew_ends_a_watch(self, eager):
        with FakeDaemon("n1") as daemon:
            daemon.status = {"genesis": "aa"}
            with Client([daemon.endpoint], timeout_s=30) as client:
                watcher = client.watch(b"k")
                while not watcher.live:
                    watcher.poll(100)
                assert watcher.history == "aa"
                daemon.status = {"genesis": "bb"}
                with pytest.raises(RefusedError, match="another history of cluster 'test'"):
                    next(watcher)

    def test_nothing_is_heard_from_a_node_that_may_become_one_of_another_history(self, eager):
        with FakeDaemon("n1") as first, FakeDaemon("n2", follows=first) as second:
            first.status = second.status = {"genesis": "aa"}
            troubles = []
            with Client([first.endpoint], timeout_s=30) as client:
                watcher = client.watch(b"k", on_trouble=troubles.append)
                while not watcher.live:
                    watcher.poll(100)
                first.status = {"genesis": ""}  # emptied, and not founded anew yet
                while not troubles:
                    watcher.poll(100)
                assert "n1 has not heard yet" in troubles[0]
                client.put(b"k", b"v")
                assert watcher.poll(WAIT_MS).value == b"v"  # of n2
                assert watcher._session._state._order._source[0] == "n2"

    def test_a_watch_that_goes_on_elsewhere_brings_its_history(self, ctl):
        with FakeDaemon() as daemon:
            daemon.status = {"genesis": "bb"}
            how = ("watch", "k", "--from-revision", "1", "--history")
            with Client([daemon.endpoint], timeout_s=30) as client:
                client.put(b"k", b"v")
            code, out, err = ctl(daemon, *how, "aa")
            assert (code, out) == (77, "")
            assert "(bb, not aa)" in err
            code, out, _ = ctl(daemon, "-o", "plain", *how, "bb", "--count", "1")
            assert (code, out) == (0, "put\tk\tv\n")

    def test_a_key_that_nothing_can_be_stored_under_is_refused(self):
        with (
            FakeDaemon() as daemon,
            Client([daemon.endpoint], timeout_s=30) as client,
            pytest.raises(RefusedError, match=r"5000 bytes; .*\(limits.key_bytes_max\)"),
        ):
            client.watch(b"k" * 5000)
