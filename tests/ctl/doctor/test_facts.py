"""How a machine is looked at: mounts, control groups, locks, ports, a trial of the disk."""

import fcntl
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from paxosctl.doctor.facts import (
    clock,
    directories,
    file_systems,
    key_files,
    machine_look,
    ports,
    processes,
    service,
)
from paxosctl.doctor.facts.sync_trial import SYNCS_MAX, sync_times_us
from paxosctl.doctor.gathering import read_configuration
from paxosctl.doctor.machine import UNLIMITED
from paxosd.config.sources import load
from paxosd.daemon.keygen import keygen
from paxosd.storage.datadir import DataDir
from tests.processes.ports import free_ports

MOUNTS = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:20 / /proc rw - proc proc rw
30 22 0:30 / /data rw - xfs /dev/vdb rw
31 30 0:31 / /data/ram rw shared:3 - tmpfs none rw
32 22 0:32 / /with\040blank rw - nfs4 server:/x rw
33 30 0:33 / /data/ram rw - fuse.sshfs host rw
a line that is cut
""".splitlines()


@pytest.mark.parametrize(
    ("path", "kind", "mount"),
    [
        ("/var/lib", "ext4", "/"),
        ("/data", "xfs", "/data"),
        ("/database", "ext4", "/"),
        ("/data/n1", "xfs", "/data"),
        ("/data/ram/n1", "fuse.sshfs", "/data/ram"),  # mounted over the other
        ("/with blank/n1", "nfs4", "/with blank"),
    ],
)
def test_the_deepest_mount_counts(path, kind, mount):
    assert file_systems.mount_of(path, MOUNTS) == (kind, mount)


def test_a_path_that_is_not_there_is_on_the_file_system_of_its_parent(tmp_path):
    assert file_systems.existing(tmp_path / "a" / "b") == tmp_path
    here = file_systems.look_at(tmp_path / "a" / "b")
    assert here.kind
    assert here.free_bytes > 0


def test_the_least_limit_of_a_control_group_and_those_above_counts(tmp_path):
    inner = tmp_path / "a.slice" / "b.service"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("5000\n")
    assert processes.memory_limit("0::/a.slice/b.service\n", tmp_path) == 5000
    (inner / "memory.max").write_text("4000\n")
    assert processes.memory_limit("0::/a.slice/b.service\n", tmp_path) == 4000
    assert processes.memory_limit("0::/elsewhere\n", tmp_path) == UNLIMITED
    older = tmp_path / "memory" / "c"
    older.mkdir(parents=True)
    (older / "memory.limit_in_bytes").write_text("3000\n")
    assert processes.memory_limit("4:cpu,memory:/c\n0::/elsewhere\n", tmp_path) == 3000
    (older / "memory.limit_in_bytes").write_text(f"{(1 << 63) - 4096}\n")
    assert processes.memory_limit("4:memory:/c\n", tmp_path) == UNLIMITED


def test_a_process_has_its_limits():
    mine = processes.look_at(os.getpid())
    assert mine.pid == os.getpid()
    assert mine.descriptors > 0
    assert mine.resident_bytes > 1 << 20
    none = processes.look_at(0)
    assert (none.pid, none.resident_bytes) == (0, 0)
    assert processes.look_at(1 << 30).pid == 0, "there is no such process"
    assert processes.available_bytes() > 0


def test_the_kernel_says_whether_a_time_service_keeps_the_clock():
    assert clock.is_synchronised() in (True, False, None)


def test_the_disk_is_measured_and_nothing_is_left(tmp_path):
    times = sync_times_us(tmp_path)
    assert 1 <= len(times) <= SYNCS_MAX
    assert all(each >= 0 for each in times)
    assert list(tmp_path.iterdir()) == []
    assert sync_times_us(tmp_path / "missing") == ()


class TestDirectory:
    def test_one_that_is_not_there_can_be_made(self, tmp_path):
        found = directories.look_at(tmp_path / "a" / "n1")
        assert (found.problem, found.was_used, found.locked_by) == ("", False, None)
        (tmp_path / "file").write_text("")
        assert directories.look_at(tmp_path / "file").problem == "it is no directory"
        assert "no directory" in directories.look_at(tmp_path / "file" / "n1").problem

    def test_whose_it_is_and_who_uses_it(self, tmp_path):
        with DataDir.open(tmp_path / "n1", "c", "n1") as opened:
            opened.node_directory.claim()
            found = directories.look_at(tmp_path / "n1")
            assert (found.cluster, found.node, found.damage) == ("c", "n1", "")
            assert found.locked_by == os.getpid()
            assert found.mode == 0o700
            assert found.held_bytes > 0
        found = directories.look_at(tmp_path / "n1")
        assert (found.locked_by, found.was_used) == (None, True)

    def test_that_it_looks_does_not_hinder_a_start(self, tmp_path):
        """It takes no lock, not for a moment."""
        lock = tmp_path / "LOCK"
        lock.write_text("1\n")
        with lock.open() as file:
            directories.look_at(tmp_path)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @pytest.mark.parametrize("content", ["", "[]", '{"cluster": "c"}', "[" * 100_000])
    def test_a_damaged_identity(self, tmp_path, content):
        (tmp_path / "identity").write_text(content)
        assert "identity file cannot be read" in directories.look_at(tmp_path).damage

    def test_a_log_without_an_identity(self, tmp_path):
        (tmp_path / "wal").mkdir()
        (tmp_path / "wal" / "wal-1").write_text("x")
        assert "identity file is missing" in directories.look_at(tmp_path).damage


def configuration(path, port, host="127.0.0.1", *more):
    members = [
        f"cluster.members.n1.{kind}=tcp://{host}:{port + at}"
        for at, kind in enumerate(("peer", "client", "events"))
    ]
    given = ("cluster.id=c", "node.name=n1", f"node.data_dir={path}", *members, *more)
    return load(None, given, {})


class TestPorts:
    def test_free_and_taken(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as server:
            taken = server.getsockname()[1]
            http = f"http.listen=127.0.0.1:{taken}"
            config = configuration(tmp_path, free_ports(1)[0], "127.0.0.1", http)
            found = {each.what: each for each in ports.try_ports(config)}
        assert found["http"].taken
        assert found["http"].holder.startswith(f"process {os.getpid()} (")
        assert not found["peer"].error or found["peer"].taken

    def test_an_address_that_is_not_here(self, tmp_path):
        config = configuration(tmp_path, 7410, "192.0.2.1", "security.insecure=true")
        assert {each.error for each in ports.try_ports(config)} == {
            "this machine has no such address"
        }

    def test_every_address(self, tmp_path):
        open_ = ("node.bind_host=*", "security.insecure=true")
        config = configuration(tmp_path, free_ports(1)[0], "192.0.2.1", *open_)
        assert not any(each.error and not each.taken for each in ports.try_ports(config))


def test_files_of_keys_that_cannot_be_used(tmp_path):
    key, trust = tmp_path / "n1.key", tmp_path / "n1.trust"
    key.write_text("")
    key.chmod(0o644)
    files = (f"security.key_file={key}", f"security.trust_file={trust}")
    config = configuration(tmp_path / "n1", free_ports(1)[0], "127.0.0.1", *files)
    found = machine_look.look(config, tmp_path / "n1.toml", lambda _: None).keys.problems
    assert len(found) == 2
    assert str(key) in found[0]
    assert str(trust) in found[1]


def test_a_machine_before_the_first_start(tmp_path):
    config = configuration(tmp_path / "n1", free_ports(1)[0])
    said = []
    found = machine_look.look(config, tmp_path / "n1.toml", said.append)
    assert said == ["this machine", "how fast its disk is"]
    assert found.syncs_us
    assert [each.what for each in found.ports] == ["peer", "client", "events"]
    assert not (tmp_path / "n1").exists()


def test_of_a_node_that_runs_nothing_is_tried(tmp_path):
    config = configuration(tmp_path / "n1", free_ports(1)[0])
    with DataDir.open(tmp_path / "n1", "c", "n1"):
        found = machine_look.look(config, tmp_path / "n1.toml", lambda _: None)
    assert (found.ports, found.syncs_us) == ((), ())
    assert found.process.pid == os.getpid()


def test_a_configuration_that_cannot_be_read(tmp_path, monkeypatch):
    given = read_configuration(tmp_path / "none.toml")
    assert given.config is None
    assert "there is no such file" in given.problems[0]
    (tmp_path / "n1.toml").write_text("[wall]\n")
    assert any('did you mean "wal"' in each for each in read_configuration(tmp_path / "n1.toml")[2])


class TestKeysThatTheServiceHandsOver:
    """A shell does not have them, and the file does not name them."""

    @pytest.fixture
    def file(self, tmp_path):
        place = tmp_path / "n1.toml"
        port = free_ports(1)[0]
        place.write_text(
            f'[cluster]\nid = "c"\n[cluster.members.n1]\npeer = "tcp://db1:{port}"\n'
            f'client = "tcp://db1:{port + 1}"\nevents = "tcp://db1:{port + 2}"\n'
            '[node]\nname = "n1"\ndata_dir = "n1"\nbind_host = "*"\n'
        )
        return place

    @pytest.fixture
    def handed(self, tmp_path):
        """Credentials as systemd has them."""
        place = tmp_path / "credentials"
        place.mkdir()
        keygen("n1", "peer", "c", place / "paxosd.key", place / "paxosd.trust", None)
        return place

    @pytest.fixture
    def running(self, tmp_path, handed):
        """A process that has the data directory, with the environment of a service."""
        code = (
            "import sys; from pathlib import Path; from paxosd.storage.datadir import DataDir\n"
            "held = DataDir.open(Path(sys.argv[1]), 'c', 'n1'); print('held', flush=True)\n"
            "sys.stdin.read()\n"
        )
        environ = {"CREDENTIALS_DIRECTORY": str(handed), "PAXOSD_LOG_LEVEL": "debug", "SECRET": "1"}
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "n1")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ,
        ) as process:  # fmt: skip
            assert process.stdout.readline() == b"held\n"
            yield process
            process.stdin.close()

    @pytest.fixture
    def fake_systemctl(self, tmp_path, monkeypatch):
        def make(text, code=0):
            tools = tmp_path / "tools"
            tools.mkdir()
            (tools / "systemctl").write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
            (tools / "systemctl").chmod(0o755)
            monkeypatch.setenv("PATH", str(tools), prepend=":")
            monkeypatch.setattr(service, "_SYSTEMD", tmp_path)

        return make

    def test_of_a_node_that_runs_its_environment_counts(self, file, handed, running):
        given = read_configuration(file, {})
        assert given.problems == ()
        assert given.config.security.key_file == str(handed / "paxosd.key")
        assert given.config.log.level == "debug"
        found = key_files.look_at(given.config, os.getuid())
        assert (found.problems, found.hidden) == ((), ())
        assert found.public_key
        own = key_files.key_of_node(given.config)
        assert list(own.servers) == ["n1"]

    def test_what_the_shell_has_goes_before_it(self, file, running):
        given = read_configuration(file, {"PAXOSD_LOG_LEVEL": "error"})
        assert given.config.log.level == "error"

    def test_an_environment_that_may_not_be_read_makes_no_flaw(self, file, running, monkeypatch):
        monkeypatch.setattr(service, "_PROC", file.parent)
        given = read_configuration(file, {})
        assert given.problems == ()
        assert given.config is not None
        assert "may not read the environment of process" in given.keys_unseen
        assert "is reached from other machines" in given.keys_unseen

    def test_of_one_that_does_not_run_the_unit_says_it(self, file, handed, fake_systemctl):
        fake_systemctl(
            f"[Service]\nLoadCredential=paxosd.key:{handed}/paxosd.key\n"
            f"LoadCredential=paxosd.trust:{handed}/paxosd.trust"
        )
        given = read_configuration(file, {})
        assert given.problems == ()
        assert given.config.security.key_file == str(handed / "paxosd.key")
        (handed / "paxosd.key").chmod(0o644)
        assert "others may read" in key_files.look_at(given.config, 12345).problems[0]

    def test_a_unit_that_hands_over_nothing_leaves_the_flaw(self, file, fake_systemctl):
        fake_systemctl("[Service]\nExecStart=/bin/true")
        given = read_configuration(file, {})
        assert given.config is None
        assert "is reached from other machines" in given.problems[0]

    def test_without_such_a_unit_nothing_is_known(self, file, fake_systemctl):
        fake_systemctl("", code=1)
        given = read_configuration(file, {})
        assert given.config is not None
        assert "there is no unit paxosd@n1" in given.keys_unseen

    def test_without_systemd_nothing_is_handed_over(self, file, monkeypatch):
        monkeypatch.setattr(service, "_SYSTEMD", file)
        assert read_configuration(file, {}).config is None

    def test_the_last_lines_of_a_unit_count(self):
        text = (
            "LoadCredential=paxosd.key:/old\nLoadCredential=paxosd.trust:/old\nLoadCredential=\n"
            "LoadCredential=paxosd.key:/etc/paxosd/%i.key\n# LoadCredential=paxosd.trust:/no\n"
        )
        assert service.credentials_of(text, "paxosd@n1") == (
            "security.key_file=/etc/paxosd/n1.key",
        )


def test_a_key_that_the_user_of_the_node_may_not_read(tmp_path):
    key, trust = tmp_path / "n1.key", tmp_path / "n1.trust"
    keygen("n1", "peer", "c", key, trust, None)
    files = (f"security.key_file={key}", f"security.trust_file={trust}")
    config = configuration(tmp_path / "n1", free_ports(1)[0], "127.0.0.1", *files)
    config = replace(config, sources={"security.key_file": "n1.toml"})
    assert key_files.look_at(config, os.getuid()).problems == ()
    assert "alone, and the node is user 54321's" in key_files.look_at(config, 54321).problems[0]


def test_a_key_of_another_node(tmp_path):
    key, trust = tmp_path / "n2.key", tmp_path / "n1.trust"
    keygen("n2", "peer", "c", key, trust, None)
    files = (f"security.key_file={key}", f"security.trust_file={trust}")
    config = configuration(tmp_path / "n1", free_ports(1)[0], "127.0.0.1", *files)
    found = key_files.look_at(config, os.getuid())
    assert "this is the key of n2" in found.problems[0]
    assert key_files.key_of_node(config) is None
