"""Tests of writing TOML: what is written is read back as it was."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paxosd.host import toml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@settings(max_examples=40)
@given(st.lists(TEXTS, min_size=1, max_size=3), st.dictionaries(TEXTS, VALUES))
def test_a_table_is_read_as_it_was_written(path, values):
    found = toml.parse_toml(toml.table(*path, values=values))
    for name in path:
        found = found[name]
    assert found == values


def test_repeated_tables_are_a_list():
    text = toml.table("a", values={"n": 1}, repeated=True) + toml.table(
        "a", values={"n": 2}, repeated=True
    )
    assert toml.parse_toml(text) == {"a": [{"n": 1}, {"n": 2}]}


def test_a_note_is_a_comment_at_its_column():
    text = toml.table(
        "s", values={"a": 1, "b": Path("/x")}, notes={"a": "default\n[t]"}, note_column=8
    )
    assert text == '[s]\na = 1     # default\\U0000000a[t]\nb = "/x"\n'


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (3, "3"), (0.5, "0.5"), ((1, 2), "[1, 2]"), ({"a b": "c"}, '{ "a b" = "c" }')],
)
def test_values(value, text):
    assert toml.toml_value(value) == text
