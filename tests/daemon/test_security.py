"""A node's own key and trust file, and ``paxosd keygen``."""

import stat
from dataclasses import replace

import pytest

from paxosd.cli import run
from paxosd.config.sources import load
from paxosd.core.rights import NO_RIGHTS, RightsTable, admin_of
from paxosd.core.state.machine import Machine
from paxosd.daemon import exits
from paxosd.daemon.security import check_rights, read_security, security_status
from paxosd.net.key_files import KeyFileError, key_text, read_key_file, read_trust_file
from tests.config.test_sources import MINIMAL


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "n1.toml"
    path.write_text(MINIMAL + '\n[security]\nkey_file = "n1.key"\ntrust_file = "trust"\n')
    return path


def keygen(*arguments):
    return run(["keygen", *map(str, arguments)])


def cluster_of(config):
    return load(config, (), {}).cluster.id


class TestKeygen:
    def test_a_nodes_key_and_whom_all_trust(self, config, tmp_path, capsys):
        key, trust = tmp_path / "n1.key", tmp_path / "trust"
        given = ("--cluster", cluster_of(config), "--trust", trust)
        assert keygen("--name", "n1", "-o", key, *given) == exits.OK
        made = read_key_file(key)
        assert (made.name, made.role, made.cluster) == ("n1", "peer", cluster_of(config))
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert read_trust_file(trust).peers == {"n1": made.public_key}
        said = capsys.readouterr().out
        assert key_text(made.public_key) in said
        assert key_text(made.secret_key) not in said

    def test_an_admins_key_has_where_the_nodes_are(self, config, tmp_path):
        trust, path = tmp_path / "trust", tmp_path / "alice.key"
        asked = ("--name", "alice", "--role", "admin", "--config", config, "--trust", trust)
        assert keygen(*asked, "-o", path) == exits.CONFIG, "no key of n1 is known yet"
        assert not path.exists()
        keygen("--name", "n1", "--config", config, "-o", tmp_path / "n1.key", "--trust", trust)
        assert keygen(*asked, "-o", path) == exits.OK
        alice, known = read_key_file(path), read_trust_file(trust)
        assert alice.servers["n1"].public_key == known.peers["n1"]
        assert known.admins == {"alice": alice.public_key}

    def test_an_admins_key_of_no_use_yet_is_said_to_be(self, config, tmp_path, capsys):
        given = ("--cluster", "c", "-o")
        for name, role, lacks in (("n1", "peer", False), ("alice", "admin", True)):
            assert keygen("--name", name, "--role", role, *given, tmp_path / name) == exits.OK
            assert ("entered in [servers]" in capsys.readouterr().out) == lacks

    def test_no_key_is_overwritten_and_no_name_taken_twice(self, config, tmp_path, capsys):
        given = ("--cluster", "c", "--trust", tmp_path / "trust")
        assert keygen("--name", "n1", "-o", tmp_path / "a", *given) == exits.OK
        before = (tmp_path / "a").read_bytes(), (tmp_path / "trust").read_bytes()
        assert keygen("--name", "n2", "-o", tmp_path / "a", *given) == exits.CONFIG
        assert keygen("--name", "n1", "-o", tmp_path / "b", *given) == exits.CONFIG
        assert "never overwritten" in capsys.readouterr().err
        assert ((tmp_path / "a").read_bytes(), (tmp_path / "trust").read_bytes()) == before
        assert not (tmp_path / "b").exists()

    def test_one_that_cannot_be_entered_is_not_left_behind(self, tmp_path, capsys):
        asked = ("--name", "n1", "--cluster", "c", "-o", tmp_path / "n1.key", "--trust")
        assert keygen(*asked, tmp_path / "not there" / "trust") == exits.CONFIG
        assert "cannot be written" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())
        assert keygen(*asked, tmp_path / "trust") == exits.OK, "it is as if nothing had happened"
        assert stat.S_IMODE((tmp_path / "trust").stat().st_mode) == 0o644


class TestReading:
    def test_what_a_node_says_of_itself(self, config, tmp_path):
        asked = ("--config", config, "--trust", tmp_path / "trust")
        keygen("--name", "n1", "-o", tmp_path / "n1.key", *asked)
        loaded = load(config, (), {})
        security = read_security(loaded)
        key = read_key_file(tmp_path / "n1.key")
        assert security.authority.keys_of("n1") == (key.public_key,)
        status = security_status(loaded, security)
        assert (status.key, status.rollout) == (key_text(key.public_key), "done")
        assert key_text(key.secret_key) not in repr(security) + repr(status)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--name", "n2", "--cluster", "CLUSTER"), r"the key of n2 \(peer\)"),
            (("--name", "n1", "--role", "admin", "--cluster", "CLUSTER"), r"n1 \(admin\)"),
            (("--name", "n1", "--cluster", "other"), 'for the cluster "other"'),
        ],
    )
    def test_a_key_that_is_not_its_own(self, config, tmp_path, arguments, words):
        cluster = cluster_of(config)
        given = [cluster if each == "CLUSTER" else each for each in arguments]
        keygen(*given, "-o", tmp_path / "n1.key", "--trust", tmp_path / "trust")
        with pytest.raises(KeyFileError, match=words):
            read_security(load(config, (), {}))


class TestRightsWhereEverybodyIsTaken:
    """Rights that are required do not hold at ports that want no key."""

    TABLE = RightsTable(1, True, (admin_of("root", (b"1" * 32,)),))

    def test_such_a_node_does_not_start(self, config, tmp_path):
        loaded = load(config, (), {})
        check_rights(loaded, self.TABLE)
        for rollout, stays_out in (("ready", True), ("listening", False), ("done", False)):
            security = replace(loaded.security, rollout=rollout)
            other = replace(loaded, security=security)
            check_rights(other, NO_RIGHTS)
            if stays_out:
                with pytest.raises(KeyFileError, match=r"rights are required.*rollout"):
                    check_rights(other, self.TABLE)
            else:
                check_rights(other, self.TABLE)
        bare = replace(loaded, security=replace(loaded.security, key_file=""))
        with pytest.raises(KeyFileError, match=r"it has no security\.key_file"):
            check_rights(bare, self.TABLE)

    def test_one_that_runs_says_so(self, config, tmp_path):
        asked = ("--config", config, "--trust", tmp_path / "trust")
        keygen("--name", "n1", "-o", tmp_path / "n1.key", *asked)
        loaded = load(config, (), {})
        ready = replace(loaded, security=replace(loaded.security, rollout="ready"))
        security, machine = read_security(ready), Machine()
        assert not security_status(ready, security).warning
        machine.rights = self.TABLE
        security.use(machine)
        assert "do not hold here" in security_status(ready, security).warning
        assert not security_status(loaded, security).warning
