"""Tests of words that depend on a number."""

import pytest

from paxosd.host.wording import counted, listed


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 nodes"), (1, "1 node"), (2, "2 nodes"), (-1, "-1 nodes")]
)
def test_counted(count, words):
    assert counted(count, "node") == words


@pytest.mark.parametrize(
    ("names", "words"),
    [([], ""), (["b"], "b"), (["b", "a"], "b and a"), (iter("abc"), "a, b and c")],
)
def test_listed(names, words):
    assert listed(names) == words
