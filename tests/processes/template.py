"""Starts daemons and commands in no time: a process that has imported them already is forked.

    a test ── arguments, environment, files ──► template ── fork ──► ``main()`` of the program
           ◄── its number; its end when asked ──

An import of a daemon takes half a second of processor time, and the tests start hundreds. What
runs in the child is the program's own ``main``, in a process of its own with the standard files,
the environment and the arguments that it was given. What a start by ``python -m`` does beyond that
is tested by ``test_start.py`` and ``test_dev.py``.
"""

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
MESSAGE_BYTES_MAX = 1 << 17
PROGRAMS = {
    "paxosd": ("paxosd.cli", "paxosd.daemon.daemon", "paxosd.daemon.init"),
    "paxosctl": ("paxosctl.cli.main", "paxosctl.commands.member", "paxosctl.commands.fault"),
}
"""A program → the modules that are imported before it is asked for: what most of its runs need."""


class Forked:
    """A process that the template started, with the methods of ``subprocess.Popen``."""

    def __init__(self, template, pid):
        self.pid = pid
        self.returncode = None
        self._template = template
        self._end = os.pidfd_open(pid)

    def poll(self):
        """The exit code, or None while it runs."""
        return self._look(0)

    def wait(self, timeout=None):
        """The exit code; raises TimeoutExpired after ``timeout`` seconds."""
        code = self._look(None if timeout is None else round(timeout * 1000))
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return code

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout_ms):
        if self.returncode is None:
            poller = select.poll()
            poller.register(self._end, select.POLLIN)
            if poller.poll(timeout_ms):
                self.returncode = self._template.reap(self.pid)
                os.close(self._end)
        return self.returncode


class Done(NamedTuple):
    """A command that has ended, with what it wrote."""

    returncode: int
    stdout: str
    stderr: str


class Template:
    """The process to be forked; it ends, and all that it started, with :meth:`close`."""

    def __init__(self, environ):
        """``environ``: of the template, and of each program that is given none."""
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asking = threading.Lock()
        self._environ = environ
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.processes.template", str(other.fileno())],
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=environ,
                pass_fds=[other.fileno()],
            )

    def start(self, program, arguments, *, stdout, stderr, environ=None):
        """Start one of PROGRAMS, without standard input."""
        request = {"run": program, "arguments": arguments, "environ": environ or self._environ}
        return Forked(self, self._ask(request, [stdout.fileno(), stderr.fileno()]))

    def run(self, program, arguments, *, timeout_s=170.0):
        """Run one of PROGRAMS to its end."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self.start(program, arguments, stdout=out, stderr=err)
            try:
                code = process.wait(timeout_s)
            finally:
                process.kill()
            out.seek(0)
            err.seek(0)
            return Done(code, out.read().decode(), err.read().decode())

    def reap(self, pid):
        """The exit code of a process that has ended."""
        return self._ask({"reap": pid})

    def close(self):
        self._socket.close()
        self._process.wait(timeout=60)

    def _ask(self, request, files=()):
        with self._asking:
            socket.send_fds(self._socket, [json.dumps(request).encode()], files)
            answer = self._socket.recv(MESSAGE_BYTES_MAX)
        assert answer, f"the template has ended: {self._process.poll()}"
        return json.loads(answer)


def serve(asked):
    """Start and reap what is asked for, until the other end is closed; in a child it returns the
    name of the program that is to run there."""
    children = set()
    while True:
        message, files, _, _ = socket.recv_fds(asked, MESSAGE_BYTES_MAX, 2)
        if not message:
            break
        request = json.loads(message)
        if "reap" in request:
            children.discard(request["reap"])
            _, status = os.waitpid(request["reap"], 0)
            asked.send(b"%d" % os.waitstatus_to_exitcode(status))
            continue
        child = os.fork()
        if not child:
            asked.close()
            become(request, files)
            return request["run"]
        children.add(child)
        for file in files:
            os.close(file)
        asked.send(b"%d" % child)
    for child in children:
        os.kill(child, signal.SIGKILL)
    return None


def become(request, files):
    """Give this process the files, the environment and the arguments of the program."""
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv = [str(ROOT / request["run"] / "__main__.py"), *request["arguments"]]


def main():
    for modules in PROGRAMS.values():
        for module in modules:
            importlib.import_module(module)
    assert threading.active_count() == 1, "a fork has one thread, the others would be lost"
    program = serve(socket.socket(fileno=int(sys.argv[1])))
    if program is not None:
        importlib.import_module(f"{program}.__main__").main()


if __name__ == "__main__":
    main()
