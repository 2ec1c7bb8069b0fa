"""A cluster is founded once, and no file founds it anew; directories put back are found out.

Each case was a loss or a split on real daemons once: acknowledged writes gone, two leaders.
"""

import contextlib
import shutil
import signal
import subprocess
import sys

import pytest

from paxosctl.client.errors import ClientError
from paxosd.daemon.exits import CONFIG
from tests.processes.growing import Growing
from tests.processes.processes import Daemons, clean_environ, wait_for

ACTING = ("leader", "follower")


def cut_file(daemons, name, first_left_out):
    """Let a node's file end before that member; returns what it was."""
    path = daemons.config_path(name)
    text = path.read_text()
    path.write_text(text[: text.index(f"[cluster.members.{first_left_out}]")])
    return text


def put(daemons, key, value, *names, timeout_s=30.0):
    with daemons.client(*names, timeout_s=timeout_s) as client:
        return client.put(key, value)


def get(daemons, key, *names, timeout_s=30.0):
    """Its value; None if the cluster says that there is no such key."""
    with daemons.client(*names, timeout_s=timeout_s) as client:
        row = client.get(key)
    return None if row is None else row.value


def led(daemons, name):
    """How often a node said that it was elected."""
    return sum(line["leader"] == name for line in daemons.events(name, "leader.elected"))


def role(daemons, name):
    return (daemons.status(name) or {}).get("role")


def wait_role(daemons, name, *roles):
    wait_for(lambda: role(daemons, name) in roles, what=f"{name} is {' or '.join(roles)}")


def put_back(daemons, name):
    """Put a node's directory back to what :func:`save` kept."""
    shutil.rmtree(daemons.path / name)
    shutil.copytree(daemons.path / f"{name}.image", daemons.path / name)


def save(daemons, name):
    """Copy the directory of a running node, as the snapshot of a virtual machine does."""
    daemons.signal(name, signal.SIGSTOP)
    shutil.copytree(daemons.path / name, daemons.path / f"{name}.image")
    daemons.signal(name, signal.SIGCONT)


@pytest.fixture
def trio(tmp_path):
    with Daemons(tmp_path) as daemons:
        daemons.start()
        daemons.wait_leader()
        yield daemons


class TestFiles:
    def test_one_that_names_its_node_alone_makes_no_leader_of_it(self, trio):
        """Trial ``split``: two leaders acknowledged one key, and the states stayed different."""
        put(trio, b"who", b"all")
        trio.kill("n1", sig=signal.SIGTERM)
        whole = cut_file(trio, "n1", "n2")
        trio.start("n1")
        trio.wait_up("n1")
        put(trio, b"who", b"n2 and n3", "n2", "n3")
        differ = trio.wait_event("n1", "config.members_differ")
        assert differ["level"] == "warning"
        assert differ["differing"].keys() == {"n2", "n3"}
        with pytest.raises(ClientError):
            put(trio, b"who", b"n1", "n1", timeout_s=3.0)
        status = trio.status("n1")
        assert status["role"] not in ACTING
        assert status["founding"]["members"].keys() == {"n1", "n2", "n3"}
        assert status["members_differ"].keys() == {"n2", "n3"}
        checked = subprocess.run(
            [sys.executable, "-m", "paxosd", "--config", trio.config_path("n1"), "--check-config"],
            capture_output=True, text=True, check=True, env=clean_environ(),
        ).stdout  # fmt: skip
        assert "n2 is a member, and the file does not name it" in checked
        trio.kill("n1", sig=signal.SIGTERM)
        trio.config_path("n1").write_text(whole)
        trio.start("n1")
        wait_role(trio, "n1", *ACTING)
        assert [get(trio, b"who", name) for name in trio.names] == [b"n2 and n3"] * 3
        assert trio.status("n1")["members_differ"] == {}
        trio.check_equal()

    def test_new_ones_that_differ_found_nothing_and_all_say_why(self, tmp_path):
        """Trial ``mixed-files``: they ran with mixed quorums."""
        with Daemons(tmp_path) as daemons:
            whole = cut_file(daemons, "n1", "n3")
            daemons.start()
            for name in daemons.names:
                line = daemons.wait_event(name, "founding.differs")
                assert "cluster.members" in line["message"]
            assert [role(daemons, name) for name in daemons.names] == ["newcomer"] * 3
            with pytest.raises(ClientError):
                put(daemons, b"k", b"v", timeout_s=2.0)
            daemons.kill("n1", sig=signal.SIGTERM)
            daemons.config_path("n1").write_text(whole)
            daemons.start("n1")
            daemons.wait_leader()
            put(daemons, b"k", b"v")
            assert len({daemons.status(name)["genesis"] for name in daemons.names}) == 1


class TestAlone:
    """A file that names its node alone: ``paxosd init`` founds, once."""

    def init(self, daemons):
        command = [sys.executable, "-m", "paxosd", "init", "--config", daemons.config_path("n1")]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=clean_environ()
        )
        return done.returncode, done.stdout + done.stderr

    def test_an_empty_directory_waits_and_says_for_what(self, tmp_path):
        with Daemons(tmp_path, 1) as daemons:
            daemons.founded = True  # as an operator who forgot about it
            daemons.start()
            line = daemons.wait_event("n1", "node.waiting")
            assert "paxosd init" in line["advice"]
            assert "member rejoin" in line["advice"]
            assert role(daemons, "n1") == "newcomer"
            assert daemons.status("n1")["founding"] == {}
            with pytest.raises(ClientError):
                put(daemons, b"k", b"v", timeout_s=1.0)
            assert not (tmp_path / "n1" / "genesis").exists()
            daemons.kill(sig=signal.SIGTERM)
            assert self.init(daemons)[0] == 0
            daemons.start()
            put(daemons, b"k", b"v")

    def test_twice_is_said_and_does_nothing(self, tmp_path):
        with Daemons(tmp_path, 1) as daemons:
            code, words = self.init(daemons)
            assert code == 0
            assert "founded the cluster test of n1 alone" in words
            genesis = (tmp_path / "n1" / "genesis").read_bytes()
            code, words = self.init(daemons)
            assert code == 0
            assert "is founded already" in words
            assert (tmp_path / "n1" / "genesis").read_bytes() == genesis
            daemons.founded = True
            daemons.start()
            put(daemons, b"k", b"v")
            daemons.kill()
            shutil.rmtree(tmp_path / "n1")
            daemons.start()
            wait_role(daemons, "n1", "newcomer")

    def test_of_several_is_refused(self, tmp_path):
        with Daemons(tmp_path, 3) as daemons:
            code, words = self.init(daemons)
            assert code == CONFIG
            assert "names n2, n3 besides n1" in words
            assert not (tmp_path / "n1").exists()


@pytest.mark.timeout(180)
def test_the_first_of_a_grown_cluster_is_wiped_and_started_with_its_old_file(tmp_path):
    """Trial ``grown-wiped``: it founded the cluster anew, and led "1 of 1"."""
    with Growing(tmp_path, size=1, more=2) as daemons:
        daemons.start_founders()
        for name in ("n2", "n3"):
            daemons.join(name)
            daemons.ctl("add", name, *daemons.where(name))
        put(daemons, b"x", b"acknowledged", *daemons.names)
        daemons.ctl("transfer-leader", "n2")
        daemons.kill("n1")
        reigns = led(daemons, "n1")
        shutil.rmtree(tmp_path / "n1")
        daemons.start("n1")
        wait_role(daemons, "n1", "memory-lost")
        with contextlib.suppress(ClientError):  # no answer is fine, but not "no such key"
            assert get(daemons, b"x", "n1", timeout_s=5.0) == b"acknowledged"
        try:
            put(daemons, b"y", b"through n1", "n1", timeout_s=5.0)
        except ClientError:
            pass
        else:
            assert get(daemons, b"y", "n2", "n3") == b"through n1"
        assert led(daemons, "n1") == reigns
        daemons.ctl("rejoin", "n1")
        wait_role(daemons, "n1", *ACTING)
        daemons.kill("n3")
        put(daemons, b"z", b"by n1 and n2", "n1", "n2")
        daemons.start("n3")
        assert [get(daemons, b"x", name) for name in daemons.names] == [b"acknowledged"] * 3
        daemons.check_equal()


class TestPutBack:
    """A directory is put back to a copy that was taken in the node's present life."""

    def test_a_peer_that_is_up_knows(self, trio):
        """Trial ``image``: it passed for whole."""
        put(trio, b"x", b"one")
        save(trio, "n3")
        trio.kill("n1")
        for value in (b"two", b"three", b"four"):
            put(trio, b"x", value, "n2", "n3")
        trio.kill("n3")
        put_back(trio, "n3")
        trio.start("n3")
        trio.wait_event("n3", "node.memory_lost", member="n2")
        assert trio.status("n3")["memory"] == "lost"
        trio.start("n1")
        wait_role(trio, "n1", *ACTING)
        assert get(trio, b"x", "n1") == b"four"
        wait_role(trio, "n3", "memory-lost")

    @pytest.mark.timeout(180)
    def test_where_nobody_is_up_that_knows_the_damage_is_bounded(self, trio):
        """Trial ``image-loss``: no write ended any more, and the states stayed different."""
        put(trio, b"x", b"one")
        save(trio, "n3")
        trio.kill("n1")
        for value in (b"two", b"three", b"four"):
            put(trio, b"x", value, "n2", "n3")
        trio.kill("n2", "n3")
        put_back(trio, "n3")
        trio.start("n1", "n3")
        trio.wait_up("n1", "n3")
        try:
            answer = get(trio, b"x", "n1", "n3", timeout_s=5.0)
        except ClientError:
            answer = b"four"  # none is as good
        trio.start("n2")
        trio.wait_up("n2")  # else it is stopped before it could compare anything
        put(trio, b"z", b"all three are up", timeout_s=40.0)
        trio.kill(sig=signal.SIGTERM)
        trio.start()
        trio.wait_leader()
        if answer == b"four":
            assert get(trio, b"x") == b"four"
            trio.check_equal()
