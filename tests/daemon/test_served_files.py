"""What a node hands out of its files, and what it does not."""

import json
import os

import pytest

from paxosd.config.schema import ClusterConfig, Config, LogConfig, MemberConfig, NodeConfig
from paxosd.daemon.served_files import ServedFiles, without_zeros
from paxosd.replica.admin import FILE_READ_BYTES_MAX


def member(port):
    return MemberConfig(**dict.fromkeys(("peer", "client", "events"), f"tcp://h:{port}"))


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "n1"
    (home / "recorder").mkdir(parents=True)
    (home / "wal").mkdir()
    (home / "recorder" / "rec-00000001.bin").write_bytes(b"abc" * 100)
    (home / "wal" / "wal-00000001.log").write_bytes(b"head" + bytes(1 << 20))
    (home / "wal" / "tail-mark").write_bytes(b"mark")
    (home / "identity").write_text("{}")
    (tmp_path / "n1.log").write_text("a line\n")
    (tmp_path / "secret").write_text("secret")
    return home


def served(home, *, log=True):
    file = str(home.parent / "n1.log") if log else ""
    return ServedFiles(
        Config(
            cluster=ClusterConfig(id="test", members={"n1": member(1)}),
            node=NodeConfig(name="n1", data_dir=home),
            log=LogConfig(file=file),
        )
    )


def names(files):
    return {each["name"]: each["bytes"] for each in files.listed()["files"]}


def test_the_list(home):
    (home / "wal" / "snap-00000001.paxsnap").write_bytes(b"state")
    (home / "faults.json").write_text("[]")
    found = names(served(home))
    config_bytes = found.pop("config.json")
    assert config_bytes > 100
    assert found == {
        "identity": 2, "recorder/rec-00000001.bin": 300, "wal/wal-00000001.log": 4 + (1 << 20),
        "wal/tail-mark": 4, "log": 7,
    }  # fmt: skip


def test_a_log_on_standard_error_is_a_note(home):
    files = served(home, log=False)
    assert "log" not in names(files)
    assert "standard error" in files.listed()["notes"][0]
    with pytest.raises(LookupError, match="standard error"):
        files.read("log", 0, 10)


def test_a_piece_lacks_the_zeros_at_its_end(home):
    files = served(home)
    piece = files.read("wal/wal-00000001.log", 0, FILE_READ_BYTES_MAX)
    assert (piece["data"], piece["bytes"]) == (b"head", FILE_READ_BYTES_MAX)
    assert piece["total"] == 4 + (1 << 20)
    piece = files.read("wal/wal-00000001.log", 1 << 20, FILE_READ_BYTES_MAX)
    assert (piece["data"], piece["bytes"]) == (b"", 4)
    assert files.read("recorder/rec-00000001.bin", 299, 10)["data"] == b"c"
    assert files.read("recorder/rec-00000001.bin", 300, 10)["bytes"] == 0
    assert files.read("recorder/rec-00000001.bin", (1 << 63) - 1, 10)["bytes"] == 0


@pytest.mark.parametrize(
    "name",
    [
        "", "secret", "../secret", "recorder/../../secret",
        "recorder/rec-00000001.bin/../../../x",
        "/etc/passwd", "recorder/rec-00000001.bin\0", "recorder/rec-00000001.bin\n",
        "wal/../identity",
        "faults.json", "LOCK", "wal/snap-00000001.paxsnap", "wal/lost-1-wal-00000001.log", "log/",
        "recorder//rec-00000001.bin", "recorder", "recorder/", ".", "x" * 70_000,
        "recorder/rec-" + "\u0661" * 8 + ".bin",
    ],
)  # fmt: skip
def test_no_other_name_is_opened(home, name):
    """Each is refused by its form, before anything is opened."""
    with pytest.raises(LookupError, match="no file that this node hands out"):
        served(home).read(name, 0, 10)


def test_a_link_and_a_pipe_are_not_followed(home):
    """Whoever can write to the recorder's directory does not read the rest of the disk by it."""
    link = home / "recorder" / "rec-00000002.bin"
    link.symlink_to(home.parent / "secret")
    os.mkfifo(home / "recorder" / "rec-00000003.bin")
    (home / "recorder" / "rec-00000004.bin").mkdir()
    files = served(home)
    assert not names(files).keys() & {f"recorder/rec-0000000{n}.bin" for n in (2, 3, 4)}
    with pytest.raises(OSError, match="symbolic links"):
        files.read("recorder/rec-00000002.bin", 0, 10)
    for number in (3, 4):  # a pipe without a writer would hang a plain open
        with pytest.raises(LookupError, match="no regular file"):
            files.read(f"recorder/rec-0000000{number}.bin", 0, 10)
    with pytest.raises(LookupError, match="is gone"):
        files.read("recorder/rec-00000009.bin", 0, 10)


def test_the_settings_are_there_without_what_is_secret(home, monkeypatch):
    monkeypatch.setattr("paxosd.config.redaction.SECRET_SETTINGS", frozenset({"cluster.id"}))
    files = served(home)
    found = json.loads(files.read("config.json", 0, 100_000)["data"])
    assert found["cluster"]["id"] == "(redacted)"
    assert found["cluster"]["members"]["n1"]["client"] == "tcp://h:1"
    assert found["limits"]["key_bytes_max"] == 4096


@pytest.mark.parametrize("tail", [0, 1, 4095, 4096, 4097, 9000])
@pytest.mark.parametrize("head", [b"", b"x", b"\0x", b"x" * 4096, b"x\0" * 4000 + b"y"])
def test_zeros_are_left_out_at_the_end_alone(head, tail):
    assert without_zeros(head + bytes(tail)) == head
