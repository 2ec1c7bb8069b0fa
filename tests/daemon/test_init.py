"""``paxosd init``: what it founds, and of which directories it keeps its hands."""

import pytest

from paxosd.config.settings import ConfigError
from paxosd.config.sources import load
from paxosd.core.genesis import Record
from paxosd.daemon.init import init_alone
from tests.daemon.test_cli import MINIMAL
from tests.processes.test_version_before import unpack

OTHER = """
[cluster.members.n2]
peer = "tcp://127.0.0.1:7421"
client = "tcp://127.0.0.1:7420"
events = "tcp://127.0.0.1:7422"
"""


@pytest.fixture
def config(tmp_path):
    """``config(more, data_dir, id)`` → of n1, alone without ``more``."""

    def make(more="", data_dir="data", cluster="c1"):
        path = tmp_path / "n1.toml"
        text = MINIMAL.replace('"data"', f'"{data_dir}"').replace('"c1"', f'"{cluster}"')
        path.write_text(text + more)
        return load(path, environ={})

    return make


def test_founds_once(config, tmp_path):
    words = init_alone(config())
    record = Record.from_json((tmp_path / "data" / "genesis").read_bytes().strip())
    assert record.cluster == "c1"
    assert list(record.members) == ["n1"]
    assert f"{record.hash:016x}" in words
    assert "is founded already" in init_alone(config())
    assert (tmp_path / "data" / "incarnation").read_text() == "0\n", "that counts as no start"


def test_not_with_others(config, tmp_path):
    with pytest.raises(ConfigError, match="names n2 besides n1"):
        init_alone(config(OTHER))
    assert not (tmp_path / "data").exists()


def test_not_out_of_a_directory_with_a_past(config, tmp_path):
    """Of a time before founding records: it has one voter, and adopts a record by itself."""
    unpack(tmp_path, "one")
    with pytest.raises(ConfigError, match="it holds a snapshot"):
        init_alone(config(data_dir="n1", cluster="test"))
    for path in (tmp_path / "n1" / "wal").glob("snap-*"):
        path.unlink()
    with pytest.raises(ConfigError, match="its log holds what it promised or learned"):
        init_alone(config(data_dir="n1", cluster="test"))
    assert not (tmp_path / "n1" / "genesis").exists()


def test_not_if_others_were_heard(config, tmp_path):
    """A cluster of this id is there: this directory is one that was lost."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "peers").write_text('{"n2": [5, 7]}\n')
    with pytest.raises(ConfigError, match=r"heard from other members.*member rejoin n1"):
        init_alone(config())
    assert not (tmp_path / "data" / "genesis").exists()
