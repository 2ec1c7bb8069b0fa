"""What a command of the log does to a key, in words."""

import pytest

from paxosctl.inspection.command_words import change_words
from paxosd.core.commands import DELETE, DELETE_RANGE, PUT, TXN
from paxosd.core.transactions import ADD, GET_KEY

NESTED = [TXN, [], [[PUT, b"k", b"w"]], []]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([PUT, b"k", b"v"], ""),
        ([PUT, b"k", b"v", 7], "v (lease 7)"),
        ([TXN, [], [[PUT, b"k", b"v"], [PUT, b"other", b"x"]], []], "v"),
        ([TXN, [], [[ADD, b"k", 3]], [[DELETE, b"k"]]], "add 3; else deleted"),
        ([TXN, [], [[GET_KEY, b"k"]], [[DELETE_RANGE, b"a", b""]]], "else deleted"),
        ([TXN, [], [NESTED, [PUT, b"k", b"v", 7]], []], "(w), v (lease 7)"),
    ],
)
def test_a_change_of_a_key(command, words):
    assert change_words(command, b"k") == words
