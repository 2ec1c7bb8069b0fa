"""The file's members beside those of the founding and of now."""

import pytest

from paxosd.config.file_members import differences, leave_note, words
from paxosd.core.genesis import Founder, Record
from paxosd.core.membership import UNKNOWN, Member, Membership
from paxosd.storage.disk import RealDisk
from tests.daemon.test_cli import call, daemon, file  # noqa: F401 - fixtures


def member(number, **more):
    host = f"tcp://10.0.0.{number}"
    return Member(f"{host}:7411", f"{host}:7410", f"{host}:7412", **more)


THREE = {f"n{i}": member(i) for i in (1, 2, 3)}
CLUSTER = Membership({n: m._replace(directory_id=7) for n, m in THREE.items()}, epoch=3, slot=9)
RECORD = Record("c1", {name: Founder(True, 7) for name in THREE}, "")


class TestDifferences:
    def test_none(self):
        assert differences(THREE, CLUSTER) == {}
        assert words({}) == []

    def test_names(self):
        found = differences({"n1": member(1), "n4": member(4)}, CLUSTER)
        assert found.keys() == {"n2", "n3", "n4"}
        assert found["n2"] == {
            "file": None,
            "cluster": {"voter": True, **{k: getattr(member(2), k) for k in Member._fields[:3]}},
        }
        assert words(found) == [
            "n2 is a member, and the file does not name it",
            "n3 is a member, and the file does not name it",
            "the file names n4, which is no member",
        ]

    def test_votes(self):
        found = differences(THREE | {"n2": member(2, voter=False)}, CLUSTER)
        assert found == {"n2": {"file": {"voter": False}, "cluster": {"voter": True}}}
        assert words(found) == ["n2: it votes, and the file says no"]

    def test_not_the_votes_that_one_that_joined_later_cannot_know(self):
        assert not differences(THREE | {"n2": member(2, voter=False)}, CLUSTER, joins=True)

    @pytest.mark.parametrize("kind", ["peer", "client", "events"])
    def test_endpoints(self, kind):
        moved = member(2)._replace(**{kind: "tcp://10.0.0.9:1"})
        found = differences(THREE | {"n2": moved}, CLUSTER)
        old = getattr(member(2), kind)
        assert found == {"n2": {"file": {kind: "tcp://10.0.0.9:1"}, "cluster": {kind: old}}}
        assert words(found) == [f"n2: {kind} is {old}, and the file has tcp://10.0.0.9:1"]

    def test_a_founder_without_known_endpoints(self):
        """At epoch 0 they come from the file, which lacks n2 and n3 here."""
        found = differences({"n1": member(1)}, RECORD.membership({"n1": member(1)}))
        assert found["n3"] == {"file": None, "cluster": {"voter": True}}


class TestCheckConfig:
    """``file`` names n1 alone, of cluster c1; its data directory is DIR/data."""

    def content(self, path):
        return {each.name: each.read_bytes() for each in path.iterdir()}

    def check(self, file):  # noqa: F811 -- a fixture - the fixture
        result = call("--config", file, "--check-config")
        assert result.exit_code == 0
        return result.stdout

    def test_an_empty_directory_tells_nothing_and_stays_so(self, file, tmp_path):  # noqa: F811 -- a fixture
        assert "founding" not in self.check(file)
        assert not (tmp_path / "data").exists()

    def test_three_side_by_side_and_nothing_is_touched(self, file, tmp_path):  # noqa: F811 -- a fixture
        home = tmp_path / "data"
        home.mkdir()
        (home / "genesis").write_bytes(RECORD.to_json() + b"\n")
        leave_note(RealDisk(home), CLUSTER.replaced({n: m for n, m in THREE.items() if n != "n3"}))
        before = self.content(home)
        out = self.check(file)
        assert self.content(home) == before
        rows = [line.lstrip("# ").split() for line in out.splitlines() if line.startswith("#")]
        assert ["member", "this", "file", "founding", "epoch", "4"] in rows
        assert ["n1", "voter", "voter", "voter"] in rows
        assert ["n2", "-", "voter", "voter"] in rows
        assert ["n3", "-", "voter", "-"] in rows
        assert f"{RECORD.hash:016x}" in out
        assert "n2 is a member, and the file does not name it" in out
        assert "n1: peer is tcp://10.0.0.1:7411, and the file has tcp://127.0.0.1:7411" in out

    def test_before_any_change_the_founding_is_the_present(self, file, tmp_path):  # noqa: F811 -- a fixture
        home = tmp_path / "data"
        home.mkdir()
        (home / "genesis").write_bytes(RECORD.to_json())
        out = self.check(file)
        assert "epoch 0" in out
        assert "n3 is a member, and the file does not name it" in out

    @pytest.mark.parametrize("name", ["genesis", "members"])
    def test_what_cannot_be_read_is_said(self, file, tmp_path, name):  # noqa: F811 -- a fixture
        home = tmp_path / "data"
        home.mkdir()
        (home / name).write_bytes(b"{")
        assert "# The data directory does not say who is a member: " in self.check(file)

    def test_it_is_a_configuration_still(self, file, tmp_path):  # noqa: F811 -- a fixture
        home = tmp_path / "data"
        home.mkdir()
        (home / "genesis").write_bytes(RECORD.to_json())
        again = tmp_path / "again.toml"
        again.write_text(self.check(file))
        assert call("--config", str(again), "--check-config").exit_code == 0

    def test_a_note_of_nobody(self, file, tmp_path):  # noqa: F811 -- a fixture
        (tmp_path / "data").mkdir()
        leave_note(RealDisk(tmp_path / "data"), UNKNOWN)
        assert "member  " not in self.check(file)
