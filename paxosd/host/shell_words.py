r"""Words of a command line, by the quoting rules of a POSIX shell and no more than those.

    plain 'as it is' "with \" \\ \$ \` escaped" $'any byte: \xff \n \t \' \u00e9' a\ blank

Blanks separate words; a backslash at the end of a line joins it to the next one. Nothing is
expanded: ``$``, ``*``, ``~`` and ``|`` stand for themselves. Bytes that are no UTF-8 are lone
surrogates, as in ``sys.argv``, so that :func:`os.fsencode` gives the bytes.
"""

import os
import re
from dataclasses import dataclass, field

BLANKS = " \t\n"
_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_IN_DOUBLE = frozenset('"\\$`')
_ANSI = re.compile(
    r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|([0-7]{1,3})|(.))", re.S
)
_ANSI_LETTERS = {"a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
                 "v": "\v"}  # fmt: skip


@dataclass(slots=True)
class Line:
    """``words``: all of them, the last one perhaps unfinished. ``open_quote``: the quote that has
    not ended (``'``, ``"`` or ``$'``), a backslash if one ends the line, else "". ``touches_end``:
    whether the last word goes up to the end of the line. ``begin``: where that word begins, or
    would; ``kept``: how many characters of its value stand before the opening quote, or the last
    of the ``breaks``: a shell replaces only what is behind them."""

    words: list[str] = field(default_factory=list)
    open_quote: str = ""
    touches_end: bool = False
    begin: int = 0
    kept: int = 0

    @property
    def complete(self) -> bool:
        """Whether no quote is open, and no further line is asked for."""
        return not self.open_quote


def split_line(text: str, *, breaks: str = "", comments: bool = False) -> Line:
    """``breaks``: characters at which the shell begins what it replaces anew. ``comments``: a word
    that begins with ``#`` ends the line. Never fails: what is not finished is in ``open_quote``."""
    splitter = Splitter(breaks=breaks, comments=comments)
    splitter.feed(text)
    return splitter.end()


class Splitter:
    """Splits a line, or several of which each goes on with the quote that the last one left open,
    as they come: each character is looked at once."""

    def __init__(self, *, breaks: str = "", comments: bool = False) -> None:
        self._at = 0
        self._text = ""
        self._breaks = breaks
        self._comments = comments
        self._line = Line()
        self._word: list[str] | None = None
        self._begun = False
        self._backslash = ""
        """One that ended the last line: what it escapes comes with the next."""

    @property
    def complete(self) -> bool:
        """Whether no quote is open, and no further line is asked for."""
        return self._line.complete

    def feed(self, text: str) -> None:
        """The first line, or the next one."""
        self._text = f"{self._backslash}\n{text}" if self._begun else text
        self._at = 0
        self._begun, self._backslash = True, ""
        if self._line.open_quote == "\\":
            self._line.open_quote = ""
        while self._at < len(self._text):
            self._step()

    def _step(self) -> None:
        """Take the next character, with what belongs to it."""
        char = self._text[self._at]
        self._at += 1
        quote = self._line.open_quote
        if not quote:
            self._outside(char)
        elif char == quote[-1]:
            self._line.open_quote = ""
        elif char == "\\" and quote == '"':
            self._escaped(_IN_DOUBLE)
        elif char == "\\" and quote == "$'":
            self._ansi()
        else:
            self._add(char)

    def _outside(self, char: str) -> None:
        if char in BLANKS:
            self._finish()
        elif char == "#" and self._comments and self._word is None:
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end
        elif char in "'\"" or (char == "$" and self._text.startswith("'", self._at)):
            self._add("")
            assert self._word is not None
            self._line.kept = len(self._word)
            self._line.open_quote = char if char != "$" else "$'"
            self._at += char == "$"
        elif char == "\\":
            self._escaped(None)
        else:
            self._add(char)
            if char in self._breaks and self._word is not None:
                self._line.kept = len(self._word)

    def _escaped(self, which: frozenset[str] | None) -> None:
        """Behind a backslash. ``which``: the characters that it escapes; None: any."""
        if self._at == len(self._text):
            self._line.open_quote = self._line.open_quote or "\\"
            self._backslash = "\\"
            return
        char = self._text[self._at]
        if char == "\n":
            self._at += 1
        elif which is None or char in which:
            self._at += 1
            self._add(char)
        else:
            self._add("\\")

    def _ansi(self) -> None:
        match = _ANSI.match(self._text, self._at - 1)
        if match is None:  # the end of the line
            self._backslash = "\\"
            return
        self._at = match.end()
        byte, short, long, octal, letter = match.groups()
        if byte or octal:
            number = int(byte, 16) if byte else int(octal, 8) & 0xFF
            self._add(chr(number if number < 0x80 else 0xDC00 + number))
        elif short or long:
            number = int(short or long, 16)
            is_character = number <= 0x10FFFF and not 0xD800 <= number < 0xE000
            char = chr(number) if is_character else "\ufffd"
            self._add(os.fsdecode(char.encode()))  # bytes of UTF-8, whatever the locale
        else:
            self._add(_ANSI_LETTERS.get(letter, letter))

    def _add(self, char: str) -> None:
        """To the word, which begins here if there is none."""
        if self._word is None:
            self._word = []
            self._line.begin = self._at - 1
            self._line.kept = 0
        if char:
            self._word.append(char)

    def _finish(self) -> None:
        if self._word is not None:
            self._line.words.append(_joined(self._word))
            self._word = None

    def end(self) -> Line:
        """What was found."""
        if self._line.open_quote == "\\":
            self._add("")
        self._line.touches_end = self._word is not None
        if self._word is None:
            self._line.begin, self._line.kept = len(self._text), 0
        self._finish()
        return self._line


def _joined(chars: list[str]) -> str:
    """One word. Bytes that stood one by one may be a character together."""
    word = "".join(chars)
    return word if word.isascii() else os.fsdecode(os.fsencode(word))


def quoted(word: str) -> str:
    """The word as :func:`split_line`, and a shell, read it back as one word on one line."""
    if _PLAIN.fullmatch(word):
        return word
    if all(char.isprintable() for char in word):
        return "'" + word.replace("'", "'\\''") + "'"
    return "$'" + "".join(map(_ansi_char, word)) + "'"


def _ansi_char(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if char == "\n":
        return r"\n"
    if char.isprintable():
        return char
    return "".join([f"\\x{byte:02x}" for byte in os.fsencode(char)])


def backslashed(word: str) -> str:
    """The same with backslashes alone, which can go on from any place in a word. Control characters
    have no such form: a word with any is not to be given."""
    return re.sub(r"([^\w@%+=:,./^-])", r"\\\1", word)
