import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from paxosd.config.schema import MemberConfig
from paxosd.config.settings import ConfigError
from paxosd.config.sources import load
from paxosd.daemon.keygen import keygen
from paxosd.dev.dev import child_spec, describe, next_commands, not_handed_on
from paxosd.dev.layout import members_at, prepare
from paxosd.dev.ports import PortsTakenError, check_ports
from paxosd.net.key_files import KeyFileError


class TestPorts:
    def test_the_scheme(self):
        assert members_at(7400, 3)["n2"] == MemberConfig(
            client="tcp://127.0.0.1:7420",
            peer="tcp://127.0.0.1:7421",
            events="tcp://127.0.0.1:7422",
        )

    def test_ports_end_at_65535(self):
        members_at(65_463, 7)
        with pytest.raises(ConfigError, match="node n7 would need port 65536"):
            members_at(65_464, 7)

    def test_one_in_use_is_named_with_what_to_do(self, tmp_path):
        port = three_free_ports()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            cluster = prepare(tmp_path, 1, port - 10)
            with pytest.raises(PortsTakenError, match="in use") as caught:
                check_ports(cluster.nodes)
        assert f"tcp://127.0.0.1:{port} (n1, client): in use" in str(caught.value)
        assert "--base-port" in str(caught.value)
        check_ports(cluster.nodes)


def three_free_ports():
    """The first of three in a row that nobody uses, below those that the system hands out."""
    for first in range(20_000, 30_000, 3):
        with ExitStack() as stack:
            try:
                for port in range(first, first + 3):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no three free ports")


def test_variables_that_no_node_sees_are_named(tmp_path):
    cluster = prepare(tmp_path, 1, None)
    (said,) = not_handed_on(cluster, {"PAXOSD_TRACE_ENABLED": "true", "HOME": "/"})
    assert "PAXOSD_TRACE_ENABLED: not handed on to the nodes" in said
    assert "n1.toml" in said
    assert not_handed_on(cluster, {"HOME": "/"}) == []


class TestFirstStart:
    def test_every_node_gets_a_file_that_starts_it_by_hand(self, tmp_path):
        cluster = prepare(tmp_path / "x" / "dev", None, None)
        assert cluster.fresh
        assert [node.name for node in cluster.nodes] == ["n1", "n2", "n3"]
        for node in cluster.nodes:
            config = load(node.config_path, environ={})
            assert config.node.name == node.name
            assert config.node.data_dir == tmp_path / "x" / "dev" / node.name
            assert config.log.file == str(tmp_path / "x" / "dev" / f"{node.name}.log")
            assert config.faults.enabled
            assert dict(config.cluster.members) == members_at(7400, 3)

    def test_the_directory_is_private(self, tmp_path):
        prepare(tmp_path / "dev", 1, None)
        assert (tmp_path / "dev").stat().st_mode & 0o777 == 0o700

    def test_the_terminals_variables_are_not_the_nodes(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PAXOSD_NODE_NAME", "n9")
        cluster = prepare(tmp_path, 1, None)
        spec = child_spec(cluster.nodes[0])
        assert "PAXOSD_NODE_NAME" not in spec.environ
        assert cluster.nodes[0].config.node.name == "n1"

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "dev").write_text("")
        with pytest.raises(ConfigError, match="--data-dir"):
            prepare(tmp_path / "dev", None, None)


class TestSecondStart:
    def test_nothing_is_written_again(self, tmp_path):
        first = prepare(tmp_path, 2, 9000)
        edited = first.nodes[0].config_path
        edited.write_text(edited.read_text() + "\n[protocol]\nheartbeat_ms = 50\n")
        second = prepare(tmp_path, None, None)
        assert not second.fresh
        assert second.nodes[0].config.protocol.heartbeat_ms == 50
        assert second.nodes[0].config.cluster == first.nodes[0].config.cluster

    def test_a_missing_file_is_filled_in(self, tmp_path):
        first = prepare(tmp_path, 3, None)
        first.nodes[0].config_path.unlink()
        second = prepare(tmp_path, 3, None)
        assert second.nodes[0].config == first.nodes[0].config

    def test_the_same_flags_are_fine(self, tmp_path):
        prepare(tmp_path, 2, 9000)
        assert len(prepare(tmp_path, 2, 9000).nodes) == 2

    def test_another_number_of_nodes_is_refused(self, tmp_path):
        prepare(tmp_path, 3, None)
        with pytest.raises(ConfigError, match="already names 3 members"):
            prepare(tmp_path, 5, None)
        assert not (tmp_path / "n4.toml").exists()

    def test_other_ports_are_refused(self, tmp_path):
        prepare(tmp_path, 3, None)
        with pytest.raises(ConfigError, match="already names other ports"):
            prepare(tmp_path, None, 9000)

    def test_files_that_disagree_are_refused(self, tmp_path):
        cluster = prepare(tmp_path, 2, None)
        path = cluster.nodes[1].config_path
        path.write_text(path.read_text().replace(":7420", ":7429"))
        with pytest.raises(ConfigError, match=r"n2\.toml: \[cluster\] differs"):
            prepare(tmp_path, None, None)

    def test_a_file_under_the_wrong_name_is_refused(self, tmp_path):
        cluster = prepare(tmp_path, 2, None)
        path = cluster.nodes[1].config_path
        path.write_text(cluster.nodes[0].config_path.read_text())
        with pytest.raises(ConfigError, match=r'node\.name is "n1", not "n2"'):
            prepare(tmp_path, None, None)

    def test_an_edit_that_is_wrong_is_said_with_the_file(self, tmp_path):
        path = prepare(tmp_path, 1, None).nodes[0].config_path
        path.write_text(path.read_text() + "[lgo]\n")
        with pytest.raises(ConfigError, match=r'n1\.toml: \[lgo\].*did you mean "log"'):
            prepare(tmp_path, None, None)


class TestWords:
    def test_what_is_where(self, tmp_path):
        text = "\n".join(describe(prepare(tmp_path, 3, None)))
        assert "survives the loss of 1" in text
        assert str(tmp_path) in text
        for node in range(1, 4):
            for kind in range(3):
                assert f"tcp://127.0.0.1:{7400 + 10 * node + kind}" in text
            assert f"n{node}.log" in text

    def test_three_commands_for_the_default_cluster_are_short(self, tmp_path):
        lines = [line for line in next_commands(prepare(tmp_path, 3, None)) if line[0] == " "]
        assert len(lines) == 3
        assert "--endpoints" not in "".join(lines)

    def test_and_say_where_another_one_is(self, tmp_path):
        text = "\n".join(next_commands(prepare(tmp_path, 2, 9000)))
        export = "export PAXOSCTL_ENDPOINTS=tcp://127.0.0.1:9010,tcp://127.0.0.1:9020"
        assert [line.strip() for line in text.splitlines()].count(export) == 1
        assert "--endpoints" not in text


def test_a_first_start_that_is_killed_is_begun_anew():
    """At each step: `paxosd dev` goes on, with keys or without, and no key of the first is left."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.dev.killed"], cwd=Path(__file__).parents[2],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15, "steps"


def test_keys_of_others_and_of_nodes_that_ran_stay(tmp_path):
    for cluster, ran in (("orders", False), ("dev-1", True)):
        place = tmp_path / cluster
        place.mkdir()
        keygen("n1", "peer", cluster, place / "n1.key", None, None)
        if ran:
            (place / "n1").mkdir()
        with pytest.raises(KeyFileError, match="a key is never overwritten"):
            prepare(place, 3, None, keys=True)
