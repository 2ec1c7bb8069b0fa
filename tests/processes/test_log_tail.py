"""``log tail -f`` and Ctrl-C: it ends as other verbs do, and leaves the terminal as it was."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import termios

from tests.ctl.audit.made import good
from tests.processes.processes import wait_for


def test_ctrl_c_ends_it(tmp_path):
    for each in good(tmp_path):
        each.write()
    master, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    tail = subprocess.Popen(
        [sys.executable, "-m", "paxosctl", "log", "tail", "-f", "-n", "5", str(tmp_path)],
        stdin=terminal, stdout=terminal, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        os.set_blocking(master, False)
        shown = bytearray()

        def follows():
            with contextlib.suppress(BlockingIOError):
                shown.extend(os.read(master, 65536))
            return shown.count(b"\n") >= 5

        wait_for(follows, what="the last lines")
        os.kill(tail.pid, signal.SIGINT)
        _, err = tail.communicate(timeout=20)
    finally:
        tail.kill()
        tail.wait()
    assert tail.returncode == 130
    assert b"Traceback" not in err
    assert termios.tcgetattr(terminal) == before
    os.close(master)
    os.close(terminal)
