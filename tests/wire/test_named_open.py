"""The admission of an OPEN that gives its client's name."""

import pytest

from paxosd.core.cluster_settings import LEVEL_CLIENT_NAMES, ClusterSettings
from paxosd.core.commands import OPEN, Entry
from paxosd.wire import LimitError, decode_entry, encode_entry
from paxosd.wire.entry import EntryLimits

NAMED = EntryLimits.of(ClusterSettings(version=1, level=LEVEL_CLIENT_NAMES))
BEFORE = EntryLimits.of(ClusterSettings(version=1, level=LEVEL_CLIENT_NAMES - 1))


def admit(limits, *command, session=0):
    entry = Entry(session, 1, 0, [[OPEN, *command]])
    assert decode_entry(encode_entry(entry), limits) == entry


def test_from_its_level_on():
    admit(NAMED, "backup anna@web1 17")
    admit(NAMED)
    admit(BEFORE)
    with pytest.raises(LimitError, match="open takes 0 arguments, not 1"):
        admit(BEFORE, "backup anna@web1 17")


@pytest.mark.parametrize(
    ("name", "words"),
    [(b"anna", "is text"), ("", "1 to 200 bytes"), ("x" * 201, "not 201"), ("an\na", "control")],
)
def test_bad_names(name, words):
    with pytest.raises(LimitError, match=words):
        admit(NAMED, name)


def test_other_forms():
    with pytest.raises(LimitError, match="takes 1 arguments, not 2"):
        admit(NAMED, "anna", 1)
    with pytest.raises(LimitError, match="open belongs into session 0"):
        admit(NAMED, "anna", session=7)
