"""What a command of the log does to a key, in words."""

import pytest

from paxosctl.inspection.command_words import change_words, command_words
from paxosd.core.commands import (
    CLOSE,
    DELETE,
    DELETE_RANGE,
    GRANT,
    KEEPALIVE,
    OPEN,
    PUT,
    REVOKE,
    TXN,
)
from paxosd.core.transactions import ADD, GET_KEY, GET_RANGE

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


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([PUT, b"k", b"secret"], "put k"),
        ([PUT, b"k", b"secret", 7], "put k (lease 7)"),
        ([DELETE_RANGE, b"app/", b"app0"], "delete range app/*"),
        ([DELETE_RANGE, b"a", b""], "delete range a to the end"),
        ([GRANT, 1500, 0], "lease granted for 1.5 s"),
        ([KEEPALIVE, [3, 4]], "lease renewed: 3, 4"),
        ([REVOKE, 3], "lease revoked: 3"),
        ([OPEN, "anna@web1 "], 'session opened by "anna@web1 "'),
        ([OPEN, "app", bytes(range(32))], "session opened by app (key 009c61o!…)"),
        ([CLOSE], "session ended"),
        ([99, 1], "command 99"),
        ([TXN, [], [[PUT, b"k", b"v"], [ADD, b"n", 3]], [[GET_RANGE, b"a", b"c", 0, 0, 0]]],
         "txn (then put k, add to n; else get range a to c)"),
        ([TXN, [], [], [NESTED]], "txn (then nothing; else txn (then put k))"),
    ],
)  # fmt: skip
def test_a_command_without_its_values(command, words):
    assert command_words(command) == words
