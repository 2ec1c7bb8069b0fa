"""Clients with keys: by whom they are let in, how they know a node, and what they say if not."""

import errno

import pytest
import zmq

from paxosctl.client import Client, HandshakeError, KeyFileError, NotSubmittedError
from paxosctl.client.credentials import Credentials
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.net.key_files import ServerKey, key_file_text, make_key, write_secret
from tests.ctl.client.dresses import Awaited
from tests.ctl.fake_daemon import FakeDaemon

DRESSES = pytest.mark.parametrize("dress", [Client, Awaited])


def node_key(name="n1"):
    return make_key(name, "peer", "test")


def admit_at(daemon, key):
    daemon.admits["client"].add(key.public_key)
    daemon.admits["events"].add(key.public_key)
    daemon.trusted[key.name] = key.public_key


def client_key(*daemons, name="app1", admit=True, keys=None):
    servers = {
        each.name: ServerKey(each.endpoint, (keys or {}).get(each.name, each.key.public_key))
        for each in daemons
    }
    made = make_key(name, "client", "test", servers)
    if admit:
        for each in daemons:
            admit_at(each, made)
    return made


def full_after_one(monkeypatch, client, what):
    """The process has no descriptors left once the client has made one ("make", "monitor")."""
    sockets = client._transport._sockets
    real, made = getattr(sockets, what), []

    def limited(*given):
        if made:
            raise zmq.ZMQError(errno.EMFILE)
        made.append(real(*given))
        return made[0]

    monkeypatch.setattr(sockets, what, limited)


@pytest.fixture
def keyed():
    with FakeDaemon(key=node_key()) as daemon:
        daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)
        yield daemon


@DRESSES
class TestLetIn:
    def test_a_client_with_a_known_key_does_everything(self, dress, keyed):
        with dress([keyed.endpoint], key=client_key(keyed)) as client:
            assert client.put(b"a", b"1") == 1
            assert client.get(b"a").value == b"1"
            watcher = client.watch(b"a", from_revision=1)
            assert next(watcher).value == b"1"
            with client.lock(b"l") as lock:
                lock.check()

    def test_its_key_comes_from_a_file_and_its_endpoints_too(self, dress, keyed, tmp_path):
        path = tmp_path / "app1.key"
        write_secret(path, key_file_text(client_key(keyed)))
        with dress(key=path) as client:
            assert client.endpoints == [keyed.endpoint]
            assert client.put(b"a", b"1") == 1

    def test_a_node_under_another_address_than_in_the_file_is_known_by_its_key(self, dress, keyed):
        key = client_key(keyed)
        endpoint = keyed.endpoint.replace("127.0.0.1", "localhost")
        with dress([endpoint], key=key) as client:
            assert client.put(b"a", b"1") == 1

    def test_it_learns_the_keys_of_the_other_nodes(self, dress, keyed):
        with FakeDaemon("n2", follows=keyed, key=node_key("n2")) as other:
            key = client_key(keyed)
            admit_at(other, key)
            with dress([keyed.endpoint], key=key, timeout_s=30.0) as client:
                client.status()
                keyed.refusal, keyed.hint = "not_leader", other.endpoint
                assert client.put(b"a", b"1") == 1

    def test_it_takes_the_newer_of_two_keys_of_a_node(self, dress, keyed):
        new = node_key("n2")
        with FakeDaemon("n2", follows=keyed, key=new) as other:
            stale = {"n2": node_key("n2").public_key}
            key = client_key(keyed, other, keys=stale)
            keyed.keys["n2"] = [new.public_key, stale["n2"]]
            with dress([keyed.endpoint], key=key, timeout_s=30.0) as client:
                client.status()
                assert client.status(other.endpoint)["node"] == "n2"

    def test_a_key_that_is_added_later_is_let_in_without_a_new_client(self, dress, keyed):
        key = client_key(keyed, admit=False)
        with dress([keyed.endpoint], key=key) as client:
            with pytest.raises(HandshakeError):
                client.put(b"a", b"1")
            admit_at(keyed, key)
            client.timeout_s = 30.0
            while True:
                try:
                    assert client.put(b"a", b"1") == 1
                    return
                except HandshakeError:
                    pass


@DRESSES
class TestRefusedHandshakes:
    """Each ends the call long before its time, and says what is wrong, where, and what to do."""

    def refused(self, dress, endpoint, **given):
        with (
            dress([endpoint], timeout_s=120.0, **given) as client,
            pytest.raises(HandshakeError) as caught,
        ):
            client.put(b"a", b"1")
        assert caught.value.exit_code == 77
        return caught.value.code, str(caught.value)

    def test_a_client_without_a_key(self, dress, keyed):
        code, words = self.refused(dress, keyed.endpoint)
        assert code == "key_needed"
        assert words == (f"{keyed.endpoint} wants a key, and this client has none: --key-file")

    def test_a_node_that_takes_no_keys(self, dress):
        with FakeDaemon() as plain:
            servers = {"n1": ServerKey(plain.endpoint, node_key().public_key)}
            key = make_key("app1", "client", "test", servers)
            code, words = self.refused(dress, plain.endpoint, key=key)
        assert code == "keys_not_taken"
        assert words.startswith(
            f"n1 at {plain.endpoint} takes no keys (it runs without [security])"
        )

    def test_a_node_with_another_key_than_expected(self, dress, keyed):
        other = {"n1": node_key().public_key}
        code, words = self.refused(dress, keyed.endpoint, key=client_key(keyed, keys=other))
        assert code == "other_server_key"
        assert words.startswith(f"n1 at {keyed.endpoint} proved itself by another key than")

    def test_a_key_that_the_node_does_not_know(self, dress, keyed):
        code, words = self.refused(dress, keyed.endpoint, key=client_key(keyed, admit=False))
        assert code == "key_unknown"
        assert words == (
            f"n1 at {keyed.endpoint} does not know the key of app1: it was revoked, or never "
            "added: paxosctl auth list (or it is not the node's client port)"
        )

    def test_one_node_of_several(self, dress, keyed):
        """Others that are down do not hide what is wrong."""
        with FakeDaemon("n2", key=node_key("n2")) as other:
            key = client_key(keyed, other)
        keyed.admits["client"].clear()
        with (
            dress([other.endpoint, keyed.endpoint], key=key, timeout_s=120.0) as client,
            pytest.raises(HandshakeError, match="does not know the key"),
        ):
            client.put(b"a", b"1")

    def test_a_question_to_that_node(self, dress, keyed):
        with FakeDaemon("n2", follows=keyed, key=node_key("n2")) as other:
            key = client_key(keyed, other)
            other.admits["client"].clear()
            with dress([keyed.endpoint], key=key, timeout_s=120.0) as client:
                with pytest.raises(HandshakeError, match=r"n2 at .* does not know the key"):
                    client.status(other.endpoint)
                assert client.put(b"a", b"1") == 1


@DRESSES
class TestWatchesOfThoseWhoMayNotListen:
    """Events are for peers and those who may read everything."""

    def test_changes_come_over_the_connection_of_requests(self, dress, keyed):
        key = client_key(keyed)
        keyed.admits["events"].clear()
        with dress(key=key, timeout_s=30.0) as client:
            first = client.put(b"a/1", b"1")
            watcher = client.watch(b"a/", prefix=True, from_revision=first)
            assert next(watcher).revision == first
            client.put(b"b", b"")
            second = client.put(b"a/2", b"2")
            change = next(watcher)
            assert (change.revision, change.value) == (second, b"2")
            assert client.delete(b"a/1")
            assert next(watcher).value is None

    def test_from_now_on(self, dress, keyed):
        key = client_key(keyed)
        keyed.admits["events"].clear()
        with dress(key=key, timeout_s=30.0) as client:
            client.put(b"a", b"before")
            watcher = client.watch(b"a", progress_s=0.1)
            next(watcher)  # it has begun
            client.put(b"a", b"after")
            while not hasattr(found := next(watcher), "value"):
                pass
            assert found.value == b"after"

    def test_a_lock_waits_for_its_turn(self, dress, keyed):
        key = client_key(keyed)
        keyed.admits["events"].clear()
        with dress(key=key, timeout_s=30.0) as one, dress(key=key, timeout_s=30.0) as other:
            held = one.lock(b"l")
            assert held.acquire()
            assert not other.lock(b"l").acquire(timeout_s=0.2)
            held.release()
            assert other.lock(b"l").acquire(timeout_s=60.0)


@DRESSES
class TestSwitchingOver:
    def test_a_client_that_allows_it_talks_to_a_node_that_takes_no_keys(self, dress):
        with FakeDaemon() as plain:
            servers = {"n1": ServerKey(plain.endpoint, node_key().public_key)}
            key = make_key("app1", "client", "test", servers)
            with dress([plain.endpoint], key=key, allow_plain=True) as client:
                assert client.put(b"a", b"1") == 1

    @pytest.mark.parametrize("lacking", ["make", "monitor"])
    def test_it_goes_on_once_it_has_descriptors_again(self, dress, lacking, monkeypatch):
        """The second socket is for the other form."""
        with FakeDaemon() as plain:
            servers = {"n1": ServerKey(plain.endpoint, node_key().public_key)}
            key = make_key("app1", "client", "test", servers)
            with dress([plain.endpoint], key=key, allow_plain=True) as client:
                with monkeypatch.context() as patch:
                    full_after_one(patch, client, lacking)
                    troubles = ""
                    while "Too many open files" not in troubles:
                        with pytest.raises(NotSubmittedError) as caught:
                            client.put(b"a", b"1", timeout_s=0.5)
                        troubles = str(caught.value.troubles)
                client.timeout_s = 60.0
                assert client.put(b"a", b"1")

    def test_it_uses_its_key_where_keys_are_taken(self, dress, keyed):
        with dress(key=client_key(keyed)._replace(allow_plain=True)) as client:
            assert client.put(b"a", b"1") == 1

    def test_what_a_node_without_a_key_says_of_keys_is_not_believed(self, dress):
        with FakeDaemon() as plain:
            servers = {"n1": ServerKey(plain.endpoint, node_key().public_key)}
            key = make_key("app1", "client", "test", servers)
            plain.keys["n1"] = [node_key().public_key]
            known = Credentials(key, allow_plain=True)
            with dress([plain.endpoint], key=known) as client:
                assert client.status()["members"]["n1"]["keys"]
            assert known.keys_at(plain.endpoint) == (servers["n1"].public_key,)

    def test_it_follows_a_node_that_switches(self, dress):
        key = node_key()
        with FakeDaemon() as plain:
            port = int(plain.endpoint.rpartition(":")[2])
            servers = {"n1": ServerKey(plain.endpoint, key.public_key)}
            own = make_key(
                "app1",
                "client",
                "test",
                servers,
            )._replace(allow_plain=True)
            with dress(key=own, timeout_s=30.0) as client:
                client.put(b"a", b"1")
                plain.stop()
                with FakeDaemon(follows=plain, key=key, port=port) as keyed:
                    admit_at(keyed, own)
                    assert client.put(b"a", b"2")


def test_a_key_without_servers_cannot_know_a_node():
    with pytest.raises(KeyFileError, match=r"has no \[servers\].*: make one with"):
        Client(key=make_key("app1", "client", "test"))
