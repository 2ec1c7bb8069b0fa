"""Documents of the log are judged by their bytes alone, however deep the stack of the reader is."""

import sys

import pytest

from paxosd.core.cluster_settings import LEVEL_KEYS, ClusterSettings
from paxosd.core.genesis import GenesisError, load_document
from paxosd.core.json_object import load_object
from paxosd.core.membership import Member, Membership
from paxosd.core.rights import NO_RIGHTS, RightsTable, admin_of

TABLE = RightsTable(1, True, (admin_of("root", (b"1" * 32,)),))
MEMBERS = Membership({"n1": Member("tcp://h:1", "tcp://h:2", "tcp://h:3")}, epoch=1, slot=1)
SETTINGS = ClusterSettings(1, LEVEL_KEYS)
READERS = {
    "rights": (TABLE.to_command(), b"revoked", NO_RIGHTS.follow),
    "members": (MEMBERS.to_command(), b"members", lambda each: Membership.from_command(each, 2, 9)),
    "settings": (SETTINGS.to_command(), b"genesis", SETTINGS.follow),
    "genesis": (b'{"a":1}', b"a", lambda each: load_document(each, {"a"})),
}


def hiding(document, field, value):
    """The document with a field of a value that the same field hides, which comes later."""
    return b'{"' + field + b'":' + value + b"," + document[1:]


def below(calls, function):
    """What a function returns so many calls down."""
    return below(calls - 1, function) if calls else function()


@pytest.mark.parametrize("what", READERS)
class TestDocuments:
    def test_whole_ones_are_read(self, what):
        document, _, read = READERS[what]
        assert read(document)

    @pytest.mark.parametrize("value", [b"1", b"[" * 700 + b"]" * 700, b"7" * 4400])
    def test_nothing_is_hidden_in_a_field_that_stands_twice(self, what, value):
        document, field, read = READERS[what]
        for calls in (0, sys.getrecursionlimit() // 2):
            with pytest.raises(ValueError, match=r"stands once|text of at most"):
                below(calls, lambda: read(hiding(document, field, value)))


def test_a_name_may_stand_once_in_each_object():
    assert load_object(b'{"a":{"b":1},"c":{"b":2}}') == {"a": {"b": 1}, "c": {"b": 2}}
    for text in (b'{"a":{"b":1,"b":1}}', b'[{"a":1}]', b"{", b"\xff", b"[" * 9999):
        with pytest.raises(ValueError):  # noqa: PT011 - each is another kind of no document
            load_object(text)


def test_a_founding_record_says_what_is_wrong():
    with pytest.raises(GenesisError, match="stands once"):
        load_document(b'{"a":1,"a":1}', {"a"})
