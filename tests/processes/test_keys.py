"""Keys on real clusters: who gets in, what nobody finds afterwards, and changes while it runs."""

import subprocess
import sys

import pytest
import zmq
import zstandard

from paxosctl.auth import tables
from paxosctl.client import Client
from paxosctl.client.errors import ClientError
from paxosd.core.client.calls import ClientOptions
from paxosd.core.cluster_settings import LEVEL_KEYS
from paxosd.core.messages import Accepted, Heartbeat
from paxosd.core.requests import ReadRequest, WriteRequest
from paxosd.core.rights import NO_RIGHTS, Principal
from paxosd.core.types import Ballot
from paxosd.daemon import exits
from paxosd.net.key_files import key_file_text, key_text, make_key, write_secret
from paxosd.wire import encode_client, encode_peer
from tests.processes.keyed import KeyedDaemons, KeyedGrowing
from tests.processes.load import Load
from tests.processes.processes import check_some, put_some, wait_for

BEAT = Heartbeat(Ballot(9, "n2"), "n2", 1, 0, 0, 0)
VOTE = Accepted(Ballot(9, "n2"), ((1, 1),), 1)


def frame(message, sender):
    return encode_peer(message, "test", sender, 1, 0, 0, 0)


def counted(daemons, name, counter):
    return (daemons.status(name) or {}).get("counters", {}).get(counter, 0)


def refused(daemons, name, counter, knock):
    """Knock again and again, until that is counted: whether libzmq's end of the client or of the
    node finds a mismatch first is chance."""
    before = counted(daemons, name, counter)

    def once():
        with knock() as raw:
            if raw.socket.type == zmq.SUB:
                raw.socket.subscribe(b"")
            else:
                raw.socket.send(frame(BEAT, "n2"))
                raw.socket.send(encode_client(ReadRequest(7, 1, [[1, b"k1"]]), ""))
            assert not raw.socket.poll(200), "an answer"
        return counted(daemons, name, counter) > before

    wait_for(once, what=counter)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with KeyedDaemons(tmp_path_factory.mktemp("keyed"), trace={"enabled": True}) as daemons:
        daemons.start()
        daemons.wait_leader()
        put_some(daemons)
        yield daemons


class TestWhoIsLetIn:
    def test_whoever_has_a_key_that_is_known(self, cluster):
        check_some(cluster)
        cluster.check_equal()
        status = cluster.status("n1")
        assert status["security"]["key"] == key_text(cluster.keys["n1"].public_key)
        assert status["members"]["n2"]["keys"] == [key_text(cluster.keys["n2"].public_key)]

    @pytest.mark.parametrize("port", ["peer", "client", "events"])
    def test_nobody_without_a_key(self, cluster, port):
        kind = zmq.SUB if port == "events" else zmq.DEALER
        refused(cluster, "n1", "refused.no_key", lambda: cluster.knock("n1", port, kind=kind))
        check_some(cluster)

    @pytest.mark.parametrize("port", ["peer", "client", "events"])
    def test_nobody_with_an_unknown_key(self, cluster, port):
        eve = make_key("eve", "client", "test")
        kind = zmq.SUB if port == "events" else zmq.DEALER
        refused(cluster, "n1", "refused.key", lambda: cluster.knock("n1", port, eve, kind=kind))

        def told():
            lines = cluster.events("n1", "bus.refused")
            return any(key_text(eve.public_key) in line["detail"] for line in lines)

        wait_for(told, what="the log to name the key")

    def test_an_admin_sends_no_messages_of_peers(self, cluster):
        before = cluster.status("n1")["ballot"]
        refused(cluster, "n1", "refused.key", lambda: cluster.knock("n1", "peer", cluster.alice))
        assert cluster.status("n1")["ballot"] == before

    def test_a_peer_speaks_in_its_own_name_alone(self, cluster):
        leader = cluster.wait_leader()
        ballot = cluster.status(leader)["ballot"]
        liar, victim = cluster.followers(leader)
        with cluster.knock(leader, "peer", cluster.keys[liar]) as raw:
            for message in (BEAT, VOTE):
                raw.socket.send(frame(message, victim))
            wait_for(
                lambda: counted(cluster, leader, "refused.impersonation") >= 2, what="the refusals"
            )
        assert cluster.status(leader)["ballot"] == ballot
        check_some(cluster)

    def test_a_peer_is_no_client_but_may_say_who_asks_it(self, cluster):
        """Its own requests change nothing: a node passes on what clients ask of it."""
        with cluster.knock("n1", "client", cluster.keys["n2"]) as raw:
            raw.socket.send(encode_client(WriteRequest(1, b"\x94\x00\x01\x00\x90"), ""))
            raw.socket.poll(500)
        check_some(cluster)


def bundle_of(daemons, path):
    """All that `paxosctl debug bundle` takes along of the running nodes."""
    key, made = path / "alice.key", path / "made.tar.zst"
    write_secret(key, key_file_text(daemons.alice))
    done = daemons.run(
        "paxosctl", "--endpoints", ",".join(daemons.endpoints), "--key-file", str(key),
        "debug", "bundle", "-o", str(made), "--wal", "--data-dir", str(path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with made.open("rb") as file:
        content = zstandard.ZstdDecompressor().stream_reader(file).read()
    assert b"n1" in content
    return content


def test_a_secret_is_in_nothing_that_a_run_leaves_behind(tmp_path):
    """Logs, traces, recordings, standard error, bundles, command lines."""
    with KeyedDaemons(tmp_path, trace={"enabled": True}, log={"level": "debug"}) as daemons:
        daemons.start()
        leader = daemons.wait_leader()
        put_some(daemons)
        seen = repr(daemons.status(leader)).encode()
        seen += bundle_of(daemons, tmp_path)
        for process in daemons.processes.values():
            with open(f"/proc/{process.pid}/cmdline", "rb") as file:
                seen += file.read()
        daemons.kill()
        secrets = [key.secret_key for key in (*daemons.keys.values(), daemons.alice)]
        forms = [form for each in secrets for form in (each, key_text(each).encode())]
        forms += [each.hex().encode() for each in secrets]
        looked_at = [(None, seen), *daemons.left_behind()]
        assert len(looked_at) > 10
        assert any(b"k1" in content for _, content in looked_at), "traces have what passes"
        found = [path for path, content in looked_at for form in forms if form in content]
        assert not found


def test_a_node_ends_if_nobody_checks_keys_any_more(tmp_path):
    with KeyedDaemons(tmp_path, size=1) as daemons:
        daemons.init("n1")
        program = (
            "import sys, paxosd.cli, paxosd.replica.authority as authority\n"
            "authority.Authority.admits = None\n"
            f"sys.exit(paxosd.cli.run({daemons.arguments('n1')!r}))"
        )
        node = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
        try:
            daemons.wait_event("n1", "node.ready")
            with daemons.knock("n1", "client", daemons.alice):
                assert node.wait(30) == exits.UNAVAILABLE
        finally:
            node.kill()
            node.wait()
        assert "nobody is let in" in daemons.events("n1", "node.failed")[0]["message"]


class TestWhileItRuns:
    def test_a_node_passes_writes_on_by_the_rights_of_who_asks(self, tmp_path):
        with KeyedDaemons(tmp_path) as daemons:
            daemons.start()
            leader = daemons.wait_leader()
            follower = daemons.followers(leader)[0]
            wait_for(lambda: daemons.status(leader)["level"] >= LEVEL_KEYS, what="the level")
            peers = {name: (key.public_key,) for name, key in daemons.keys.items()}
            table = tables.first_table(NO_RIGHTS, "alice", daemons.alice.public_key, peers)
            daemons.set_rights(table, 0)
            app = make_key("app", "client", "test", daemons.servers())
            rights = Principal("app", "client", (b"app/",), (b"app/",), (app.public_key,))
            daemons.set_rights(tables.new(table, rights), 1)
            one = ClientOptions(endpoints_max=1)  # it reaches no node but that one
            with Client([daemons.endpoint(follower)], timeout_s=20.0, options=one, key=app) as asks:
                asks.put(b"app/1", b"yes")
                with pytest.raises(ClientError, match="app/"):
                    asks.put(b"other", b"no")
            assert daemons.status(follower)["counters"]["passed_on"] >= 1
            with daemons.client() as client:
                assert client.get(b"app/1").value == b"yes"
                assert client.get(b"other") is None

    @pytest.mark.slow
    def test_a_node_joins_with_its_key(self, tmp_path):
        with KeyedGrowing(tmp_path) as daemons:
            daemons.start(*daemons.founders)
            daemons.wait_leader()
            daemons.configure("n4")
            daemons.start("n4")
            daemons.ctl("add", "n4", *daemons.where("n4"))
            daemons.wait_up("n4")
            put_some(daemons)
            wait_for(
                lambda: "n4" in (daemons.status("n4") or {}).get("voters", ()), what="its vote"
            )
            daemons.check_equal()
            assert daemons.status("n1")["peers"]["n4"]["link_problem"] == ""

    @pytest.mark.slow
    def test_a_switch_to_keys_fails_no_write(self, tmp_path):
        with KeyedDaemons(tmp_path, rollout=None, security={}) as daemons:
            daemons.start()
            daemons.wait_leader()
            with Load(daemons, timeouts_s=(30.0, 30.0)) as load:
                for rollout in ("ready", "listening", "done"):
                    for name in daemons.names:
                        load.wait_more(10)
                        daemons.switch(name, rollout)
                        daemons.wait_up(name)
                        daemons.wait_leader()
                load.wait_more(20)
            assert not any(writer.refused for writer in load.writers)
            daemons.check_equal()
            for name in daemons.names:
                refused(daemons, name, "refused.no_key", lambda n=name: daemons.knock(n, "client"))

    @pytest.mark.slow
    def test_a_node_gets_another_key_and_no_write_fails(self, tmp_path):
        """As `paxosctl auth rotate` does it: the new key beside the old one, the node starts with
        the new one, the old one is taken away."""
        with KeyedDaemons(tmp_path) as daemons:
            daemons.start()
            daemons.wait_leader()
            wait_for(lambda: daemons.status("n1")["level"] >= LEVEL_KEYS, what="the level of keys")
            peers = {name: (key.public_key,) for name, key in daemons.keys.items()}
            table = tables.first_table(NO_RIGHTS, "alice", daemons.alice.public_key, peers)
            with Load(daemons, timeouts_s=(30.0, 30.0)) as load:
                load.wait_more(10)
                daemons.set_rights(table, 0)
                fresh = make_key("n2", "peer", "test")
                daemons.set_rights(tables.rotate(table, "n2", fresh.public_key), 1)
                load.wait_more(10)
                former, daemons.keys["n2"] = daemons.keys["n2"], fresh
                daemons.write_key("n2")
                daemons.kill("n2")
                daemons.start("n2")
                daemons.alice = daemons.alice._replace(servers=daemons.servers())
                daemons.wait_up("n2")
                table = tables.rotate(table, "n2", fresh.public_key)
                daemons.set_rights(tables.finish(table, "n2"), 2)
                load.wait_more(20)
            assert not any(writer.refused for writer in load.writers)
            daemons.check_equal()
            refused(daemons, "n1", "refused.key", lambda: daemons.knock("n1", "peer", former))
