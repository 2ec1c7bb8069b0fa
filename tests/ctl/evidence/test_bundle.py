"""debug bundle, and every verb on what it made: of nodes that answer, and of others."""

import gzip
import json
import random
import shutil
import stat

import pytest

from paxosctl.cli.main import run
from paxosctl.evidence import collection, located
from paxosctl.evidence.archive import pack
from paxosctl.evidence.wal_heads import wal_head
from tests.ctl.evidence.fake_nodes import FakeNode, silent, use
from tests.ctl.fake_daemon import closed_port
from tests.ctl.inspection.made import healthy

NOBODY = ["--endpoints", closed_port(), "--timeout", "300ms"]


@pytest.fixture
def ctl(capsys):
    """Runs a verb against nobody; its exit code, output and what it said."""

    def call(*arguments):
        code = run([*NOBODY, *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def homes(tmp_path):
    """The data directories of three nodes that are gone."""
    path = tmp_path / "paxos-data"
    healthy(path, slots=9)
    for name in ("n1", "n2", "n3"):
        (path / name / "identity").write_text(json.dumps({"node": name, "cluster": "c"}))
        (path / name / "wal").mkdir()
        (path / name / "wal" / "wal-00000001.log").write_bytes(b"secret value" + bytes(1 << 20))
        (path / name / "faults.json").write_text("[]")
    return path


def inspected(ctl, path, exits=0):
    code, out, _ = ctl("-o", "json", "debug", "bundle", "--inspect", path)
    assert code == exits
    return json.loads(out)


@pytest.mark.parametrize("end", ["tar.zst", "tar.gz"])
def test_of_nodes_that_are_gone(tmp_path, homes, ctl, end):
    path = tmp_path / f"b.{end}"
    code, out, err = ctl("debug", "bundle", "-o", path, "--data-dir", homes)
    assert (code, out.count("no answer")) == (0, 3), err
    assert "no keys and no values" in " ".join(out.split())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir() if ".part" in each.name] == []
    verbs = (["log", "timeline"], ["log", "slot", "4"], ["explain", "leader"], ["why-slow"])
    want = [ctl("-o", "json", *verb, homes) for verb in verbs]
    shutil.rmtree(homes)
    # What was said of the homes besides is of their logs, of which there is nothing in a bundle.
    found = [ctl("-o", "json", *verb, path) for verb in verbs]
    assert [each[:2] for each in found] == [each[:2] for each in want]
    assert not any(err for _, _, err in found)
    assert all(code == 0 for code, _, _ in want)
    found = inspected(ctl, path)
    assert found["whole"] is True
    assert set(found["files"]) == {
        f"{n}/{name}" for n in ("n1", "n2", "n3")
        for name in ("identity", "recorder/rec-00000001.bin", "wal-heads.json")
    }  # fmt: skip


def test_values_are_in_it_only_if_asked_for(tmp_path, homes, ctl):
    without, with_values = tmp_path / "b.tar.gz", tmp_path / "c.tar.gz"
    assert ctl("debug", "bundle", "-o", without, "--data-dir", homes)[0] == 0
    code, out, _ = ctl("debug", "bundle", "-o", with_values, "--data-dir", homes, "--wal")
    assert (code, "HOLDS KEYS AND VALUES" in out) == (0, True)

    assert b"secret value" not in gzip.decompress(without.read_bytes())
    assert b"secret value" in gzip.decompress(with_values.read_bytes())
    assert inspected(ctl, with_values)["nodes"]["n1"]["wal_bytes"] == 12 + 4096, "not its zeros"


def test_it_is_made_as_a_whole_or_not_at_all(tmp_path, homes, ctl, monkeypatch):
    path = tmp_path / "b.tar.zst"
    path.write_text("mine")
    code, _, err = ctl("debug", "bundle", "-o", path, "--data-dir", homes)
    assert (code, "exists" in err, path.read_text()) == (1, True, "mine")

    def full(*args, **more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("paxosctl.evidence.archive.tarfile.TarFile.addfile", full)
        code, _, err = ctl("debug", "bundle", "-o", path, "--data-dir", homes, "--force")
    assert (code, "No space left" in err) == (74, True)
    assert path.read_text() == "mine"
    assert ctl("debug", "bundle", "-o", path, "--data-dir", homes, "--force")[0] == 0
    assert [each.name for each in tmp_path.iterdir() if ".part" in each.name] == []
    assert inspected(ctl, path)["whole"]


@pytest.mark.parametrize(
    ("arguments", "exits"),
    [
        ([], 2), (["-o", "x.zip"], 2), (["-o", "a.tar.gz", "-o", "b.tar.gz"], 2),
        (["-o", "x.tar.gz"], 69), (["--inspect", "b", "-o", "x.tar.gz"], 2),
        (["--inspect", "b", "--wal"], 2), (["--inspect", "b", "--force"], 2),
        (["--inspect", "b", "--since", "12:00:00"], 2), (["--inspect", "b", "--last", "1h"], 2),
        (["--inspect", "b", "--data-dir", "."], 2),
        (["--inspect", "missing"], 2), (["--inspect", "text"], 1), (["--inspect", "cut"], 74),
        (["-o", "x.tar.gz", "--since", "noon", "--data-dir", "."], 2),
        (["-o", "no/where/x.tar.gz", "--data-dir", "."], 74),
    ],
)  # fmt: skip
def test_exit_codes(tmp_path, homes, ctl, monkeypatch, arguments, exits):
    monkeypatch.chdir(homes)
    assert ctl("debug", "bundle", "-o", "b", "--data-dir", ".")[0] == 2
    assert ctl("debug", "bundle", "-o", "b.tar.zst", "--data-dir", ".")[0] == 0
    (homes / "b").write_bytes((homes / "b.tar.zst").read_bytes())
    (homes / "cut").write_bytes((homes / "b").read_bytes()[:100])
    (homes / "text").write_text("hello")
    code, _, err = ctl("debug", "bundle", *arguments)
    assert code == exits, err
    assert err
    assert not (homes / "x.tar.gz").exists()


def test_one_that_is_cut_off(tmp_path, homes, ctl):
    path = tmp_path / "b.tar.gz"
    (homes / "n1.log").write_text(random.Random(1).randbytes(200_000).hex())
    assert ctl("debug", "bundle", "-o", path, "--data-dir", homes)[0] == 0
    path.write_bytes(path.read_bytes()[:100_000])
    code, out, err = ctl("log", "nodes", path)
    assert code == 0
    assert "n1" in out
    assert f"{path}: it is cut off" in err
    found = inspected(ctl, path, exits=1)
    assert found["whole"] is False
    assert found["troubles"]


def test_a_bundle_is_one_source_among_others(tmp_path, homes, ctl):
    path = tmp_path / "b.tar.zst"
    assert ctl("debug", "bundle", "-o", path, "--data-dir", homes / "n1")[0] == 0
    _, out, _ = ctl("-o", "json", "log", "nodes", path, homes / "n2", homes / "n3")
    assert [each["node"] for each in json.loads(out)["nodes"]] == ["n1", "n2", "n3"]


@pytest.fixture
def nodes(monkeypatch, homes):
    """n1 and n2 run, n3 does not answer."""

    def files(name):
        found = {str(p.relative_to(homes / name)): p.read_bytes()
                 for p in (homes / name).rglob("*") if p.is_file()}  # fmt: skip
        return found | {"log": b"", "config.json": b'{"node": {"name": "x", "password": "p"}}'}

    running = [FakeNode("n1", files("n1")), FakeNode("n2", files("n2"), notes=["its log is away"])]
    client = use(monkeypatch, running, members=["n3"])
    client.cluster = "c"
    client.admin = lambda verb, args, endpoint: client.nodes[endpoint].answer(verb, args)
    return client


def collected(nodes, tmp_path, data_dirs=(), kinds=collection.ALWAYS):
    home = tmp_path / "collected"
    home.mkdir()
    return collection.collect(nodes, home, list(data_dirs), located.Wanted(kinds), None)


def test_of_nodes_that_run(nodes, tmp_path):
    found = collected(nodes, tmp_path)
    assert found.incomplete == ["n3"]
    assert found.nodes["n3"]["missing"] == ["does not answer"]
    assert found.nodes["n2"]["missing"] == ["its log is away"]
    settings = json.loads((tmp_path / "collected" / "n1" / "config.json").read_text())
    assert settings["node"] == {"name": "x", "password": "(redacted)"}
    assert {"n1/status.json", "n1/wal-heads.json", "n1/identity"} <= set(found.names)
    assert not [name for name in found.names if "/wal/" in name or "n3" in name]


def test_what_a_silent_node_left_is_added_and_no_other(nodes, tmp_path, homes):
    found = collected(nodes, tmp_path, [homes, homes / "n1"])
    assert found.incomplete == []
    assert found.nodes["n3"]["from"] == str(homes / "n3")
    assert found.nodes["n1"]["from"] == "endpoint"
    assert len(found.notes) == 1
    assert "n1 answers" in found.notes[0]


def test_a_node_that_hands_out_nothing_has_its_status_at_least(nodes, tmp_path):
    old = nodes.nodes["tcp://h:2"]
    old.fail = lambda verb, args: silent(verb, args) if verb == "file_list" else None
    found = collected(nodes, tmp_path)
    assert found.incomplete == ["n2", "n3"]
    assert "n2/status.json" in found.names


def test_the_order_loses_least_at_the_end(nodes, tmp_path):
    names = collected(nodes, tmp_path, kinds=collection.ALWAYS | located.WITH_VALUES).names
    kinds = ["wal-0" if "/wal/wal-" in n else "rec" if "/recorder/" in n else "" for n in names]
    assert kinds == sorted(kinds, key=["", "rec", "wal-0"].index)


def test_a_head_that_is_none():
    assert wal_head("wal/wal-00000001.log", 7, b"short")["problem"]
    assert wal_head("wal/wal-00000001.log", 7, bytes(4096))["problem"]


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (["log", "nodes"], "there is no recording and no log in it"),
        (["audit"], "there is no recording and no log"),
        (["blame", "k"], "no write-ahead log is among the sources"),
    ],
)
def test_what_is_wrong_with_it_is_said_by_the_name_that_the_user_knows(tmp_path, ctl, verb, words):
    home = tmp_path / "home"
    (home / "wal").mkdir(parents=True)
    (home / "identity").write_text(json.dumps({"node": "n1", "cluster": "c"}))
    (home / "wal" / "tail-mark").write_bytes(b"m")
    path = tmp_path / "b.tar.zst"
    assert ctl("debug", "bundle", "-o", path, "--data-dir", home)[0] == 3
    code, _, err = ctl(*verb, path)
    assert (code, words in err, str(path) in err) == (74, True, True), err
    assert "paxosctl-" not in err, "where it was unpacked"


def test_a_name_in_it_is_no_path_elsewhere(tmp_path, homes, ctl):
    path = tmp_path / "b.tar.zst"
    manifest = {"format": 1, "files": {}, "nodes": {str(homes / "n1"): {}, "../n1": {}}}
    with open(path, "wb") as target:
        pack(target, tmp_path, manifest, [], zstd=True)
    found = inspected(ctl, path)["nodes"]
    assert [each["first_us"] for each in found.values()] == [None, None]
