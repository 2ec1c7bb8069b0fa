"""The terminal while a live view has it: keys come one by one, the screen is another one; both are
given back on every way out, and while the view is stopped (Ctrl-Z)."""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import FrameType
from typing import Any

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

READ_BYTES = 1024


class Terminal:
    """A context manager. ``colours``: False for none."""

    def __init__(self, *, colours: bool) -> None:
        self._console = Console(no_color=True if not colours else None, highlight=False)
        self._keys, self._screen = sys.stdin.fileno(), sys.stdout.fileno()
        self._was: list[Any] = []
        self._live: Live | None = None
        self._stop_wanted = False
        self._opened = ExitStack()

    def __enter__(self) -> "Terminal":
        with ExitStack() as opened:
            self._wake_end, self._wake_begin = os.pipe()
            opened.callback(os.close, self._wake_end)
            opened.callback(os.close, self._wake_begin)
            for end in (self._wake_end, self._wake_begin):
                os.set_blocking(end, False)
            for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT):
                opened.callback(signal.signal, number, signal.signal(number, self._on_signal))
            opened.callback(self._give_back)
            self._take()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as the terminal says now, whatever COLUMNS and LINES were once."""
        with suppress(OSError):
            columns, lines = os.get_terminal_size(self._screen)
            if columns > 0 and lines > 0:
                self._console.size = ConsoleDimensions(columns, lines)
        return self._console.size.width, self._console.size.height

    def wake(self) -> None:
        """End :meth:`wait`; from any thread, and from a signal handler."""
        with suppress(OSError):
            os.write(self._wake_begin, b".")

    def wait(self, seconds: float) -> bytes | None:
        """What was typed; b"": nothing, there was a wake or the time is over; None: nobody can type
        any more."""
        ready, _, _ = select.select([self._keys, self._wake_end], [], [], max(0.0, seconds))
        if self._wake_end in ready:
            with suppress(BlockingIOError):
                os.read(self._wake_end, READ_BYTES)
        if self._stop_wanted:
            self._stop_wanted = False
            self._stop()
        if self._keys not in ready:
            return b""
        return os.read(self._keys, READ_BYTES) or None

    def show(self, lines: Sequence[Text]) -> None:
        """Fill the screen with these."""
        if self._live is not None:
            self._live.update(Group(*lines), refresh=True)

    # -- inside -------------------------------------------------------------------------------

    def _take(self) -> None:
        self._was = termios.tcgetattr(self._keys)
        tty.setcbreak(self._keys)  # Ctrl-C and Ctrl-Z remain signals
        self._live = Live(
            Text(""),
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def _give_back(self) -> None:
        live, self._live = self._live, None
        try:
            if live is not None:
                live.stop()
        finally:
            if self._was:
                with suppress(termios.error):  # the terminal is gone
                    termios.tcsetattr(self._keys, termios.TCSADRAIN, self._was)

    def _stop(self) -> None:
        """As Ctrl-Z does to any program; goes on where the shell lets it (fg)."""
        self._give_back()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        self._take()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._stop_wanted = self._stop_wanted or number == signal.SIGTSTP
        self.wake()
