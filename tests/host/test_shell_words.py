"""Words of a command line: read as bash reads them, and written so that it reads them back."""

import ast
import os
import random
import shutil
import subprocess
import sys

import pytest

from paxosd.host.shell_words import Splitter, backslashed, quoted, split_line

ALPHABET = "ab '\"\\$`#\n\té\x01~*|;&<>(){}[]!?=:-\udcff"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  put  k\tv ", ["put", "k", "v"]),
        ("'a b' \"c d\" e\\ f", ["a b", "c d", "e f"]),
        ("a'b c'\"d\"", ["ab cd"]),
        ("'' \"\"", ["", ""]),
        (r'"a\"b\\c\$d\`e\f"', ['a"b\\c$d`e\\f']),
        (r"$'\n\t\\\'\x41\101\u00e9'", ["\n\t\\'AAé"]),
        (r"$'\xc3\xa9' $'\xff'", ["é", "\udcff"]),
        (r"$'\x00'", ["\0"]),
        ("$HOME * ~ | $", ["$HOME", "*", "~", "|", "$"]),
        ("a\\\nb 'c\nd'", ["ab", "c\nd"]),
        ("a#b #c", ["a#b", "#c"]),
    ],
)
def test_words(text, words):
    line = split_line(text)
    assert (line.words, line.complete) == (words, True)


def test_comments_are_left_out_where_they_are_asked_for():
    assert split_line("a#b 'c' # d e\nf", comments=True).words == ["a#b", "c", "f"]


@pytest.mark.parametrize(
    ("text", "open_quote"), [("a 'b", "'"), ('a "b', '"'), ("a $'b", "$'"), ("a b\\", "\\")]
)
def test_what_is_not_finished(text, open_quote):
    line = split_line(text)
    assert (line.open_quote, line.words, line.touches_end) == (open_quote, ["a", "b"], True)


@pytest.mark.parametrize(
    ("text", "begin", "kept", "touches"),
    [
        ("get a", 4, 0, True),
        ("get a ", 6, 0, False),
        ("get a:b", 4, 2, True),
        ("get a\\:b", 4, 0, True),
        ("get 'a:b", 4, 0, True),
        ("get x'a:b", 4, 1, True),
    ],
)
def test_what_a_shell_replaces(text, begin, kept, touches):
    line = split_line(text, breaks=":=")
    assert (line.begin, line.kept, line.touches_end) == (begin, kept, touches)


def words_drawn(count):
    seed = random.getrandbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(count):
        yield "".join(rng.choices(ALPHABET, k=rng.randrange(6)))


def test_what_is_quoted_is_read_back():
    for word in words_drawn(3000):
        line = split_line(f"x {quoted(word)}")
        assert (line.words, line.complete) == (["x", word], True), word
        assert "\n" not in quoted(word)


def test_a_text_of_any_characters_never_fails():
    for word in words_drawn(3000):
        split_line(word, breaks=":", comments=True)


def test_line_by_line_it_is_the_same():
    for word in words_drawn(3000):
        text = f"x {word}\n {word}\n'{word}\n{word}'\n{word}"
        whole, splitter = split_line(text, comments=True), Splitter(comments=True)
        for line in text.split("\n"):
            splitter.feed(line)
        assert splitter.complete is whole.complete
        found = splitter.end()
        assert (found.words, found.open_quote) == (whole.words, whole.open_quote), text


def test_no_character_of_a_quote_of_many_lines_is_looked_at_twice(monkeypatch):
    steps = []
    real = Splitter._step
    monkeypatch.setattr(Splitter, "_step", lambda self: (steps.append(1), real(self)))
    splitter = Splitter()
    splitter.feed("put a 'b")
    for _ in range(1000):
        splitter.feed("ten bytes.")
    assert len(steps) <= 8 + 1000 * 11


def test_characters_by_number_are_bytes_of_utf_8_in_any_locale():
    """In one of ASCII they could not be made bytes of."""
    text = "from paxosd.host.shell_words import *; print(ascii(split_line(r\"$'\\u2603'\").words))"
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    for more in ({}, ascii_only):
        done = subprocess.run(
            [sys.executable, "-c", text], env=os.environ | more, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        found = ast.literal_eval(done.stdout)[0]
        assert found.encode("utf-8", "surrogateescape") == "\u2603".encode()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_reads_the_same():
    words = list(words_drawn(200))
    plain = [each for each in words if each.isprintable() and each]
    line = " ".join([*map(quoted, words), *map(backslashed, plain)])
    told = subprocess.run(
        ["bash", "-c", os.fsencode(f"printf '%s\\0' {line}")], capture_output=True, check=True
    ).stdout
    assert told.split(b"\0")[:-1] == list(map(os.fsencode, [*words, *plain]))
