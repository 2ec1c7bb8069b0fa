"""A cluster of one in a thread: the real state machine, verbs and events behind real sockets,
without Paxos, log or disk. What it should do wrong is set on it."""

import io
import sys
import threading
import time
import zlib
from collections import deque
from pathlib import Path

import zmq

from paxosd.core.commands import Batch
from paxosd.core.effects import NOT_LEADER
from paxosd.core.membership import Member, Membership
from paxosd.core.requests import (
    AdminRequest,
    HistoryRequest,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
    WriteAnswer,
    WriteRequest,
)
from paxosd.core.state.machine import Machine
from paxosd.core.types import EPOCH_ROUNDS
from paxosd.daemon.log_level import LogLevel
from paxosd.daemon.logs import Logs
from paxosd.faults.plan import FaultPlan
from paxosd.net.probe import Probes
from paxosd.replica.admin import Admin, AdminPorts
from paxosd.replica.log_server import serve_history
from paxosd.replica.watch_publisher import EventPublisher
from paxosd.wire import WireError, decode_entry, decode_request, encode_client


def peer_of(client):
    """Where a peer endpoint is that can be reached, and is no other endpoint."""
    return client.replace("127.0.0.1", "localhost")


_STUCK = []
"""Contexts whose end did not come: kept, lest their finalizers wait for it again."""
END_S = 30


def end_context(context):
    """The sockets are closed. Once in some hundred thousand times libzmq's ``zmq_ctx_term`` did
    not return here though they all were: what the threads of libzmq wait for is printed then, and
    the test goes on. It is a test's stand-in for a daemon, which ends by its process's end."""
    ender = threading.Thread(target=context.term, daemon=True)
    ender.start()
    ender.join(END_S)
    if ender.is_alive():
        _STUCK.append(context)
        for task in sorted(Path("/proc/self/task").iterdir()):
            waits = [(task / name).read_text().strip() for name in ("comm", "wchan")]
            print(f"zmq_ctx_term does not return: thread {task.name} {waits}", file=sys.stderr)


class FakeDaemon:
    """``silent``: answers nothing. ``silent_writes``: carries writes out without an answer;
    ``deaf_writes``: does neither.
    ``refusal``: a code with which writes and linearizable reads are refused. ``hint``: the
    leader's endpoint that goes with it. ``status``: overrides of the status. ``lost``: it has
    lost its memory, until a membership names its data directory.

    ``follows``: another one, of whose cluster this is a node, and with whose state; a member from
    the start if ``member``. ``message_bytes_max``: a larger message ends the connection."""

    def __init__(
        self,
        name="n1",
        *,
        faults=True,
        members=None,
        follows=None,
        member=True,
        message_bytes_max=-1,
    ):
        self.name = name
        self.silent = False
        self.silent_writes = False
        self.deaf_writes = False
        self.refusal = ""
        self.hint = ""
        self.status = {}
        self.without = set()
        self.crashed = threading.Event()
        self.writes = []  # every entry that arrived
        self.context = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.MAXMSGSIZE, message_bytes_max)
        self.events = self.context.socket(zmq.XPUB)
        self.events.setsockopt(zmq.XPUB_VERBOSE, 1)
        host = "tcp://127.0.0.1"
        self.endpoint = f"{host}:{self.router.bind_to_random_port(host)}"
        self.events_endpoint = f"{host}:{self.events.bind_to_random_port(host)}"
        self.directory_id = zlib.crc32(name.encode())
        self.lost = False
        own = {"client": self.endpoint, "events": self.events_endpoint}
        if follows is None:
            self.members = {name: own} | (members or {})
            self.machine = Machine()
            self.batches = {}
            self.shared = {"leader": name, "endpoint": self.endpoint}
        else:
            self.machine, self.batches, self.shared = (
                follows.machine, follows.batches, follows.shared,
            )  # fmt: skip
            self.members = follows.members
            if member:
                self.members[name] = own
        self.plan = FaultPlan(node=name, nodes=list(self.members))
        self.publisher = EventPublisher(
            lambda topic, payload: self.events.send_multipart([topic, payload]),
            self.machine,
            cluster="test",
            node=name,
            boot_count=1,
            subscriptions_max=10,
        )
        logs = Logs(node=name, stream=io.StringIO())
        level = LogLevel(logs, lambda _: None, self._now_ms)
        self.admin = Admin(
            AdminPorts(
                status=self._status,
                machine=self.machine,
                plan=self.plan,
                faults_enabled=faults,
                now_ms=self._now_ms,
                crash=self.crashed.set,
                transfer=lambda name: self.transfer(name),  # noqa: PLW0108 - a test replaces it
                probes=Probes(),
                log_level=lambda *given: {"node": name, **level.change(*given)},
            )
        )
        self._news = deque()
        self.sum_keys = 1000
        """How many keys it sums up at a time."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """As a daemon that was killed, and does not come back. Also twice."""
        self._stop.set()
        self._thread.join()
        end_context(self.context)

    def publish_members(self, epoch):
        """As once another membership is in force."""
        self._news.append(epoch)

    def _now_ms(self):
        return time.monotonic_ns() // 1_000_000

    def _serve(self):
        try:
            self._run()
        finally:  # by the thread that used them
            self.router.close(0)
            self.events.close(0)

    def _run(self):
        poller = zmq.Poller()
        poller.register(self.router, zmq.POLLIN)
        poller.register(self.events, zmq.POLLIN)
        while not self._stop.is_set():
            ready = dict(poller.poll(20))
            if self.router in ready:
                client, frame = self.router.recv_multipart()
                self._receive(client, frame)
            if self.events in ready:
                notice = self.events.recv()
                self.publisher.on_subscription(notice[0] == 1, notice[1:], self._now_ms())
            self.publisher.tick(self._now_ms())
            while self._news:
                self.publisher.publish_members(self._news.popleft())
            self.machine.advance_checksum(self.sum_keys)

    def _receive(self, client, frame):
        try:
            request = decode_request(frame, "test")
        except WireError as error:
            request = None
            answer = RefusalAnswer(error.request_id, "invalid", str(error), "", "", 0)
        if self.silent:
            return
        if request is not None:
            answer = self._answer(request)
        if answer is not None:
            self.router.send_multipart([client, encode_client(answer, "test")])

    def _answer(self, request):
        if isinstance(request, AdminRequest):
            return self.admin.handle(request)
        if isinstance(request, HistoryRequest):
            return serve_history(request, self.machine, self.batches.__getitem__)
        linearizable = isinstance(request, WriteRequest) or request.mode == 0
        if self.refusal and linearizable:
            leader = "n2" if self.refusal == NOT_LEADER else ""
            words = f"it says {self.refusal}"
            return RefusalAnswer(request.request_id, self.refusal, words, leader, self.hint, 0)
        if isinstance(request, ReadRequest):
            results = self.machine.query(request.queries, 1000)  # small pages
            applied, revision = self.machine.applied, self.machine.revision
            return ReadAnswer(request.request_id, applied, revision, 0, results)
        try:
            entry = decode_entry(request.entry)
        except WireError as error:
            return RefusalAnswer(request.request_id, "invalid", str(error), "", "", 0)
        self.writes.append(entry)
        if self.deaf_writes:
            return None
        slot = self.machine.applied + 1
        self.batches[slot] = batch = Batch(slot, [entry])
        (results,) = self.machine.apply(slot, batch)
        self.publisher.flush()
        return None if self.silent_writes else WriteAnswer(request.request_id, slot, results)

    @property
    def membership(self):
        """The log's, or that of the configuration."""
        if self.machine.membership.epoch:
            return self.machine.membership
        return Membership(
            {
                name: Member(peer_of(each["client"]), each["client"], each["events"])
                for name, each in self.members.items()
            }
        )

    @property
    def memory(self):
        if self.lost:
            own = self.membership.members.get(self.name)
            self.lost = own is None or own.directory_id != self.directory_id
        return "lost" if self.lost else "whole"

    def transfer(self, name):
        if self.shared["leader"] != self.name:
            return "this node does not lead"
        heir = name or next(each for each in self.membership.voters if each != self.name)
        self.shared |= {"leader": heir, "endpoint": self.membership.members[heir].client}
        return ""

    def _status(self):
        membership = self.membership
        leader = self.shared["leader"]
        ballot = [membership.epoch * EPOCH_ROUNDS + 1, leader]
        status = {
            "node": self.name,
            "cluster": "test",
            "incarnation": 1,
            "version": "0",
            "role": "leader" if leader == self.name else "follower",
            "ballot": ballot,
            "promised": ballot,
            "leader": leader,
            "leader_endpoint": self.shared["endpoint"],
            "commit": self.machine.applied,
            "applied": self.machine.applied,
            "proposed": self.machine.applied,
            "revision": self.machine.revision,
            "keys": len(self.machine.store),
            "sessions": len(self.machine.sessions),
            "level": self.machine.settings.level,
            "level_lagging": [],
            "settings": self.machine.settings._asdict(),
            "file_settings": {"value_bytes_max": 1 << 20},
            "message_room": {"message_bytes_max": 16 << 20, "part_bytes_max": 4 << 20},
            "log_time_ms": 0,
            "lag_slots": 0,
            "peers": {
                name: {
                    "reachable": False,
                    "heard_ms_ago": -1,
                    "commit": 0,
                    "voter": member.voter,
                    "client_endpoint": member.client,
                }
                for name, member in membership.members.items()
                if name != self.name
            },
            "voters": list(membership.voters),
            "quorum": max(membership.quorums.phase1, membership.quorums.phase2),
            "fault_tolerance": 0,
            "epoch": membership.epoch,
            "membership": {
                "epoch": membership.epoch,
                "slot": membership.slot,
                **membership.document(),
            },
            "directory": self.directory_id,
            "memory": self.memory,
            "wall_ms": time.time_ns() // 1_000_000,
            "disk": {"path": "nowhere", "free_bytes": 1, "wal_bytes": 1, "wal_segments": 1},
            "uptime_ms": 1000,
            "rss_bytes": 1,
            "faults_enabled": True,
            "faults": len(self.plan),
            "members": {
                name: {"client": member.client, "events": member.events}
                for name, member in membership.members.items()
            },
            "counters": {},
        } | self.status
        return {name: value for name, value in status.items() if name not in self.without}
