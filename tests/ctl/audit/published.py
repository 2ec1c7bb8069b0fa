"""A live audit of a simulated cluster: what its nodes publish, as the frames of real ones.

Nothing is lost on the way here, and a fence comes at once. Votes and applied slots only: the state
machine collects no changes.
"""

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest.mock import patch

from paxosctl.audit.live_audit import LiveAudit
from paxosctl.audit.live_frames import decode_answer
from paxosd.core.node_status import describe
from paxosd.core.requests import AdminAnswer
from paxosd.sim.cluster.life import CLUSTER
from paxosd.sim.cluster.process import SimProcess
from paxosd.sim.world.bus import SimBus
from paxosd.wire import encode_client
from paxosd.wire.events import EventEncoder
from paxosd.wire.peer import encode_peer
from paxosd.wire.status import encode_status
from tests.bench.audit_mutations import unwatched
from tests.bench.mutation import around
from tests.bench.mutation_runs import PROFILES
from tests.bench.mutation_tables import MUTATIONS

POLL_MS = 500.0


class Listener:
    """Feeds an audit. ``processes``: node → the process that runs now."""

    def __init__(self):
        self.audit = LiveAudit()
        self.audit.cluster = CLUSTER
        self.processes = {}
        self._polled_ms = 0.0
        self._fences = 0
        self._world = None

    def join(self, process):
        """A new life of a node."""
        if self._world is None:
            self._world = process.world
        if process.world is not self._world:
            return  # the run is repeated, for its trace
        now_ms = process.world.now_ms
        name = process.name
        if name in self.audit.streams:
            self.audit.broke(name, now_ms)
        else:
            self.audit.add_node(name, f"sim://{name}", now_ms)
        self.processes[name] = process
        process.replica.events.wants_learned = True

    def publish(self, bus, topic, payload):
        """What a node's PUB socket sends."""
        process = self.processes.get(bus._name)
        if process is not None and process.bus is bus:
            now_ms = process.world.now_ms
            self.audit.take(process.name, topic, payload, now_ms)
            if now_ms - self._polled_ms >= POLL_MS:
                self._polled_ms = now_ms
                self.poll(now_ms)

    def publish_accepted(self, bus, message):
        """The same for votes."""
        header = bus.inbox.header
        frame = encode_peer(message, CLUSTER, bus._name, bus._run_id, header.genesis,
                            header.epoch, header.log_mark)  # fmt: skip
        self.publish(bus, b"accepted/" + bus._name.encode(), frame)

    def poll(self, now_ms):
        """Ask all nodes, and begin a fence that comes at once."""
        for name, process in self.processes.items():
            if not process.up:
                self.audit.unheard(name, now_ms)
                continue
            self.audit.ask(name)
            node = process.replica.node
            # Not Node.status: to be asked for the age of its state is what a run would notice.
            status = replace(describe(node._context, node._election), membership=node.membership)
            body = encode_status(status) | {
                "node": name, "run_id": process.bus._run_id, "directory": node.directory_id,
                "disk": {"syncs": process.replica.wal.stats()["syncs"]},
            }  # fmt: skip
            frame = encode_client(AdminAnswer(1, body), CLUSTER)
            self.audit.hear(decode_answer(frame)[1], now_ms)
            self._fences += 1
            prefix = b"\0audit/%d" % self._fences
            self.audit.streams[name].begin_fence(prefix, now_ms)
            progress = EventEncoder(CLUSTER, name, process.boot_count).progress(prefix, 0, 0, 0, 0)
            self.audit.take(name, *progress, now_ms)
        self.audit.settle(now_ms)


@contextmanager
def _listening(listener):
    def boot(real, process):
        real(process)
        listener.join(process)

    def publish(real, bus, topic, payload):
        real(bus, topic, payload)
        listener.publish(bus, topic, payload)

    def publish_accepted(real, bus, message):
        real(bus, message)
        listener.publish_accepted(bus, message)

    with ExitStack() as stack:
        for each in (
            around(SimProcess, "_boot", boot),
            around(SimBus, "publish", publish),
            around(SimBus, "publish_accepted", publish_accepted),
        ):
            stack.enter_context(patch.object(each.owner, each.name, each.made()))
        yield


def listened(seed, profile, mutation=""):
    """What a live audit says of one run: rule → the first violation; and the audit."""
    listener = Listener()
    with ExitStack() as stack:
        if mutation:
            stack.enter_context(unwatched())
            stack.enter_context(MUTATIONS[mutation].applied())
        stack.enter_context(_listening(listener))
        report = PROFILES[profile].run(seed)
    assert mutation or report.ok, report.violation
    now_ms = max(process.world.now_ms for process in listener.processes.values())
    listener.audit.finish(now_ms)
    rules = listener.audit.data()["rules"]
    return {r["rule"]: r["violations"][0]["text"] for r in rules if r["broken"]}, listener.audit
