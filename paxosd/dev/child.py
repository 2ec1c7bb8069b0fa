"""One child process of ``paxosd dev``: how it is started, and the words for how it ended.

A child gets its own session, so that a Ctrl-C in the terminal reaches the supervisor alone.
It dies with the supervisor, even if that is killed with -9: the kernel sends it SIGTERM then
(PR_SET_PDEATHSIG, set between fork and exec; Linux only, elsewhere it is left out). It reports
READY and STATUS to a socket of its own (NOTIFY_SOCKET), so that no child can speak for another.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from paxosd.daemon import exits
from paxosd.daemon.notify import NotifyReceiver
from paxosd.host.printable import escape_controls

_PR_SET_PDEATHSIG = 1
_STDERR_TAIL_BYTES = 4096
_STDERR_TAIL_LINES = 5


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """``by_hand``: the command that starts the same thing in another terminal.
    ``error_path``: where standard output and error are appended."""

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str]
    error_path: Path
    by_hand: str


class Child:
    """One run of a child: it runs once this is made, and ends once."""

    def __init__(self, spec: ChildSpec, socket_path: Path) -> None:
        """Starts it. Raises OSError if it cannot be started."""
        self.spec = spec
        self.ready = False
        self.status = ""
        """The last STATUS that it sent."""
        self._began_s = time.monotonic()
        self.receiver = NotifyReceiver(socket_path)
        try:
            errors = os.open(
                spec.error_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640
            )
            try:
                self._errors_from = os.fstat(errors).st_size
                self.process = subprocess.Popen(
                    spec.argv,
                    env={**spec.environ, "NOTIFY_SOCKET": str(socket_path)},
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    start_new_session=True,
                    preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - dev's other thread only writes lines
                )
            finally:
                os.close(errors)
            self.pid_fd = os.pidfd_open(self.process.pid)
        except OSError:
            self.receiver.close()
            raise

    @property
    def age_s(self) -> float:
        """How long ago it was started, in seconds."""
        return time.monotonic() - self._began_s

    def reap(self) -> int:
        """Its exit code, after ``pid_fd`` became readable; negative: killed by that signal."""
        code = self.process.wait()
        os.close(self.pid_fd)
        self.receiver.close()
        return code

    def last_words(self) -> list[str]:
        """The last lines that this run of it wrote to standard output or error."""
        try:
            with self.spec.error_path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._errors_from, size - _STDERR_TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        lines = [plain_words(line) for line in text.splitlines() if line.strip()]
        return lines[-_STDERR_TAIL_LINES:]


def plain_words(line: str) -> str:
    """The message of a log line in JSON; any other line as it is."""
    try:
        message = json.loads(line)["message"]
    except (ValueError, TypeError, KeyError):
        return line
    return escape_controls(str(message))


def why_ended(code: int) -> str:
    """For example "exit code 74: a storage error; …" or "killed by SIGKILL"."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    meaning = exits.EXITS.get(code, "a code that paxosd does not use")
    return f"exit code {code}: {meaning}"


def _die_with(parent: int) -> Callable[[], None] | None:
    """What a child does between fork and exec so that it never outlives its parent."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork, not after

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before prctl took effect
            os._exit(exits.FAILED)

    return before_exec
