"""A service over a real state machine, whose node applies at once what is submitted to it."""

from typing import NamedTuple

from paxosd.core.cluster_settings import LEVEL_KEYS, ClusterSettings
from paxosd.core.commands import GRANT, OPEN, PUT, RIGHTS, Batch, Entry, Reign
from paxosd.core.effects import ReadReady, WriteReply
from paxosd.core.membership import Member, Membership
from paxosd.core.requests import AdminAnswer, HistoryAnswer
from paxosd.core.rights import Principal, RightsTable, admin_of
from paxosd.core.state.machine import Machine
from paxosd.replica.authority import Authority
from paxosd.replica.permissions import Permissions
from paxosd.replica.service import Service
from paxosd.wire import EntryLimits

IN, SEEN, OUT = b"/app/jobs/1", b"/app/x", b"/other/x"
"""A key that may be read and written, one that may be read, and one that may not."""
_HOLDERS = ("peer", "admin", "operator", "client", "trusted", "revoked", "stranger")
KEYS = {name: bytes([number]) * 32 for number, name in enumerate(_HOLDERS, 1)} | {"none": b""}
READ, WRITE = (b"/app/",), (b"/app/jobs/",)


def table_of(required, version=1):
    principals = (
        admin_of("admin", (KEYS["admin"],)),
        Principal("client", "client", READ, WRITE, (KEYS["client"],)),
        Principal("operator", "operator", READ, WRITE, (KEYS["operator"],)),
        Principal("peer", "peer", keys=(KEYS["peer"],)),
    )
    return RightsTable(version, required, principals, frozenset({KEYS["revoked"]}))


class State(NamedTuple):
    """All that a request may change, and the log's end."""

    applied: int
    rows: tuple
    sessions: tuple
    leases: tuple
    control: tuple


class Node:
    """Leads, applies what is submitted, and knows that it is up to date."""

    leader, leading, difference = "n1", True, None
    membership = Membership({"n1": Member("tcp://h:1", "tcp://h:2", "tcp://h:3")}, epoch=0, slot=0)

    class limits:  # noqa: N801 - an attribute of the node
        @staticmethod
        def refusal(_bytes):
            return ""

    def __init__(self, site):
        self._site = site
        self.age = 0

    def submit(self, token, entry, _blob):
        slot, results = self._site.apply(entry)
        self._site.service.reply(token, WriteReply(slot, results))

    def read(self, token):
        self._site.service.reply(token, ReadReady(self._site.machine.applied))

    def age_ms(self, _now_ms=None):
        return self.age


class Site:
    """``sessions``, ``leases``: by the name of the key that has them; a lease has a key on it."""

    def __init__(self, required):
        self.machine = Machine()
        self.machine.settings = ClusterSettings(1, LEVEL_KEYS)
        self.node, self.answers, self.verbs = Node(self), [], []
        authority = Authority({}, {"trusted": KEYS["trusted"], "revoked": KEYS["revoked"]})
        self.permissions = Permissions(self.machine, authority, self.node.age_ms)
        self.service = Service(
            self.node,
            self.machine,
            self,
            limits=EntryLimits(),
            read_bytes_max=1 << 20,
            history=lambda request: HistoryAnswer(request.request_id, [], 1, 1),
            admin=self._admin,
            permissions=self.permissions,
        )
        self.sessions, self.leases, self.elapsed_ms = {}, {}, 0
        for number, (name, key) in enumerate(KEYS.items(), 1 << 40):
            opened = self.apply(Entry(0, number, 0, [[OPEN, "", key]]))[1]
            self.sessions[name] = opened[0][2]
        first = Entry(self.sessions["none"], 1, 0, [[PUT, key, b"1"] for key in (IN, SEEN, OUT)])
        self.apply(first)
        self.apply(Entry(0, 1, 0, [[RIGHTS, 0, table_of(False).to_command(), b""]]))
        for name in ("admin", "client", "operator"):
            granted = self.apply(Entry(self.sessions[name], 1, 0, [[GRANT, 60_000, 0]]))[1]
            self.leases[name] = granted[0][2]
        self.apply(Entry(0, 1, 0, [[RIGHTS, 1, table_of(required).to_command(), b""]]))
        authority.use(self.machine.rights)

    def _admin(self, request, _key):
        self.verbs.append(request.verb)
        return AdminAnswer(request.request_id, {})

    def apply(self, entry):
        """The slot of an entry and its results."""
        self.elapsed_ms += 1
        slot = self.machine.applied + 1
        return slot, self.machine.apply(slot, Batch(0, [entry], Reign(1, "n1", self.elapsed_ms)))[0]

    def answer(self, client, message):
        self.answers.append(message)
        return True

    def ask(self, name, message, key=None):
        """The answer to a request of who has this key."""
        self.answers.clear()
        self.service.receive(b"c", message, KEYS[name] if key is None else key)
        self.service.answer_waiting()
        (answer,) = self.answers
        return answer

    def state(self):
        machine = self.machine
        return State(
            machine.applied,
            tuple(sorted(machine.store.data.items())),
            tuple((n, s.acked, s.key) for n, s in machine.sessions.table.items()),
            tuple((n, s.renewed_ms, s.owner) for n, s in machine.leases.table.items()),
            (machine.rights, machine.settings, machine.membership, machine.revision),
        )
