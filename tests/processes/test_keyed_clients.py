"""Clients and ``paxosctl auth`` on a real cluster with keys: what each may do over the wire, and
keys that come, change and go under load."""

import asyncio
import json
import re
import shlex
import threading
from pathlib import Path

import pytest

from paxosctl.client import AsyncClient, Client, ForbiddenError, HandshakeError
from paxosctl.client.errors import ClientError
from paxosd.core.cluster_settings import LEVEL_KEYS
from paxosd.core.requests import GET
from paxosd.core.rights import RightsTable
from paxosd.net.key_files import key_file_text, key_text, make_key, read_key_file, write_secret
from paxosd.wire.status import decode_status
from tests.ctl.client.dresses import Awaited
from tests.processes.keyed import KeyedDaemons
from tests.processes.load import Load
from tests.processes.processes import wait_for

SECURITY = Path(__file__).parents[2] / "docs" / "SECURITY.md"
PRINCIPALS = {
    "ops": ["--role", "operator"],
    "reader": ["--read", ""],
    "app1": ["--read", "/app/", "--write", "/app/jobs/"],
    "nothing": [],
}


class Typed:
    """paxosctl, with the key in ``NAME.key`` of the cluster's directory."""

    def __init__(self, daemons):
        self.daemons = daemons
        write_secret(self.path("alice"), key_file_text(daemons.alice), replace=True)

    def path(self, name):
        return Path(self.daemons.path) / f"{name}.key"

    def __call__(self, *words, key="alice", exits=0):
        done = self.daemons.run(
            "paxosctl", "--key-file", str(self.path(key)), "-o", "json", *map(str, words)
        )
        assert done.returncode == exits, (words, done.stdout, done.stderr)
        text = done.stdout if exits == 0 else done.stderr
        return json.loads(text.splitlines()[-1])

    def new(self, name, *words):
        self("auth", "new", name, *words, "--output-file", self.path(name))
        return self.key(name)

    def key(self, name):
        return read_key_file(self.path(name))


def begin(daemons):
    """Start a cluster, and require rights."""
    daemons.start()
    daemons.wait_leader()
    wait_for(lambda: daemons.status("n1")["level"] >= LEVEL_KEYS, what="the level of keys")
    typed = Typed(daemons)
    typed("auth", "init")
    return typed


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with KeyedDaemons(tmp_path_factory.mktemp("clients")) as daemons:
        typed = begin(daemons)
        for name, words in PRINCIPALS.items():
            typed.new(name, *words)
        typed("put", "/app/x", "1")
        typed("put", "/app/jobs/x", "1")
        typed("put", "/other", "1")
        yield daemons, typed


def _lease(client):
    lease = client.grant(10.0)
    client.revoke(lease)


def _said(client):
    return decode_status(client.status())


REQUESTS = {
    "get in": lambda client: client.get(b"/app/x"),
    "get out": lambda client: client.get(b"/other"),
    "stale out": lambda client: client.get_stale(b"/other"),
    "scan in": lambda client: list(client.scan(b"/app/")),
    "scan out": lambda client: list(client.scan(b"/")),
    "several out": lambda client: client.read([[GET, b"/app/x"], [GET, b"/other"]]),
    "watch in": lambda client: next(client.watch(b"/app/x", from_revision=1)),
    "watch out": lambda client: next(client.watch(b"/other", from_revision=1)),
    "put in": lambda client: client.put(b"/app/jobs/x", b"2"),
    "put out": lambda client: client.put(b"/app/x", b"2"),
    "delete out": lambda client: client.delete(b"/other"),
    "delete prefix out": lambda client: client.delete_prefix(b"/app/"),
    "cas in": lambda client: client.cas_value(b"/app/jobs/y", b"no", b"such"),
    "cas out": lambda client: client.cas_value(b"/other", b"no", b"such"),
    "lease": _lease,
    "leases": lambda client: list(client.leases()),
    "status": lambda client: client.status(),
    "rights": lambda client: client.rights(),
    "snapshot": lambda client: client.admin("snapshot_take"),
    "files": lambda client: client.admin("file_list"),
    "faults": lambda client: client.admin("fault_clear"),
    "checksum": lambda client: client.start_checksum(),
    "members": lambda client: client.change_members(99, _said(client).membership.to_command()),
    "settings": lambda client: client.change_settings(99, 99, _said(client).settings.to_command()),
    "change rights": lambda client: client.change_rights(99, RightsTable().to_command()),
}
EVERYBODY = {"status", "rights"}
READS = {"get in", "scan in", "watch in"}
READS_ALL = READS | {
    "get out",
    "stale out",
    "scan out",
    "several out",
    "watch out",
    "leases",
    "files",
}
OPERATES = {"snapshot", "faults", "checksum", "members"}
MAY = {
    "ops": EVERYBODY | OPERATES,
    "reader": EVERYBODY | READS_ALL | {"snapshot"},
    "app1": EVERYBODY | READS | {"put in", "cas in", "lease"},
    "nothing": EVERYBODY,
    "alice": set(REQUESTS),
}


def refusal_of(ask, client):
    """None: it was let in, though it may have been refused for what it asked."""
    try:
        ask(client)
    except ForbiddenError as error:
        return error
    except ClientError:
        return None
    return None


@pytest.mark.parametrize("dress", [Client, Awaited])
@pytest.mark.parametrize("name", MAY)
def test_each_may_do_what_the_table_says_and_what_is_refused_changes_nothing(cluster, dress, name):
    daemons, typed = cluster
    key = daemons.alice if name == "alice" else typed.key(name)
    with daemons.client() as admin, dress(daemons.endpoints, key=key, timeout_s=30.0) as client:
        for what, ask in REQUESTS.items():
            before = [(row.key, row.value) for row in admin.scan(b"/other")]
            refusal = refusal_of(ask, client)
            assert (refusal is None) is (what in MAY[name]), (name, what, refusal)
            if refusal is not None:
                assert refusal.exit_code == 77
                assert name in str(refusal) or "key of this client" in str(refusal), what
                assert [(row.key, row.value) for row in admin.scan(b"/other")] == before


def test_what_became_of_a_command_of_a_session_that_nobody_has_is_answered(cluster):
    """At once: it does not wait for a session of that number."""
    daemons, typed = cluster
    for name in ("app1", "alice"):
        key = daemons.alice if name == "alice" else typed.key(name)
        with Client(daemons.endpoints, key=key, timeout_s=30.0) as client:
            client.put(b"/app/jobs/o", b"1")
            assert client.outcome(client.session + 1_000_000, 1).state == "session_unknown"
            assert client.outcome(client.session, 1).state == "committed"


def test_can_i_says_the_same(cluster):
    _, typed = cluster
    for verb, key, exits in (
        ("put", "/app/jobs/1", 0), ("put", "/app/1", 1), ("get", "/app/1", 0), ("get", "/x", 1),
    ):  # fmt: skip
        typed("auth", "can-i", verb, key, key="app1", exits=exits)
        typed("auth", "can-i", verb, key, "--as", "app1", exits=exits)


def test_a_backup_needs_who_may_read_everything_and_no_more(cluster, tmp_path):
    """As docs/RUNBOOKS.md says."""
    _, typed = cluster
    typed.new("backup", "--read", "")
    typed("backup", "take", str(tmp_path), key="backup")
    (taken,) = tmp_path.glob("*.paxsnap")
    for name in ("ops", "app1"):
        typed("backup", "take", str(tmp_path), key=name, exits=77)
    typed("member", "demote", "n3", key="backup", exits=77)
    assert list(tmp_path.glob("*.paxsnap")) == [taken]


def test_a_restricted_watch_sees_every_change_in_order(cluster):
    daemons, typed = cluster
    with (
        Client(daemons.endpoints, key=typed.key("app1"), timeout_s=30.0) as client,
        client.watch(b"/app/jobs/w", prefix=True, from_revision=1) as changes,
    ):
        made = [client.put(b"/app/jobs/w%d" % n, b"v") for n in range(20)]
        typed("put", "/other", "2")
        assert [next(changes).revision for _ in made] == made


def test_members_learn_of_a_newcomer_by_its_key(cluster):
    """`member add` asks a node that is no member yet: its key is in the table alone."""
    daemons, typed = cluster
    with daemons.client() as client:
        typed("auth", "new", "n9", "--role", "peer", "--public-key",
              key_text(make_key("n9", "peer", "test").public_key))  # fmt: skip
        client.rights()
        assert len(client.credentials.keys_at("tcp://127.0.0.1:1")) == 4
    typed("auth", "revoke", "n9")


class TestUnderLoad:
    def test_a_client_gets_another_key_and_no_write_fails(self, tmp_path):
        with KeyedDaemons(tmp_path) as daemons:
            typed = begin(daemons)
            daemons.alice, admin = typed.new("writer", "--read", "", "--write", ""), daemons.alice
            with Load(daemons, timeouts_s=(30.0, 30.0)) as load:
                load.wait_more(10)
                typed("auth", "rotate", "writer", "--output-file", typed.path("fresh"))
                with Client(daemons.endpoints, key=typed.path("fresh")) as fresh:
                    fresh.put(b"/fresh", b"1")
                load.wait_more(10)
            assert not any(writer.refused for writer in load.writers)
            typed("auth", "rotate", "writer", "--finish")
            with (
                Client(daemons.endpoints, key=typed.path("writer"), timeout_s=60.0) as former,
                pytest.raises((HandshakeError, ForbiddenError)),
            ):
                former.put(b"/fresh", b"2")
            daemons.alice = admin
            daemons.check_equal()

    def test_a_node_gets_another_key_and_no_write_fails(self, tmp_path):
        with KeyedDaemons(tmp_path) as daemons:
            typed = begin(daemons)
            with Load(daemons, timeouts_s=(30.0, 30.0)) as load:
                load.wait_more(10)
                former, daemons.keys["n2"] = daemons.keys["n2"], make_key("n2", "peer", "test")
                public = key_text(daemons.keys["n2"].public_key)
                assert typed("auth", "rotate", "n2", "--public-key", public)["slot"]
                daemons.write_key("n2")
                daemons.kill("n2")
                daemons.start("n2")
                # A client whose file has the old key alone learns the new one from another node.
                with Client([daemons.endpoint("n1")], key=daemons.alice, timeout_s=60.0) as client:
                    client.status()
                    assert client.status(daemons.endpoint("n2"))["node"] == "n2"
                typed("auth", "rotate", "n2", "--finish")
                load.wait_more(10)
            assert not any(writer.refused for writer in load.writers)
            with (
                Client([daemons.endpoint("n2")], key=daemons.alice, timeout_s=60.0) as client,
                pytest.raises(HandshakeError, match="another key than expected"),
            ):
                client.get(b"k")
            assert former.public_key != daemons.keys["n2"].public_key

    def test_who_is_revoked_writes_nothing_more_and_the_others_go_on(self, tmp_path):
        with KeyedDaemons(tmp_path) as daemons:
            typed = begin(daemons)
            key = typed.new("app1", "--read", "/app/", "--write", "/app/")
            ended = []

            def write():
                with Client(daemons.endpoints, key=key, timeout_s=60.0) as client:
                    try:
                        for number in range(1_000_000):
                            client.put(b"/app/n", b"%d" % number)
                    except ClientError as error:
                        ended.append(error)

            thread = threading.Thread(target=write)
            thread.start()
            with Load(daemons, timeouts_s=(30.0, 30.0)) as load:
                load.wait_more(10)
                slot = typed("auth", "revoke", "app1")["slot"]
                thread.join(60.0)
                load.wait_more(10)
            assert not any(writer.refused for writer in load.writers)
            assert isinstance(ended[0], ForbiddenError), ended
            with daemons.client() as client:
                row = client.get(b"/app/n")
                history = client.watch(b"/app/n", from_revision=row.modify_revision)
                assert next(history).slot < slot

    def test_many_tasks_of_one_client(self, cluster):
        daemons, typed = cluster

        async def run():
            async with AsyncClient(daemons.endpoints, key=typed.key("app1")) as client:
                puts = [client.put(b"/app/jobs/%d" % n, b"v") for n in range(200)]
                refused = client.put(b"/other", b"v")
                return await asyncio.gather(*puts, refused, return_exceptions=True)

        *revisions, error = asyncio.run(run())
        assert len(set(revisions)) == 200
        assert isinstance(error, ForbiddenError)


def steps_of(heading):
    """The commands in the blocks of a part of docs/SECURITY.md."""
    part = (
        SECURITY.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    )
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", part, re.M | re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if shlex.split(line, comments=True)]


def test_the_way_back_when_the_last_admin_key_is_lost(tmp_path):
    """The page's own commands, in its order; "restart" is what the page says in words."""
    with KeyedDaemons(tmp_path) as daemons:
        typed = begin(daemons)
        typed("put", "k", "v")
        typed.path("alice").unlink()
        steps = steps_of("The last admin's key is lost")
        assert [step[:3] for step in steps] == [
            ["paxosd", "keygen", "--name"], ["systemctl", "restart", "paxosd@n1"],
            ["paxosctl", "auth", "new"], ["paxosctl", "auth", "revoke"],
        ]  # fmt: skip
        for step in steps:
            words = [word.replace("/etc/paxosd/", f"{tmp_path}/") for word in step]
            if words[0] == "systemctl":
                for name in daemons.names:
                    daemons.kill(name)
                    daemons.start(name)
                    daemons.wait_up(name)
                daemons.alice = read_key_file(tmp_path / "rescue.key")
                daemons.wait_leader()
                continue
            done = daemons.run(words[0], *words[1:])
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        with Client(daemons.endpoints, key=tmp_path / "bob.key", timeout_s=30.0) as client:
            assert client.get(b"k").value == b"v"
            client.put(b"k", b"w")
            names = client.rights()["principals"]
        assert "bob" in names
        assert "alice" not in names
