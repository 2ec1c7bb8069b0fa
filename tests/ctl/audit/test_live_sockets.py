"""The live audit over real sockets: a publisher that the test plays, and the verb."""

import json
import threading
import time

import msgpack
import pytest
import zmq

from paxosctl.audit.live_audit import LiveAudit
from paxosctl.audit.live_sockets import LiveSockets, NobodyAnswersError
from paxosd.core.messages import Accepted
from paxosd.core.types import Ballot
from paxosd.wire.events import EventEncoder
from paxosd.wire.peer import encode_peer

CLUSTER = "c1"
B1 = Ballot(1, "n1")


class Publisher:
    """A node's client and events sockets. :meth:`serve` answers what is asked."""

    def __init__(self, context, node):
        self.node = node
        self.seq = 0
        self.listened = False
        self.fences = 0
        self.router = context.socket(zmq.ROUTER)
        self.events = context.socket(zmq.XPUB)
        self.events.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.ports = []
        for socket in (self.router, self.events):
            socket.linger = 0
            self.ports.append(f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}")
        self.members = {}
        self.encoder = EventEncoder(CLUSTER, node, 1)

    def serve(self):
        """Answer all requests and subscriptions that are there."""
        while self.router.poll(0):
            route, request = self.router.recv_multipart()
            _, _, kind, request_id, verb, _ = msgpack.unpackb(request)
            assert (kind, verb) == (35, "status")
            answer = msgpack.packb([1, CLUSTER, 51, request_id, self.status()])
            self.router.send_multipart([route, answer])
        while self.events.poll(0):
            notice = self.events.recv()
            self.listened = self.listened or notice == b"\1learned/"
            if notice.startswith(b"\1progress/"):
                self.fences += 1
                prefix = notice.removeprefix(b"\1progress/")
                self.events.send_multipart(self.encoder.progress(prefix, 0, 0, 0, 0))

    def status(self):
        documents = {
            name: {"peer": "tcp://p", "client": each.ports[0], "events": each.ports[1],
                   "voter": True, "directory": 0}
            for name, each in self.members.items()
        }  # fmt: skip
        return {
            "node": self.node, "cluster": CLUSTER, "run_id": 1 << 20, "directory": 5,
            "promised": [1, "n1"], "commit": 0, "disk": {"syncs": 1},
            "members": {n: {"client": m.ports[0], "events": m.ports[1]}
                        for n, m in self.members.items()},
            "membership": {"epoch": 0, "slot": 0, "phase1": 0, "phase2": 0,
                           "members": documents, "departed": {}},
        }  # fmt: skip

    def vote(self, slot):
        self.seq += 1
        frame = encode_peer(Accepted(B1, ((slot, slot),), self.seq), CLUSTER, self.node, 1 << 20)
        self.events.send_multipart([b"accepted/" + self.node.encode(), frame])

    def apply(self, slot, value=b"x"):
        self.events.send_multipart(self.encoder.learned(slot, B1, value))

    def close(self):
        self.router.close(0)
        self.events.close(0)


@pytest.fixture
def nodes():
    context = zmq.Context()
    made = {name: Publisher(context, name) for name in ("n1", "n2", "n3")}
    for each in made.values():
        each.members = made
    yield list(made.values())
    for each in made.values():
        each.close()
    context.destroy(linger=0)


class Serving:
    """Serves all nodes in a thread, and does there what ``script(nodes)`` yields its way to: it
    goes on at every round."""

    def __init__(self, nodes, script):
        self._nodes = nodes
        self._script = script(nodes)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _run(self):
        while not self._ended.wait(0.005):
            for node in self._nodes:
                node.serve()
            next(self._script, None)


def sound(nodes):
    """Slot after slot, once everybody is listened to."""
    while not all(node.fences >= 2 for node in nodes):
        yield
    slot = 0
    while True:
        slot += 1
        for node in nodes:
            node.vote(slot)
        for node in nodes:
            node.apply(slot)
        yield


def forked(nodes):
    """The same, and then n3 applies another value."""
    steps = sound(nodes)
    while nodes[0].seq < 20:
        yield next(steps)
    nodes[0].apply(21, b"one")
    nodes[2].apply(21, b"another")
    while True:
        yield


def voteless(nodes):
    """Again and again a slot is applied that n1 alone voted for."""
    steps = sound(nodes)
    while nodes[0].seq < 20:
        yield next(steps)
    slot = 20
    while True:
        slot += 1
        nodes[0].vote(slot)
        nodes[0].apply(slot)
        fences = [node.fences for node in nodes]
        while any(node.fences < before + 2 for node, before in zip(nodes, fences, strict=True)):
            yield
        slot += 1
        for node in nodes:
            node.vote(slot)


def now_ms():
    return time.monotonic() * 1000


def audited(nodes, script, until):
    """Listen until ``until(audit)``."""
    audit = LiveAudit()
    sockets = LiveSockets(audit, now_ms=now_ms)
    try:
        with Serving(nodes, script):
            sockets.open([nodes[0].ports[0]], 10.0)
            while not until(audit):
                sockets.step()
        audit.finish(now_ms())
    finally:
        sockets.close()
    return {r["rule"] for r in audit.data()["rules"] if r["broken"]}, audit


def test_a_sound_cluster(nodes):
    broken, audit = audited(nodes, sound, lambda audit: audit.summary()["chosen"] > 50)
    assert broken == set()
    assert sorted(audit.streams) == ["n1", "n2", "n3"]
    assert audit.summary()["missed"] == 0


def test_a_violating_frame_is_caught(nodes):
    broken, _ = audited(nodes, forked, lambda audit: audit.broken)
    assert broken == {"one-value"}


def test_a_missing_quorum_is_caught(nodes):
    broken, _ = audited(nodes, voteless, lambda audit: audit.broken)
    assert broken == {"chosen-by-quorum"}


def test_nobody_answers():
    sockets = LiveSockets(LiveAudit(), now_ms=lambda: 0.0)
    try:
        with pytest.raises(NobodyAnswersError, match=r"tcp://127\.0\.0\.1:9"):
            sockets.open(["tcp://127.0.0.1:9"], 0.1)
    finally:
        sockets.close()


# -- the verb


def test_the_verb_ends_with_1_and_the_evidence(ctl, nodes):
    with Serving(nodes, forked):
        code, out, err = ctl("audit", "--live", "-o", "json", endpoints=nodes[0].ports[0])
    assert code == 1
    *_, last = [json.loads(line) for line in out.splitlines()]
    (rule,) = [each for each in last["rules"] if each["broken"]]
    assert rule["rule"] == "one-value"
    assert {each["node"] for each in rule["violations"][0]["evidence"]} == {"n1", "n3"}
    assert json.loads(err.splitlines()[-1])["error"] == "violation"


def test_the_verb_says_how_far_it_is(ctl, nodes):
    with Serving(nodes, sound):
        code, out, err = ctl("audit", "--live", "--for", "2500ms", "--every", "500ms", "-o", "json",
                             endpoints=nodes[0].ports[0])  # fmt: skip
    assert (code, err) == (0, "")
    *summaries, last = [json.loads(line) for line in out.splitlines()]
    assert len(summaries) >= 2
    assert summaries[-1]["chosen"] > 0
    assert last["violations"] == 0
    assert {"applied-in-order": "partly checked", "reads": "not checked"}.items() <= {
        each["rule"]: each["verdict"] for each in last["rules"]
    }.items()


def test_the_verb_without_a_cluster(ctl):
    code, _, err = ctl("audit", "--live", "--timeout", "200ms", endpoints="tcp://127.0.0.1:9")
    assert code == 69
    assert "tcp://127.0.0.1:9" in err


def test_live_takes_no_sources(ctl):
    code, _, err = ctl("audit", "--live", "/dev/null")
    assert code == 2
    assert "--live" in err
