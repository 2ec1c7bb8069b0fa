"""Files of running nodes: what is fetched, and what a node that errs or lies can do."""

import os

import pytest

from paxosctl.client.errors import NotSubmittedError, RefusedError
from paxosctl.evidence.running_nodes import LOG_BYTES_MAX, PIECE_BYTES, RunningNodes
from paxosd.recorder.served_names import FileClass
from tests.ctl.evidence.fake_nodes import FakeNode, silent, use

RECORDING = frozenset({FileClass.RECORDING})
ALL = frozenset(FileClass)
REC = "recorder/rec-0000000%d.bin"
BIG = os.urandom(PIECE_BYTES) + b"x\0\0" * 100 + bytes(PIECE_BYTES) + b"\0"
"""With zeros at its end, and at the end of a piece."""


def fetched(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_every_byte_comes_and_where_it_belongs(tmp_path, monkeypatch):
    files = {REC % 1: BIG, REC % 2: b"two", "wal/wal-00000001.log": b"w" + bytes(7),
             "identity": b"{}", "log": b"line\n", "config.json": b"{}"}  # fmt: skip
    nodes = [FakeNode("n1", files), FakeNode("n2", {REC % 7: BIG})]
    running = RunningNodes(use(monkeypatch, nodes), tmp_path)
    seen = []
    running.fetch(running.want(ALL), lambda done, total: seen.append((done, total)))
    want = {f"n1/{name}": data for name, data in files.items() if name != "log"}
    assert fetched(tmp_path) == want | {"n1.log": b"line\n", f"n2/{REC % 7}": BIG}
    assert seen[-1][0] == seen[-1][1] == sum(map(len, files.values())) + len(BIG)
    assert running.problems == running.troubles == []


def test_what_is_new_is_fetched_alone(tmp_path, monkeypatch):
    node = FakeNode("n1", {REC % 1: b"old", REC % 2: b"begun"})
    running = RunningNodes(use(monkeypatch, [node]), tmp_path)
    running.fetch(running.want(RECORDING))
    node.files[REC % 2] += b", and more"
    node.files[REC % 3] = b"new"
    del node.files[REC % 1]
    node.asked.clear()
    running.list_files()
    running.fetch(running.want(RECORDING))
    assert fetched(tmp_path) == {
        f"n1/{REC % 1}": b"old", f"n1/{REC % 2}": b"begun, and more", f"n1/{REC % 3}": b"new",
    }  # fmt: skip
    reads = [(args["name"], args["offset"]) for verb, args in node.asked if verb == "file_read"]
    assert reads == [(REC % 3, 0), (REC % 2, 5)]


def test_the_newest_come_first_and_no_more_than_wanted(tmp_path, monkeypatch):
    node = FakeNode("n1", {REC % n: bytes([n]) * 100 for n in range(1, 6)})
    running = RunningNodes(use(monkeypatch, [node]), tmp_path)
    wanted = running.want(RECORDING, bytes_max=250)
    assert [file.name for file in wanted["n1"]] == [REC % 5, REC % 4]
    assert running.troubles == ["n1: its 3 oldest files of recorder were not fetched: they are "
                                "above 0 MiB"]  # fmt: skip


def test_only_files_of_the_time_in_question(tmp_path, monkeypatch):
    mtimes = {REC % n: n * 100_000 for n in range(1, 6)}
    node = FakeNode("n1", dict.fromkeys(mtimes, b"x"), mtimes=mtimes)
    running = RunningNodes(use(monkeypatch, [node]), tmp_path)

    def names(since_ms, until_ms):
        return sorted(f.name for f in running.want(RECORDING, since_ms, until_ms)["n1"])

    # 2 was written until 200 s, and begun at 100 s.
    assert names(150_000, 160_000) == [REC % 2]
    assert names(250_000, None) == [REC % 3, REC % 4, REC % 5]
    assert names(0, 50_000) == [REC % 1]
    assert names(201_000, 201_000) == [REC % 2, REC % 3], "the times of files are not exact"


def test_the_last_time_is_that_of_each_machine_s_clock(tmp_path, monkeypatch):
    """The clocks are an hour apart. All nodes record, so what is newest of each is of now."""
    hour_ms = 3_600_000
    nodes = []
    for name, ahead_ms in (("n1", 0), ("n2", hour_ms), ("n3", -hour_ms)):
        mtimes = {REC % n: 2 * hour_ms + ahead_ms + n * 100_000 for n in range(1, 6)}
        nodes.append(FakeNode(name, dict.fromkeys(mtimes, b"x"), mtimes=mtimes))
    running = RunningNodes(use(monkeypatch, nodes), tmp_path)
    assert running.newest_ms == 2 * hour_ms + 500_000
    wanted = running.want(RECORDING, running.newest_ms - 150_000)
    assert set(wanted) == {"n1", "n2", "n3"}
    assert {tuple(sorted(f.name for f in files)) for files in wanted.values()} == {
        (REC % 4, REC % 5)
    }


def test_of_a_log_the_last_whole_lines(tmp_path, monkeypatch):
    line = b"x" * 99 + b"\n"
    node = FakeNode("n1", {"log": b"first line\n" + line * (LOG_BYTES_MAX // 100 + 5)})
    running = RunningNodes(use(monkeypatch, [node]), tmp_path)
    running.fetch(running.want(ALL))
    found = (tmp_path / "n1.log").read_bytes()
    assert set(found.splitlines(keepends=True)) == {line}
    assert LOG_BYTES_MAX - 200 < len(found) <= LOG_BYTES_MAX


def test_who_does_not_answer_is_named_and_the_rest_is_used(tmp_path, monkeypatch):
    old = FakeNode("n2", version="0.1.0")

    def unknown(verb, args):
        if verb == "file_list":
            raise RefusedError("invalid", 'unknown verb "file_list"; did you mean …')

    old.fail = unknown
    quiet = FakeNode("n3")
    quiet.fail = silent
    nodes = [FakeNode("n1", {REC % 1: b"one"}), old, quiet]
    running = RunningNodes(use(monkeypatch, nodes, members=["n4"]), tmp_path)
    running.fetch(running.want(ALL))
    assert running.problems == [
        "n2 runs version 0.1.0, which cannot hand out its recording: name its data directory",
        "n3 does not answer: no answer came in time",
        "n4 does not answer",
    ]
    assert fetched(tmp_path) == {f"n1/{REC % 1}": b"one"}


def test_a_node_that_goes_away_on_the_way(tmp_path, monkeypatch):
    node = FakeNode("n1", {REC % 1: b"old", REC % 2: BIG})

    def fail(verb, args):
        if args.get("offset"):
            silent(verb, args)

    node.fail = fail
    other = FakeNode("n2", {REC % 1: b"one"})
    running = RunningNodes(use(monkeypatch, [node, other]), tmp_path)
    running.fetch(running.want(RECORDING))
    assert fetched(tmp_path)[f"n1/{REC % 2}"] == BIG[:PIECE_BYTES], "what came is used"
    assert fetched(tmp_path)[f"n2/{REC % 1}"] == b"one"
    assert "n1 stopped answering" in running.troubles[0]


WAL = "wal/wal-%08d.log"


@pytest.mark.parametrize("error", [NotSubmittedError, RefusedError])
def test_of_a_log_whole_segments_up_to_the_newest_or_none(tmp_path, monkeypatch, error):
    node = FakeNode("n1", {WAL % 1: b"1", WAL % 2: BIG, WAL % 3: b"3"})

    def fail(verb, args):
        if args.get("offset"):
            raise error("invalid", "no")

    node.fail = fail
    running = RunningNodes(use(monkeypatch, [node]), tmp_path)
    running.fetch(running.want(frozenset({FileClass.WAL})))
    assert fetched(tmp_path) == {f"n1/{WAL % 3}": b"3"}
    assert WAL % 2 in running.troubles[0]


def test_the_log_comes_after_the_recording(tmp_path, monkeypatch):
    """Else it would lack what the node has said meanwhile."""
    node = FakeNode("n1", {WAL % 1: b"1", REC % 1: b"1", "identity": b"1", "log": b"1\n"})
    running = RunningNodes(use(monkeypatch, [node]), tmp_path)
    kinds = [file.kind for file in running.want(ALL)["n1"]]
    assert (kinds[0], kinds[-1]) == (FileClass.RECORDING, FileClass.WAL)


def test_a_file_that_is_dropped_meanwhile_is_no_trouble(tmp_path, monkeypatch):
    node = FakeNode("n1", {REC % 1: b"old", REC % 2: b"new"})
    running = RunningNodes(use(monkeypatch, [node]), tmp_path)
    del node.files[REC % 1]
    running.fetch(running.want(RECORDING))
    assert fetched(tmp_path) == {f"n1/{REC % 2}": b"new"}
    assert running.troubles == []


@pytest.mark.parametrize(
    "spoiled",
    [
        {"name": "identity"}, {"offset": 1}, {"data": "text"}, {"bytes": 1}, {"bytes": "3"},
        {"bytes": PIECE_BYTES + 1}, {"bytes": True}, {"data": b"x" * (PIECE_BYTES + 1)},
    ],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_not_written(tmp_path, monkeypatch, spoiled):
    node = FakeNode("n1", {REC % 1: b"abc"})
    node.spoil = lambda body: body | spoiled
    running = RunningNodes(use(monkeypatch, [node]), tmp_path)
    running.fetch(running.want(RECORDING))
    assert fetched(tmp_path) == {}
    assert "makes no sense" in running.troubles[0]


@pytest.mark.parametrize(
    "listed",
    [
        {}, {"files": 7, "notes": []}, {"files": [{"name": "log"}], "notes": []},
        {"files": [{"name": "log", "bytes": -1, "mtime_ms": 0}], "notes": []},
        {"files": [{"name": "log", "bytes": 1 << 62, "mtime_ms": 0}], "notes": []},
        {"files": [{"name": "log", "bytes": "x", "mtime_ms": 0}], "notes": []},
        {"files": [["log", 1, 1]], "notes": []},
    ],
)  # fmt: skip
def test_a_list_that_is_none_is_not_used(tmp_path, monkeypatch, listed):
    node = FakeNode("n1", {"log": b"x"})
    node.listed = listed or {"x": 1}
    running = RunningNodes(use(monkeypatch, [node]), tmp_path)
    assert running.problems == ["n1 answers with something else than a list of its files"]


def test_names_of_other_forms_are_not_written(tmp_path, monkeypatch):
    """A node that is somebody else's does not write where it likes on this machine."""
    home = tmp_path / "here"
    home.mkdir()
    names = ["../out", "/tmp/out", "recorder/../../out", "recorder/x", "..", ""]
    node = FakeNode("n1", dict.fromkeys([*names, REC % 1], b"x"))
    running = RunningNodes(use(monkeypatch, [node]), home)
    running.fetch(running.want(ALL))
    assert set(fetched(tmp_path)) == {f"here/n1/{REC % 1}"}


def test_nor_is_a_node_with_a_name_that_is_a_path(tmp_path, monkeypatch):
    home = tmp_path / "here"
    home.mkdir()
    node = FakeNode("n1", {REC % 1: b"x"})
    node.name = "../out"
    running = RunningNodes(use(monkeypatch, [node]), home)
    running.fetch(running.want(ALL))
    assert fetched(tmp_path) == {}
    assert running.problems
