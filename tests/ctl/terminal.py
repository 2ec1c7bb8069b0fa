"""A command on a terminal of its own: what it writes there, and what is typed into it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

INK = re.compile(rb"\x1b\[[\d;]*m")
"""Colours, bold and the like; also their end."""
OPEN = 'exec <>"$0" >&0 2>&0; exec "$@"'
"""What the first process of a session opens first becomes its terminal."""
BARE = ("PATH", "HOME", "LANG", "PAXOSCTL_CONFIG")


class Terminal:
    """``argv`` on a terminal of ``columns`` by ``rows``, with PATH, ``TERM`` and ``environment``.
    ``seen``: all bytes that it has written."""

    def __init__(self, argv, *, columns=80, rows=24, **environment):
        self.seen = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        ready, opened = os.pipe()
        kept = {name: os.environ[name] for name in BARE if name in os.environ}
        self.process = subprocess.Popen(
            ["sh", "-c", OPEN, os.ttyname(slave), *argv], start_new_session=True,
            stdin=opened,
            env=kept | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | environment,
        )  # fmt: skip
        os.close(opened)
        os.read(ready, 1)  # until it has opened the terminal: what nobody has open has ended
        os.close(ready)
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def type(self, text):
        """As if on the keyboard."""
        os.write(self._master, text.encode() if isinstance(text, str) else text)

    def wait(self, words, *, timeout_s=30.0):
        """Until these have been written since the last wait; what came up to them."""
        words = words.encode() if isinstance(words, str) else words
        until_s = time.monotonic() + timeout_s
        while (place := self.seen.find(words)) < 0:
            left_s = until_s - time.monotonic()
            assert left_s > 0, f"{words!r} did not come, but: {self.seen[-2000:]!r}"
            assert self._read(left_s), f"it ended without {words!r}: {self.seen[-2000:]!r}"
        found, self.seen = self.seen[: place + len(words)], self.seen[place + len(words) :]
        return found

    def interrupt(self, words):
        """Ctrl-C until these have been written: Python sees one that comes in the moment before
        readline waits with the next alone."""
        for _ in range(30):
            self.type("\x03")
            before = len(self.seen)
            self._read(1.0)
            if len(self.seen) > before:
                break
        self.wait(words)

    def read_what_is_there(self):
        """Into ``seen``; waits a moment for it."""
        self._read(0.05)

    def end(self, *, timeout_s=60.0):
        """Until it ends: its exit code, and all that came since the last wait."""
        until_s = time.monotonic() + timeout_s
        while self._read(max(0.0, until_s - time.monotonic())):
            assert time.monotonic() < until_s, f"it does not end: {self.seen[-2000:]!r}"
        return self.process.wait(timeout=timeout_s), self.seen

    def _read(self, timeout_s):
        """Whether there may be more."""
        if select.select([self._master], [], [], timeout_s)[0]:
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # nobody has it open any more
                return False
            self.seen += piece
            return bool(piece)
        return True


def paxosctl(*arguments, **given):
    """``paxosctl`` on a terminal."""
    return Terminal([sys.executable, "-m", "paxosctl", *arguments], **given)
