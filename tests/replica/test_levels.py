"""A start with a log whose feature level is above what this program knows: it ends, untouched."""

import pytest

from paxosd.core.cluster_settings import ClusterSettings, UnknownLevelError
from paxosd.core.commands import CLUSTER, Entry
from paxosd.core.effects import AcceptRecord, CommitRecord
from paxosd.core.types import Ballot
from paxosd.daemon import exits
from paxosd.wire import encode_batch, encode_entry
from tests.replica.test_quarantine import Machine


def log_with(document):
    """A node whose log holds one change of the settings."""
    node = Machine()
    _, memory = node.start()
    entry = Entry(0, 1, 0, [[CLUSTER, 0, 0, document]])
    value = encode_batch(5, [encode_entry(entry)])
    memory.wal.append([AcceptRecord(1, Ballot(1, "n1"), value), CommitRecord(1)])
    memory.wal.sync()
    return node.after_crash()


def test_a_level_that_is_known_is_recovered():
    _, memory = log_with(ClusterSettings(level=1, sessions_max=7).to_command()).start(seed=2)
    assert memory.machine.settings == ClusterSettings(1, 1, sessions_max=7)
    assert memory.machine.sessions.limits.sessions_max == 7


def test_a_level_beyond_this_program_ends_the_start_and_touches_nothing():
    node = log_with(b'{"level":99}')
    before = node.disk.contents()
    with pytest.raises(UnknownLevelError, match="start a newer paxosd") as caught:
        node.start(seed=2)
    after = node.disk.contents()
    after.pop("tail-mark")  # a note of what the log holds, made anew at each start
    before.pop("tail-mark", None)
    assert after == before
    assert exits.code_of(caught.value) == exits.CONFIG
