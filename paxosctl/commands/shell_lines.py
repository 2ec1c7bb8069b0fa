"""Where the lines of a shell come from: a person at a terminal, or a script on standard input.

A terminal has readline: lines can be edited, completed, and called back from a history that is kept
in $XDG_STATE_HOME (~/.local/state), readable by its owner alone, for it has values in it. As in
other shells a line that begins with a blank is not kept.
"""

import io
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from paxosctl.cli.contexts import xdg_home
from paxosctl.cli.streams import StreamError, write
from paxosctl.cli.tables import layout, terminal_width

HISTORY_LINES_MAX = 2000
Propose = Callable[[str], list[tuple[str, str]]]
"""From the line up to the cursor to what it could become, each with the word to show for it."""


class Lines(Protocol):
    """``interactive``: whether a person types them, who sees prompts; ``number``: of the last line,
    from 1 on."""

    interactive: bool
    number: int

    def next(self, prompt: str) -> str | None:
        """The next line without its end; None: there is none. Raises KeyboardInterrupt."""

    def remember(self, text: str) -> None:
        """Keep a line in the history."""


class ScriptLines:
    """Lines of standard input, for which nobody waits. Bytes that are no UTF-8 are kept."""

    interactive = False
    number = 0

    def next(self, prompt: str) -> str | None:
        """The next line. Raises StreamError."""
        if sys.stdin is None:
            raise StreamError("standard input is closed, and the commands were to come from there")
        try:
            line = sys.stdin.buffer.readline()
        except OSError as error:
            raise StreamError(f"standard input cannot be read: {error.strerror}") from error
        self.number += 1
        return os.fsdecode(line.removesuffix(b"\n").removesuffix(b"\r")) if line else None

    def remember(self, text: str) -> None:
        """A script has no history."""


class TerminalLines:
    """Lines that are typed; what is pasted at once may be several."""

    interactive = True
    number = 0
    """Nobody counts them."""

    def __init__(self, propose: Propose) -> None:
        import readline  # noqa: PLC0415 -- it takes hold of the terminal

        self._readline = readline
        self._propose = propose
        self._prompt = ""
        self._waiting: deque[str] = deque()
        self._found: list[tuple[str, str]] = []
        assert isinstance(sys.stdin, io.TextIOWrapper)
        sys.stdin.reconfigure(errors="surrogateescape")
        readline.set_auto_history(False)
        readline.set_completer_delims("")  # the whole line is completed
        readline.set_completer(self._complete)
        readline.set_completion_display_matches_hook(self._show)
        readline.parse_and_bind("tab: complete")
        self._history = history_path()
        self._load()

    def next(self, prompt: str) -> str | None:
        """The next line, with ``prompt`` in front of it. Raises KeyboardInterrupt."""
        if self._waiting:
            return self._waiting.popleft()
        self._prompt = prompt
        try:
            self._waiting.extend(input(prompt).split("\n"))
        except EOFError:
            return None
        except KeyboardInterrupt:
            self._waiting.clear()
            raise
        return self._waiting.popleft()

    def remember(self, text: str) -> None:
        """In memory and in the file, at once: other shells may be open, and this one be killed."""
        history = self._readline
        last = history.get_history_item(history.get_current_history_length())
        if not text.strip() or text.startswith(" ") or text == last:
            return
        history.add_history(text)
        with suppress(OSError):  # a history that cannot be kept is no reason to stop
            history.append_history_file(1, self._history)

    def _load(self) -> None:
        with suppress(OSError):
            self._history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._history, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
            finally:
                os.close(descriptor)
            self._readline.read_history_file(self._history)
            if self._readline.get_current_history_length() > HISTORY_LINES_MAX:
                self._readline.set_history_length(HISTORY_LINES_MAX)
                self._readline.write_history_file(self._history)
                self._readline.set_history_length(-1)

    def _complete(self, text: str, number: int) -> str | None:
        if number == 0:
            self._found = self._propose(text)
        return self._found[number][0] if number < len(self._found) else None

    def _show(self, _text: str, _matches: Any, _longest: int) -> None:
        """What could be meant, in columns below the line, which is then shown again."""
        shown = columns([word for _, word in self._found], terminal_width() or 80)
        write("\n" + "\n".join(shown))
        write(self._prompt + self._readline.get_line_buffer(), newline=False)
        sys.stdout.flush()


def columns(words: list[str], width: int) -> list[str]:
    """The words in as many columns as there is room for, each from top to bottom."""
    widest = max(map(len, words), default=0) + 2
    across = max(1, width // widest)
    down = -(-len(words) // across)
    rows = [words[at::down] for at in range(down)]
    filled = [row + [""] * (across - len(row)) for row in rows]
    return layout([""] * across, filled, width=None)


def history_path() -> Path:
    """Where the history of this user is kept."""
    return xdg_home("XDG_STATE_HOME", ".local/state") / "paxosctl" / "history"


class _NoInput:
    """Standard input of a verb in a script, which the commands come from."""

    closed = False

    @property
    def buffer(self) -> Any:
        """Nothing can be read from it."""
        words = "the commands come from it; to give a value with any bytes, write it as $'\\xff'"
        raise OSError(0, words)

    def isatty(self) -> bool:
        """It is none."""
        return False


class _Given:
    """Standard input with this content."""

    closed = False

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)

    def isatty(self) -> bool:
        """It is none."""
        return False


@contextmanager
def stdin_of_a_verb(content: bytes | None, *, interactive: bool) -> Iterator[None]:
    """Meanwhile standard input has ``content``; without that it is the terminal's, and nothing in a
    script."""
    if content is None and interactive:
        yield
        return
    before = sys.stdin
    sys.stdin = _Given(content) if content is not None else _NoInput()
    try:
        yield
    finally:
        sys.stdin = before
