"""paxosctl auth, on a node in a thread that goes by rights."""

import json
import os
import stat
from pathlib import Path

import pytest

from paxosctl.auth import asking
from paxosctl.cli.main import run
from paxosctl.client.client import Client
from paxosctl.client.errors import OutcomeUnknownError
from paxosd.core.cluster_settings import LEVEL_KEYS, LEVEL_LATEST, ClusterSettings
from paxosd.net.key_files import (
    ServerKey,
    key_file_text,
    key_text,
    make_key,
    read_key_file,
    write_secret,
)
from tests.ctl.client.test_keys import admit_at, node_key
from tests.ctl.fake_daemon import FakeDaemon


@pytest.fixture
def keyed():
    with FakeDaemon(key=node_key()) as daemon:
        daemon.machine.settings = ClusterSettings(1, LEVEL_KEYS)
        yield daemon


@pytest.fixture
def auth(keyed, tmp_path, monkeypatch, capfd):
    """``auth("list", key="root")``: (exit code, standard output, standard error), in tmp_path."""
    monkeypatch.chdir(tmp_path)
    servers = {"n1": ServerKey(keyed.endpoint, keyed.key.public_key)}
    root = make_key("root", "admin", "test", servers)
    write_secret(tmp_path / "root.key", key_file_text(root))
    admit_at(keyed, root)

    def call(*words, key="root", output="json", verb="auth"):
        code = run(["--key-file", f"{key}.key", "-o", output, verb, *words])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def let_in(keyed, name):
    """As the node's key ring would."""
    key = read_key_file(Path(f"{name}.key" if os.sep not in name else name))
    keyed.admits["client"].add(key.public_key)
    return key


@pytest.fixture
def begun(auth):
    assert auth("init")[0] == 0
    return auth


def json_of(found):
    code, out, err = found
    assert code == 0, err
    return json.loads(out)


class TestBeginning:
    def test_init_makes_the_admin_and_the_nodes_and_requires_rights(self, auth, keyed):
        made = json_of(auth("init"))
        assert (made["version"], made["required"]) == (1, True)
        assert made["changed"] == ["n1 is new: peer", "root is new: admin", "rights are required"]
        table = keyed.machine.rights
        assert table.named("n1").keys == (keyed.key.public_key,)
        code, _, err = auth("init")
        assert code == 1
        assert "a rights table already" in err

    @pytest.mark.parametrize("verb", [("init",), ("new", "app1")])
    def test_it_waits_for_the_level_of_a_new_cluster(self, auth, keyed, monkeypatch, verb):
        keyed.machine.settings = ClusterSettings()
        keyed.status = {"feature_level_known": LEVEL_LATEST}
        pauses = []

        def leader_raises_it(pause_s):
            pauses.append(pause_s)
            keyed.machine.settings = ClusterSettings(1, LEVEL_KEYS)

        monkeypatch.setattr(asking, "sleep", leader_raises_it)
        assert json_of(auth(*verb))["version"] == 1
        assert pauses == [asking.LEVEL_POLL_S]

    def test_it_waits_no_longer_than_for_an_answer(self, auth, keyed, monkeypatch):
        keyed.machine.settings = ClusterSettings()
        keyed.status = {"feature_level_known": LEVEL_LATEST}
        now_s = [0.0]
        monkeypatch.setattr(asking, "monotonic", lambda: now_s[0])
        monkeypatch.setattr(asking, "sleep", lambda _: now_s.append(now_s.pop() + 4))
        code, _, err = auth("init", "--timeout", "10s")
        assert (code, now_s) == (77, [12.0])
        assert "there is no rights table below feature level" in err

    @pytest.mark.parametrize(
        "held",
        [
            {"feature_level_known": LEVEL_KEYS - 1},
            {"feature_level_known": LEVEL_LATEST, "feature_level_max": LEVEL_KEYS - 1},
        ],
    )
    def test_it_does_not_wait_for_what_somebody_must_do(self, auth, keyed, monkeypatch, held):
        keyed.machine.settings = ClusterSettings()
        keyed.status = held
        monkeypatch.setattr(asking, "sleep", lambda _: pytest.fail("it waits"))
        assert auth("init")[0] == 77

    def test_without_a_key_there_is_no_admin(self, auth, keyed, tmp_path):
        code = run(["--endpoints", keyed.endpoint, "auth", "init"])
        assert code == 77  # the node wants a key: the handshake failed

    def test_a_file_that_others_can_read_is_refused(self, auth, tmp_path):
        (tmp_path / "root.key").chmod(0o644)
        code, _, err = auth("list", output="table")
        assert code == 74
        assert "others may read or change it; chmod 600 it" in err

    def test_a_file_that_is_not_there(self, auth):
        code, _, err = auth("list", key="nobody", output="table")
        assert code == 74
        assert "nobody.key: there is no such file" in err


class TestNew:
    def test_a_client_gets_a_file_that_only_its_owner_may_read(self, begun, keyed, tmp_path):
        made = json_of(begun("new", "app1", "--read", "/app/", "--write", "/app/jobs/"))
        assert made["changed"] == ["app1 is new: client"]
        path = tmp_path / "app1.key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = let_in(keyed, "app1")
        assert (key.name, key.role, key.cluster) == ("app1", "client", "test")
        assert key.servers == {"n1": ServerKey(keyed.endpoint, keyed.key.public_key)}
        assert begun("/app/jobs/1", "v", key="app1", verb="put")[0] == 0
        assert begun("/app/jobs/1", key="app1", verb="get")[0] == 0
        code, _, err = begun("/other/x", "v", key="app1", verb="put")
        assert code == 77
        assert json.loads(err)["error"] == "forbidden"
        assert 'app1 (client) may not write "/other/x"' in json.loads(err)["message"]

    def test_a_file_is_not_overwritten_and_then_nothing_is_done(self, begun, keyed, tmp_path):
        (tmp_path / "app1.key").write_text("mine")
        code, _, err = begun("new", "app1", output="table")
        assert code == 1
        assert "app1.key exists: name another file (-o FILE), or use --force" in err
        assert (tmp_path / "app1.key").read_text() == "mine"
        assert keyed.machine.rights.named("app1") is None
        json_of(begun("new", "app1", "--force"))
        assert read_key_file(tmp_path / "app1.key").name == "app1"

    def test_what_the_cluster_refuses_leaves_no_file(self, begun, tmp_path):
        json_of(begun("new", "app1"))
        code, _, err = begun("new", "app1", "-o", "again.key", output="table")
        assert code == 1
        assert "a principal app1 already" in err
        assert sorted(each.name for each in tmp_path.iterdir()) == ["app1.key", "root.key"]

    @pytest.mark.parametrize(
        "unknown", [KeyboardInterrupt(), OutcomeUnknownError(0, 0, "no answer", [])]
    )
    def test_a_key_that_the_cluster_may_know_is_kept(self, begun, tmp_path, monkeypatch, unknown):
        def change(*_):
            raise unknown

        monkeypatch.setattr(Client, "change_rights", change)
        code, _, err = begun("new", "app1", output="table")
        assert code == (130 if isinstance(unknown, KeyboardInterrupt) else 124)
        (part,) = tmp_path.glob("app1.key.*.part")
        assert f"The new key is kept in {part.name}" in err
        assert read_key_file(part).name == "app1"

    def test_a_key_is_printed_only_if_that_is_asked_for(self, begun, keyed, tmp_path):
        secret = key_text(read_key_file(tmp_path / "root.key").secret_key)
        for words in (("list",), ("show", "root"), ("new", "app1"), ("rotate", "app1", "--force")):
            for output in ("table", "json", "plain"):
                _, out, err = begun(*words, output=output)
                assert secret not in out + err
                assert "secret" not in out + err
        code, out, err = begun("new", "app2", "-o", "-")
        assert code == 0, err
        assert "secret_key = " in out
        (tmp_path / "app2.key").write_text(out)
        (tmp_path / "app2.key").chmod(0o600)
        assert read_key_file(tmp_path / "app2.key").name == "app2"

    def test_a_public_key_alone(self, begun, keyed, tmp_path):
        public = node_key("n2").public_key
        made = json_of(begun("new", "n2", "--role", "peer", "--public-key", key_text(public)))
        assert made["changed"] == ["n2 is new: peer"]
        assert keyed.machine.rights.named("n2").keys == (public,)
        assert begun("new", "n3", "--role", "peer", output="table")[0] == 2


class TestChanges:
    def test_set_show_and_list(self, begun, keyed):
        json_of(begun("new", "app1", "--read", "/app/"))
        made = json_of(begun("set", "app1", "--read", "/a/", "--read", "/b/", "--write", "/c/"))
        assert made["changed"] == ["app1: read changed", "app1: write changed"]
        shown = json_of(begun("show", "app1"))
        assert (shown["read"], shown["write"]) == (["/a/", "/b/"], ["/c/"])
        assert json_of(begun("set", "app1", "--no-write"))["changed"] == ["app1: write changed"]
        assert json_of(begun("set", "app1", "--role", "operator"))["changed"] == [
            "app1: role changed"
        ]
        table = json_of(begun("list"))
        assert [each["name"] for each in table["principals"]] == ["app1", "n1", "root"]
        assert json_of(begun("set", "app1", "--role", "operator"))["changed"] == []
        code, out, _ = begun("list", output="table")
        assert code == 0
        assert "/a/, /b/" in out
        assert begun("show", "nobody")[0] == 1

    @pytest.mark.parametrize("what", [("--no-read",), ("--role", "client"), ("--read", "/a/")])
    def test_nobody_cannot_be_changed(self, begun, what):
        code, _, err = begun("set", "nobody", *what)
        assert code == 1
        assert "there is no principal nobody" in json.loads(err)["message"]

    @pytest.mark.parametrize(
        ("words", "fault"),
        [
            (("set", "app1", "--read", "hex:4"), "hex: and pairs of hex digits"),
            (("revoke", "app1", "--public-key", "short"), "a key is 40 characters of Z85"),
        ],
    )
    def test_bytes_in_wrong_words(self, begun, words, fault):
        code, _, err = begun(*words)
        assert code == 2
        assert fault in json.loads(err)["message"]
        assert "short" not in err  # it may be a secret key

    def test_rotation(self, begun, keyed, tmp_path):
        json_of(begun("new", "app1", "--write", "/app/"))
        let_in(keyed, "app1")
        json_of(begun("rotate", "app1", "-o", "new.key"))
        key = let_in(keyed, str(tmp_path / "new.key"))
        for name in ("app1", "new"):
            assert begun("/app/1", "v", key=name, verb="put")[0] == 0
        json_of(begun("rotate", "app1", "--finish"))
        assert keyed.machine.rights.named("app1").keys == (key.public_key,)
        assert begun("/app/1", "v", key="new", verb="put")[0] == 0
        code, _, err = begun("/app/1", "v", key="app1", verb="put")
        assert code == 77
        assert "revoked, or never added" in err

    def test_revocation(self, begun, keyed):
        json_of(begun("new", "app1", "--write", "/app/"))
        key = let_in(keyed, "app1")
        made = json_of(begun("revoke", "app1"))
        assert made["changed"] == ["app1 is gone, with its keys", "1 key is revoked"]
        assert key.public_key in keyed.machine.rights.revoked
        assert begun("/app/1", "v", key="app1", verb="put")[0] == 77
        code, _, err = begun("revoke", "root", output="table")
        assert code == 1
        assert "the last admin with a key" in err

    def test_only_an_admin_may_change_anything(self, begun, keyed):
        json_of(begun("new", "app1", "--read", ""))
        json_of(begun("new", "ops", "--role", "operator"))
        for name in ("app1", "ops"):
            let_in(keyed, name)
            code, _, err = begun("new", "more", key=name)
            assert code == 77, err
            assert "may not change the rights here" in json.loads(err)["message"]
        own = json_of(begun("list", key="app1"))
        assert [each["name"] for each in own["principals"]] == ["app1"]
        assert len(json_of(begun("list", key="ops"))["principals"]) == 4

    @pytest.mark.parametrize("rollout", ["", "ready"])
    def test_they_are_not_required_where_a_node_takes_everybody(self, auth, keyed, rollout):
        keyed.rollout = rollout
        code, _, err = auth("init")
        assert code == 1, err
        assert "n1 would still take whoever reaches the ports" in json.loads(err)["message"]
        assert not keyed.machine.rights.version
        keyed.rollout = "listening"
        json_of(auth("init"))
        json_of(auth("require", "off"))
        keyed.rollout = rollout
        assert auth("require")[0] == 1
        assert not keyed.machine.rights.required

    def test_rights_are_lifted_and_required_again(self, begun, keyed):
        assert json_of(begun("require", "off"))["required"] is False
        made = json_of(begun("require", "--unconfirmed", "5s"))
        assert made["changed"] == [
            "rights are required", "a node that is cut off serves for 5000 ms"
        ]  # fmt: skip
