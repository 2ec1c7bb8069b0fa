"""paxosctl top on a terminal of its own: keys, sizes, and that the terminal is given back on every
way out. The cluster is one in a thread."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading

import pytest

from tests.ctl.fake_daemon import FakeDaemon, closed_port
from tests.processes.processes import clean_environ, wait_for

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
"""To the other screen of a terminal, and back."""
ENVIRON = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "COLUMNS": "80", "LINES": "24"}
"""The last two are as some shells export them: they stay when the terminal gets another size."""
CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class OnTerminal:
    """A program on a pseudo-terminal. ``wrote``: all that it wrote there."""

    def __init__(self, *arguments, size=(80, 24)):
        self.end, self.other = pty.openpty()
        self.resize(size)
        self.modes = termios.tcgetattr(self.other)
        self.wrote = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "paxosctl", *arguments],
            stdin=self.other, stdout=self.other, stderr=self.other, start_new_session=True,
            env=clean_environ() | ENVIRON,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - its own terminal, as a shell gives it
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(OSError):
            while piece := os.read(self.end, 65536):
                self.wrote += piece

    def resize(self, size):
        columns, lines = size
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys):
        os.write(self.end, keys)

    def sees(self, words, since=0):
        """Wait until it has written these words; returns how much it had written then."""
        wanted = words.encode() if isinstance(words, str) else words
        escaped = wanted.startswith(b"\x1b")

        def seen():
            new = self.wrote[since:]
            return wanted in (new if escaped else CONTROL.sub(b"", new))

        wait_for(seen, what=f"{words!r} on the terminal")
        return len(self.wrote)

    @property
    def is_as_it_was(self):
        return termios.tcgetattr(self.other) == self.modes

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(timeout=30)
        os.close(self.other)
        self._reader.join(timeout=10)
        os.close(self.end)


@pytest.fixture
def top():
    with FakeDaemon() as daemon:
        where = f"{daemon.endpoint},{closed_port()}"
        with OnTerminal("--endpoints", where, "top", "--interval", "100ms") as found:
            found.sees("n1 leads")
            assert found.wrote.startswith(ENTER) or ENTER in found.wrote
            assert not found.is_as_it_was
            yield found


def test_keys_and_sizes(top):
    assert "no answer" in CONTROL.sub(b"", top.wrote).decode() or top.sees("no answer")
    at = len(top.wrote)
    top.type(b"?")
    at = top.sees("select a node, or a fault", at)
    top.type(b"\x1b")
    at = top.sees("Enter node", at)
    top.type(b" ")
    at = top.sees("PAUSED", at)
    top.type(b"pf")
    at = top.sees("no fault rules", at)
    top.resize((140, 40))
    top.process.send_signal(signal.SIGWINCH)
    top.type(b"f")
    top.sees("CPU", at)
    top.type(b"q")
    assert top.process.wait(timeout=30) == 0
    assert top.is_as_it_was
    top.sees(LEAVE)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (lambda top: top.type(b"\x03"), 130),  # Ctrl-C
        (lambda top: top.process.send_signal(signal.SIGTERM), -signal.SIGTERM),
        (lambda top: top.process.send_signal(signal.SIGHUP), -signal.SIGHUP),
    ],
    ids=["ctrl-c", "sigterm", "sighup"],
)
def test_the_terminal_is_given_back(top, how, code):
    how(top)
    assert top.process.wait(timeout=30) == code
    assert top.is_as_it_was
    top.sees(LEAVE)
    assert b"Traceback" not in top.wrote


def test_it_gives_the_terminal_back_while_it_is_stopped(top):
    """Ctrl-Z. Nobody here could stop it as a shell does (its group is an orphan), so that it goes
    on at once; it has given the terminal back meanwhile, and taken it again."""
    at = len(top.wrote)
    top.type(b"\x1a")
    top.sees(LEAVE, at)
    top.sees(ENTER, at)
    top.sees("n1 leads", at)
    top.type(b"q")
    assert top.process.wait(timeout=30) == 0
    assert top.is_as_it_was


def test_json_needs_once():
    with OnTerminal("-o", "json", "top") as other:
        other.sees("-o json needs --once")
        assert other.process.wait(timeout=30) == 2


def test_nobody_there_is_shown():
    with OnTerminal("--endpoints", closed_port(), "top") as other:
        other.sees("0 of 1 node up")
        other.sees("no answer")
        other.type(b"q")
        assert other.process.wait(timeout=30) == 0
