"""Real daemons for tests: processes, sockets on free loopback ports, disks under a tmp_path.

Nothing sleeps for its own sake: every wait is for a condition, with a deadline that fails.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import zmq

from paxosctl.client.client import Client
from paxosd.core.requests import GET, LINEARIZABLE, ReadRequest
from paxosd.wire import decode_answer, encode_client
from tests.processes.ports import free_ports
from tests.processes.template import Forked, Template

TICK_S = 0.02


def wait_for(condition, timeout_s=30.0, what="the condition"):
    """Poll until ``condition()`` is truthy and return its value; fails after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        time.sleep(TICK_S)  # between two looks at other processes; there is nothing to wait on


@contextlib.contextmanager
def full_pipe():
    """The end of a pipe to which nothing more can be written, for nobody reads it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


SETTINGS = {
    "faults": {"enabled": True},
    # Small, so that a test rolls segments and meets limits without moving much data.
    "limits": {"message_bytes_max": 1 << 20, "value_bytes_max": 65536, "read_bytes_max": 1 << 19},
    # A node that returns while another is down does not vote before compare_wait_ms have passed.
    "protocol": {
        "batch_bytes_max": 1 << 19,
        "catch_up_bytes_max": 1 << 19,
        "compare_wait_ms": 1500,
    },
    "wal": {"segment_bytes": 4 << 20},
    "log": {"format": "json"},
}


def clean_environ():
    """This process's environment without what would configure a daemon."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PAXOSD_")}


class Raw:
    """A bare DEALER to one endpoint: what a client sends and gets, and no retries."""

    def __init__(self, endpoint, kind=zmq.DEALER, **options):
        self._context = zmq.Context()
        self.socket = self._context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        for option, value in options.items():
            self.socket.setsockopt(getattr(zmq, option), value)
        self.socket.connect(endpoint)
        self._number = 0
        self._answers = {}

    def send(self, request):
        """Send a request under a new number, which is returned."""
        self._number += 1
        self.socket.send(encode_client(request._replace(request_id=self._number), ""))
        return self._number

    def answer(self, number, timeout_s=10.0):
        """The answer with this number; None if there is none in time."""
        deadline = time.monotonic() + timeout_s
        while number not in self._answers and (left_s := deadline - time.monotonic()) > 0:
            if self.socket.poll(int(left_s * 1000) + 1):
                answer = decode_answer(self.socket.recv())
                self._answers[answer.request_id] = answer
        return self._answers.get(number)

    def ask(self, request, timeout_s=10.0):
        return self.answer(self.send(request), timeout_s)

    def get(self, key, timeout_s=10.0):
        """A linearizable read's answer: ReadAnswer, RefusalAnswer, or None."""
        return self.ask(ReadRequest(0, LINEARIZABLE, [[GET, key]]), timeout_s)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._context.destroy(0)


class Daemons:
    """A cluster of ``size`` processes n1 …; use it as a context manager."""

    template: ClassVar[Template | None] = None
    """What starts the processes; without it each is started by ``python -m``."""
    made_as: ClassVar[type["Daemons"] | None] = None
    """What a test gets that asks for a plain cluster (``ALSO_KEYED``, conftest.py)."""

    def __new__(cls, *_, **__):
        plain = cls is Daemons and Daemons.made_as is not None
        return super().__new__(Daemons.made_as if plain else cls)

    def __init__(self, path: Path, size=3, *, learners=(), **settings):
        """``learners``: the nodes without a vote; ``settings``: section → its keys, on top of
        SETTINGS."""
        self.path = Path(path)
        self.learners = frozenset(learners)
        self.settings = {
            section: SETTINGS.get(section, {}) | settings.get(section, {})
            for section in SETTINGS | settings
        }
        ports = free_ports(3 * size)
        self.names = [f"n{i + 1}" for i in range(size)]
        self.ports = {
            name: dict(zip(("client", "peer", "events"), ports[3 * i : 3 * i + 3], strict=True))
            for i, name in enumerate(self.names)
        }
        self.processes: dict[str, subprocess.Popen | Forked] = {}
        self.starts = dict.fromkeys(self.names, 0)
        for name in self.names:
            self.write_config(name)
        self.founded = self.members_configured() != self.names[:1]

    def init(self, name):
        """``paxosd init``: found a cluster of this node alone."""
        done = self.run("paxosd", "init", "--config", str(self.config_path(name)))
        assert done.returncode == 0, done.stderr

    def run(self, program, *arguments):
        """Run ``paxosd`` or ``paxosctl`` to its end; its exit code and what it wrote."""
        if self.template:
            return self.template.run(program, arguments)
        return subprocess.run(
            [sys.executable, "-m", program, *arguments],
            capture_output=True, text=True, env=clean_environ(), check=False, timeout=170,
        )  # fmt: skip

    def endpoint(self, name, kind="client"):
        return f"tcp://127.0.0.1:{self.ports[name][kind]}"

    @property
    def endpoints(self):
        return [self.endpoint(name) for name in self.names]

    def config_path(self, name):
        return self.path / f"{name}.toml"

    def log_path(self, name):
        return self.path / f"{name}.log"

    def members_configured(self):
        """The members that the configuration files name."""
        return self.names

    def _member_table(self, name):
        lines = [f"[cluster.members.{name}]"]
        lines += [f'{kind} = "{self.endpoint(name, kind)}"' for kind in self.ports[name]]
        if name in self.learners:
            lines.append("voter = false")
        return "\n".join(lines)

    def write_config(self, name):
        members = "\n".join(self._member_table(each) for each in self.members_configured())
        sections = {
            "cluster": {"id": "test"},
            "node": {"name": name, "data_dir": name},
            **self.settings,
        }
        sections["log"] = {"file": f"{name}.log"} | self.settings["log"]
        text = "".join(
            f"[{section}]\n" + "".join(f"{key} = {json.dumps(v)}\n" for key, v in keys.items())
            for section, keys in sections.items()
        )
        self.config_path(name).write_text(f"{text}{members}\n")

    def command(self, name):
        """What is run as this node, before arguments of the caller's."""
        return [sys.executable, "-m", "paxosd", *self.arguments(name)]

    def arguments(self, name):
        return ["--config", str(self.config_path(name))]

    def spawn(self, name, *, arguments=(), env=None, preexec=None):
        """A process for the node, not kept in ``processes``. ``env``: variables to add."""
        with self.stderr_path(name).open("ab") as errors:
            if self.template and preexec is None:
                with open(os.devnull, "wb") as nowhere:
                    return self.template.start(
                        "paxosd", [*self.arguments(name), *arguments],
                        stdout=nowhere, stderr=errors, environ=clean_environ() | (env or {}),
                    )  # fmt: skip
            return subprocess.Popen(
                [*self.command(name), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=clean_environ() | (env or {}),
                preexec_fn=preexec,  # noqa: PLW1509 - for a limit, set before any other thread
            )

    def start(self, *names, **how):
        """Start these nodes, or all; ``how`` as :meth:`spawn` has it."""
        for name in names or self.names:
            assert name not in self.processes
            if not self.founded:
                self.founded = True
                self.init(name)
            self.processes[name] = self.spawn(name, **how)
            self.starts[name] += 1

    def fails_to_start(self, name, **how):
        """Start a node that must end by itself; (exit code, what it wrote to standard error)."""
        before = len(self.stderr(name))
        code = self.spawn(name, **how).wait(timeout=60)
        return code, self.stderr(name)[before:]

    def wait_end(self, name, timeout_s=60.0):
        """Wait until a running node has ended by itself; its exit code."""
        return self.processes.pop(name).wait(timeout=timeout_s)

    def kill(self, *names, sig=signal.SIGKILL):
        """Send a signal that ends the process and reap it; returns the exit codes."""
        chosen = names or tuple(self.processes)
        for name in chosen:
            self.processes[name].send_signal(sig)
        return [self.processes.pop(name).wait(timeout=30) for name in chosen]

    def stderr_path(self, name):
        return self.path / f"{name}.stderr"

    def stderr(self, name):
        path = self.stderr_path(name)
        return path.read_text() if path.exists() else ""

    def signal(self, name, sig):
        self.processes[name].send_signal(sig)

    def client(self, *names, timeout_s=10.0):
        endpoints = [self.endpoint(name) for name in names] if names else self.endpoints
        return Client(endpoints, timeout_s=timeout_s)

    def status(self, name, timeout_s=1.0):
        """A node's status, or None if it does not answer."""
        with contextlib.suppress(Exception), self.client(name, timeout_s=timeout_s) as client:
            return client.status()
        return None

    def leader(self):
        """The leader that every running node agrees on, or "" ."""
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} has ended: {self.stderr(name)}"
        views = [self.status(name) for name in self.processes]
        leaders = {view["leader"] for view in views if view is not None}
        if views and None not in views and len(leaders) == 1:
            return leaders.pop()
        return ""

    def wait_leader(self, timeout_s=30.0):
        return wait_for(self.leader, timeout_s, "a leader that all agree on")

    def wait_up(self, *names, timeout_s=30.0):
        for name in names or tuple(self.processes):
            wait_for(lambda name=name: self.status(name), timeout_s, f"an answer of {name}")

    def raw(self, name, port="client", **options):
        """A bare socket to one of a node's ports."""
        return Raw(self.endpoint(name, port), **options)

    def followers(self, leader):
        return [name for name in self.names if name != leader]

    def admin(self, node, verb, **args):
        """One admin verb at one node; its answer's body."""
        with self.client(node) as client:
            return client.admin(verb, args, endpoint=self.endpoint(node))

    def fault(self, rule, kind, sender, receiver, **more):
        """Add a rule at every running node: each enacts what arrives at itself."""
        for name in self.processes:
            self.admin(name, "fault_add", name=rule, kind=kind,
                       **{"from": sender, "to": receiver}, **more)  # fmt: skip

    def heal(self):
        for name in self.processes:
            self.admin(name, "fault_clear")

    def checksums(self, timeout_s=30.0):
        """The state checksum of every running node as of one common slot, by name."""
        with self.client(timeout_s=timeout_s) as client:
            slot = client.start_checksum()

        def finished(name):
            body = self.admin(name, "checksum", slot=slot)
            assert body["checksum"] or body["pending"], f"{name} has none for slot {slot}"
            return body["checksum"]

        return {
            name: wait_for(lambda name=name: finished(name), timeout_s, f"checksum of {name}")
            for name in self.processes
        }

    def check_equal(self, timeout_s=60.0):
        """Every running node ends with the same state."""
        self.wait_equal(timeout_s)
        checksums = self.checksums(timeout_s)
        assert len(set(checksums.values())) == 1, checksums

    def wait_equal(self, timeout_s=30.0):
        """Wait until all running nodes have applied the same slots."""

        def equal():
            views = [self.status(name) for name in self.processes]
            return None not in views and len({v["applied"] for v in views}) == 1

        wait_for(equal, timeout_s, "equal applied slots")

    def logs(self, name):
        return self.log_path(name).read_text() if self.log_path(name).exists() else ""

    def events(self, name, event):
        """The log lines of one event, as dictionaries."""
        lines = (json.loads(line) for line in self.logs(name).splitlines())
        return [line for line in lines if line["event"] == event]

    def wait_event(self, name, event, timeout_s=30.0, **fields):
        """Wait for a log line of this event with these fields; returns it."""

        def find():
            for line in self.events(name, event):
                if all(line.get(key) == value for key, value in fields.items()):
                    return line
            return None

        return wait_for(find, timeout_s, f"{event} {fields} in the log of {name}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(timeout=30)
        self.processes.clear()


def put_some(daemons, count=20, size=0):
    """Write k0 … with one outstanding request after another, so each has a group of its own."""
    with daemons.client(timeout_s=30.0) as client:
        for number in range(count):
            client.put(b"k%d" % number, b"%d" % number + b"." * size)


def check_some(daemons, count=20):
    with daemons.client(timeout_s=30.0) as client:
        values = {row.key: row.value.rstrip(b".") for row in client.scan(b"k")}
    assert values == {b"k%d" % number: b"%d" % number for number in range(count)}
