"""A cluster of one in a thread: the real state machine, verbs and events behind real sockets,
without Paxos, log or disk. What it should do wrong is set on it."""

import io
import socket
import sys
import threading
import time
import zlib
from collections import deque
from pathlib import Path

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from paxosd.core.admin_verbs import ADMIN_VERBS
from paxosd.core.commands import Batch, Reign
from paxosd.core.effects import COMPACTED, NOT_LEADER
from paxosd.core.membership import Member, Membership
from paxosd.core.message_room import MessageRoom
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
from paxosd.core.state.revision_view import RevisionAheadError
from paxosd.core.state.undo_log import RevisionGoneError
from paxosd.core.status import DiskStatus, NodeStatus, PeerStatus, Reached, SecurityStatus
from paxosd.core.types import EPOCH_ROUNDS, Ballot
from paxosd.daemon.log_level import LogLevel
from paxosd.daemon.logs import Logs
from paxosd.faults.plan import FaultPlan
from paxosd.net.key_files import key_text
from paxosd.net.probe import Probes
from paxosd.replica.admin import Admin, AdminPorts
from paxosd.replica.authority import Authority
from paxosd.replica.log_server import serve_history
from paxosd.replica.permissions import Permissions
from paxosd.replica.watch_publisher import EventPublisher
from paxosd.wire import WireError, decode_entry, decode_request, encode_client
from paxosd.wire.entry import EntryLimits
from paxosd.wire.status import encode_status


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


_BOUND = []
"""Sockets that keep their ports from everybody else, and do not listen."""


def closed_port():
    """An endpoint on which nobody listens, nor will before this process ends."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    _BOUND.append(bound)
    return f"tcp://127.0.0.1:{bound.getsockname()[1]}"


class FakeDaemon:
    """``silent``: answers nothing. ``silent_writes``: carries writes out without an answer;
    ``deaf_writes``: does neither.
    ``refusal``: a code with which writes and linearizable reads are refused. ``hint``: the
    leader's endpoint that goes with it. ``status``: overrides of the status. ``lost``: it has
    lost its memory, until a membership names its data directory.

    ``follows``: another one, of whose cluster this is a node, and with whose state; a member from
    the start if ``member``. ``message_bytes_max``: a larger message ends the connection.

    ``key``: its KeyFile; then ``admits`` has the public keys that may connect to it, by socket, and
    ``trusted`` the admins of its trust file."""

    def __init__(
        self,
        name="n1",
        *,
        faults=True,
        members=None,
        follows=None,
        member=True,
        message_bytes_max=-1,
        key=None,
        port=0,
    ):
        self.name = name
        self.key = key
        self.rollout = "" if key is None else "done"
        self.security_key = ""
        """The key by which it says that it proves itself, in Z85."""
        self.admits = {"client": set(), "events": set()}
        self.trusted = {}
        self._asker = b""
        self.silent = False
        self.silent_writes = False
        self.deaf_writes = False
        self.refusal = ""
        self.refusals = 0  # how often it has refused something with that
        self.hint = ""
        self.status = {}
        self.without = set()
        self.crashed = threading.Event()
        self.writes = []  # every entry that arrived
        self.directory_id = zlib.crc32(name.encode())
        self.lost = False
        self._bind(message_bytes_max, port)
        self._join(follows, members or {}, member)
        self.plan = FaultPlan(node=name, nodes=list(self.members))
        self.publisher = EventPublisher(
            lambda topic, payload: self.events.send_multipart([topic, payload]),
            self.machine,
            cluster="test",
            node=name,
            boot_count=1,
            subscriptions_max=10,
        )
        self.admin = self._make_admin(faults)
        self._news = deque()
        self.sum_keys = 1000
        """How many keys it sums up at a time."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _bind(self, message_bytes_max, port):
        self.context = zmq.Context()
        self.authenticator = None
        if self.key is not None:
            self.authenticator = ThreadAuthenticator(self.context)
            self.authenticator.start()
        self.router = self.context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.MAXMSGSIZE, message_bytes_max)
        self.events = self.context.socket(zmq.XPUB)
        self.events.setsockopt(zmq.XPUB_VERBOSE, 1)
        host = "tcp://127.0.0.1"
        for domain, each in (("client", self.router), ("events", self.events)):
            if self.key is not None:
                self._guard(domain, each)
        if port:
            self.router.bind(f"{host}:{port}")
        else:
            port = self.router.bind_to_random_port(host)
        self.endpoint = f"{host}:{port}"
        self.events_endpoint = f"{host}:{self.events.bind_to_random_port(host)}"

    def _guard(self, domain, socket):
        daemon = self

        class Provider:
            def callback(self, _, key):
                return z85.decode(key) in daemon.admits[domain]

        self.authenticator.configure_curve_callback(domain=domain, credentials_provider=Provider())
        socket.curve_server = True
        socket.curve_secretkey = z85.encode(self.key.secret_key)
        socket.zap_domain = domain.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def _join(self, follows, members, member):
        """The state of a cluster of its own, or that of ``follows``."""
        own = {"client": self.endpoint, "events": self.events_endpoint}
        if follows is None:
            self.members = {self.name: own} | members
            self.machine = Machine()
            self.batches = {}
            self.shared = {"leader": self.name, "endpoint": self.endpoint}
            self.keys = {self.name: [self.key.public_key]} if self.key is not None else {}
            return
        self.machine, self.batches = follows.machine, follows.batches
        self.shared, self.members = follows.shared, follows.members
        self.keys = follows.keys
        if self.key is not None:
            self.keys[self.name] = [self.key.public_key]
        if member:
            self.members[self.name] = own

    def _make_admin(self, faults):
        logs = Logs(node=self.name, stream=io.StringIO())
        level = LogLevel(logs, lambda _: None, self._now_ms)
        return Admin(
            AdminPorts(
                status=self._status,
                machine=self.machine,
                plan=self.plan,
                faults_enabled=faults,
                now_ms=self._now_ms,
                crash=self.crashed.set,
                transfer=lambda name: self.transfer(name),  # noqa: PLW0108 - a test replaces it
                probes=Probes(),
                rights=lambda key: self.permissions.shown_to(key),  # noqa: PLW0108 - of each moment
                log_level=lambda *given: {"node": self.name, **level.change(*given)},
            )
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """As a daemon that was killed, and does not come back. Also twice."""
        self._stop.set()
        self._thread.join()
        if self.authenticator is not None and self.authenticator.is_alive():
            self.authenticator.stop()
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
                client, frame = self.router.recv_multipart(copy=False)
                text = frame.get("User-Id") if self.key is not None else ""
                self._asker = z85.decode(text.encode()) if text else b""
                self._receive(client.bytes, frame.bytes)
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

    @property
    def permissions(self):
        """By the trust file, ``trusted``, and the rights table as they are now."""
        peers = {name: keys[0] for name, keys in self.keys.items()}
        authority = Authority(peers, self.trusted)
        authority.use(self.machine.rights)
        return Permissions(self.machine, authority, lambda: 0)

    def _refusal(self, request, key):
        """By the rights of who asks."""
        permissions = self.permissions
        if isinstance(request, AdminRequest):
            return permissions.verb_refusal(key, ADMIN_VERBS.get(request.verb))
        if isinstance(request, HistoryRequest):
            return permissions.history_refusal(key, request.start, request.end)
        if isinstance(request, ReadRequest):
            return permissions.read_refusal(key, request.queries)
        try:
            entry = decode_entry(request.entry, EntryLimits.of(self.machine.settings))
        except WireError:
            return None
        return permissions.entry_refusal(key, entry, leading=True)

    def _answer(self, request):
        key = self._asker
        refusal = self._refusal(request, key)
        if refusal is not None:
            return RefusalAnswer(request.request_id, refusal.code, refusal.message, "", "", 0)
        if isinstance(request, AdminRequest):
            return self.admin.handle(request, key)
        if isinstance(request, HistoryRequest):
            return serve_history(request, self.machine, self.batches.__getitem__)
        linearizable = isinstance(request, WriteRequest) or request.mode == 0
        if self.refusal and linearizable:
            self.refusals += 1
            leader = "n2" if self.refusal == NOT_LEADER else ""
            words = f"it says {self.refusal}"
            return RefusalAnswer(request.request_id, self.refusal, words, leader, self.hint, 0)
        if isinstance(request, ReadRequest):
            return self._read(request)
        try:
            entry = decode_entry(request.entry, EntryLimits.of(self.machine.settings))
        except WireError as error:
            return RefusalAnswer(request.request_id, "invalid", str(error), "", "", 0)
        entry, _ = self.permissions.named(key, entry, request.entry)
        self.writes.append(entry)
        if self.deaf_writes:
            return None
        slot = self.machine.applied + 1
        reign = Reign(1, "n1", slot) if self.machine.settings.level else None
        self.batches[slot] = batch = Batch(slot, [entry], reign)
        (results,) = self.machine.apply(slot, batch)
        self.publisher.flush()
        return None if self.silent_writes else WriteAnswer(request.request_id, slot, results)

    def _read(self, request):
        try:
            while not self.machine.prepare(request.queries):
                pass
        except RevisionGoneError as error:
            said = str(error)
            return RefusalAnswer(request.request_id, COMPACTED, said, "", "", error.floor)
        except RevisionAheadError as error:
            return RefusalAnswer(request.request_id, "invalid", str(error), "", "", 0)
        results = self.machine.query(request.queries, 1000)  # small pages
        applied, revision = self.machine.applied, self.machine.revision
        return ReadAnswer(request.request_id, applied, revision, 0, results)

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
        table = encode_status(self._node_status()) | self.status
        return {name: value for name, value in table.items() if name not in self.without}

    def _node_status(self):
        membership, machine = self.membership, self.machine
        leader = self.shared["leader"]
        ballot = Ballot(membership.epoch * EPOCH_ROUNDS + 1, leader)
        peers = {
            name: PeerStatus(voter=member.voter, client=member.client)
            for name, member in membership.members.items()
            if name != self.name
        }
        members = {
            n: Reached(m.client, m.events, tuple(key_text(key) for key in self.keys.get(n, ())))
            for n, m in membership.members.items()
        }
        return NodeStatus(
            node=self.name, cluster="test", version="0", boot_count=1,
            directory_id=self.directory_id,
            role="leader" if leader == self.name else "follower", memory=self.memory,
            ballot=ballot, promised=ballot, leader=leader, leader_client=self.shared["endpoint"],
            commit=machine.applied, applied=machine.applied, proposed=machine.applied,
            revision=machine.revision, keys=len(machine.store), sessions=len(machine.sessions),
            feature_level=machine.settings.level, settings=machine.settings,
            file_settings={"value_bytes_max": 1 << 20},
            message_room=MessageRoom(message_bytes_max=16 << 20, part_bytes_max=4 << 20),
            voters=membership.voters, peers=peers, members=members, epoch=membership.epoch,
            quorum=max(membership.quorums.phase1, membership.quorums.phase2),
            membership=membership, wall_ms=time.time_ns() // 1_000_000, uptime_ms=1000,
            disk=DiskStatus(path="nowhere", free_bytes=1, wal_bytes=1, wal_segments=1),
            rss_bytes=1, faults_enabled=True, fault_count=len(self.plan),
            security=SecurityStatus(key=self.security_key, rollout=self.rollout),
        )  # fmt: skip
