"""Which cluster this node belongs to: its founding record, or at least the hash of it.

    own data directory, log, or a peer's envelope ──► genesis (a number; 0: unknown)
    newcomers that agree, or Genesis(record) of a founder ──► record ──► made durable ──► take
    an envelope of a stranger ──► another cluster's (``conflict``), or a contact to learn from

The rules of founding are in ``founding.py``.
"""

from paxosd.core.admission import Admission
from paxosd.core.context import Context
from paxosd.core.founding import Founding
from paxosd.core.genesis import Record
from paxosd.core.messages import Founding as FoundingMessage
from paxosd.core.messages import Genesis, Hello, PeerMessage
from paxosd.core.roster import use_membership
from paxosd.core.types import NodeId

CONTACTS_MAX = 64
"""How many nodes of its cluster a node knows in addition to the members."""


class ClusterOrigin:
    """``record``: the founding record, if this node holds it. ``genesis``: its hash, which each
    envelope carries; 0: unknown."""

    __slots__ = ("_admission", "_context", "_founding", "genesis", "record")

    def __init__(
        self,
        context: Context,
        founding: Founding,
        admission: Admission,
        record: Record | None,
        genesis: int,
    ) -> None:
        self._context = context
        self._founding = founding
        self._admission = admission
        self.record = record
        self.genesis = record.hash if record is not None else genesis
        self.learn_from_log()

    def learn_from_log(self) -> None:
        """The log names the cluster's hash, too (the replicated settings do): for members that
        joined later, and for members of a cluster that is older than founding records."""
        if self.genesis and not self._context.genesis:
            self._context.genesis = f"{self.genesis:016x}"
        elif not self.genesis:
            self._context.genesis = self._context.machine.settings.genesis
            self.genesis = int(self._context.genesis or "0", 16)

    def take(self, record: Record) -> None:
        """The cluster is founded by this record."""
        self.record = record
        self.genesis = record.hash
        self._context.genesis = f"{record.hash:016x}"
        self._founding.end()
        if not self._context.epoch:
            known = self._context.membership.members
            use_membership(self._context, record.membership(known))
        self._admission.review()

    def hear_genesis(self, genesis: int) -> None:
        """A peer's envelope carries this hash, and this node knows none. A node that joined takes
        it over; a newcomer that is to found the cluster needs the record itself."""
        # A node that a later membership names does not wait for a founding any more.
        if not self.genesis and (self._context.epoch or not self._founding.active):
            self.genesis = genesis
            self._context.genesis = f"{genesis:016x}"

    def hear_stranger(self, sender: NodeId, genesis: int, epoch: int, message: PeerMessage) -> bool:
        """An envelope with this cluster's id from a node that is no peer, or that has another
        founding record (hash ``genesis``). True if the sender is a contact from now on, which is
        reached at the endpoints that its Hello names."""
        if genesis and self.genesis and genesis != self.genesis:
            self._admission.hear_conflict(sender, genesis, epoch)
            return False
        self._admission.hear_epoch(epoch)
        # A sender that knows of a later membership, or of a founding that this node does not know
        # of, may be the only node to learn it from. And two newcomers that count each other in
        # must find out that their configurations differ.
        newcomers = genesis == self.genesis == 0 and self._founding.active
        knows_more = (
            epoch > self._context.epoch or (genesis != 0 and self.genesis == 0) or newcomers
        )
        if not knows_more or not isinstance(message, Hello) or not message.peer:
            return False
        if sender not in self._context.contacts and sender != self._context.node:
            if len(self._context.contacts) >= CONTACTS_MAX:
                return False
            self._context.contacts.append(sender)
            use_membership(self._context, self._context.membership)
        return True

    def receive_founding(self, sender: NodeId, run_id: int, message: FoundingMessage) -> None:
        """A newcomer's proposal. A node that holds the record answers with it. ``run_id`` 0: of a
        sender whose word does not count."""
        if self.record is not None:
            self._context.outbox.send(sender, Genesis(self.record.to_json()))
        elif run_id:
            self._founding.receive(sender, run_id, message)

    def receive_genesis(self, sender: NodeId, message: Genesis) -> None:
        """The cluster is founded already."""
        self._founding.receive_record(sender, message)
        record, self._context.foreign_record = self._context.foreign_record, None
        if record is not None:
            # This directory was emptied: it learns, and another directory votes in its name.
            self.take(record)
