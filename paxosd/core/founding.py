"""How newcomers found a cluster: once, together, and only if they agree on everything.

    newcomer ── Founding(members, settings, directories as I know them) ──► every other member
    all others say the same, with the same directory for each  ──► the record is made durable
    newcomer ── Founding ──► one that is founded ── Genesis(record) ──► newcomer adopts it

An empty data directory never founds a cluster by its configuration file alone. It must hear from
every other member, each with an empty directory too, that they found the same cluster out of the
same directories. A node whose configuration names only itself has nobody to compare with: an
operator founds that cluster once (``paxosd init``); repeated starts do not repeat it.

Why a founder may act before another one has made the record durable: it needs a quorum of
directories that the record names, and each of those refuses to act without the record. A member
that loses its directory meanwhile has another directory, which the record does not name.
"""

import json
from typing import NamedTuple

from paxosd.core.context import Context
from paxosd.core.genesis import Founder, GenesisError, Record, load_document
from paxosd.core.messages import Founding as FoundingMessage
from paxosd.core.messages import Genesis
from paxosd.core.types import NodeId

REPORT_AFTER_MS = 5_000.0
REPORT_EVERY_MS = 60_000.0
_KEYS = {"directories", "members", "old", "settings"}


class Proposal(NamedTuple):
    """What one newcomer is to found. ``directories``: 0 for a member that it has not heard from.
    ``old``: the sender is no newcomer, and only says what its configuration has
    (``level_raise.py``)."""

    members: dict[NodeId, bool]
    settings: str
    directories: dict[NodeId, int]
    old: bool = False

    def to_json(self) -> bytes:
        """For a Founding message."""
        return json.dumps(self._asdict(), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Proposal":
        """Raises GenesisError."""
        found = load_document(text, _KEYS)
        members, settings, directories = found["members"], found["settings"], found["directories"]
        if not isinstance(members, dict) or not all(type(v) is bool for v in members.values()):
            raise GenesisError("members is a table of true and false")
        if type(settings) is not str or not isinstance(directories, dict):
            raise GenesisError("settings is text, directories a table")
        if not all(type(number) is int and number >= 0 for number in directories.values()):
            raise GenesisError("directories are numbers")
        if type(found["old"]) is not bool:
            raise GenesisError("old is true or false")
        return cls(members, settings, directories, found["old"])


class Founding:
    """One newcomer's part. ``record``: the agreed record, which must be made durable; then
    :meth:`Node.use_genesis` is called. None: there is no agreement yet."""

    __slots__ = ("_context", "_directory_id", "_heard", "_members", "_report_due_ms", "_reported",
                 "_settings", "active", "old", "record")  # fmt: skip

    def __init__(
        self, context: Context, directory_id: int, *, active: bool, old: bool = False
    ) -> None:
        """``active``: whether this node is a newcomer, without a record and without a past;
        ``old``: it has a past, and its cluster is older than founding records."""
        self._context = context
        self._directory_id = directory_id
        members = context.membership.members
        self._members = {name: member.voter for name, member in members.items()}
        self._settings = context.options.founding_settings.to_command().decode()
        self._heard: dict[NodeId, tuple[int, Proposal]] = {}
        """Per member: the run_id of its proposal, and the proposal."""
        self._reported: dict[NodeId, str] = {}
        self._report_due_ms = context.now_ms + REPORT_AFTER_MS
        self.active = active
        self.old = old
        self.record: Record | None = None

    @property
    def _others(self) -> list[NodeId]:
        return [name for name in self._members if name != self._context.node]

    @property
    def alone(self) -> bool:
        """Whether this newcomer's configuration names only itself: then it founds nothing."""
        return self.active and not self._others

    def missing(self) -> list[NodeId]:
        """The members that it waits for: those that were not heard or propose something else; if
        there are none, those that have not heard from all members yet."""
        own = self._proposal()
        others = self._others
        silent = [n for n in others if n not in self._heard or self._difference(n, own, said=True)]
        return silent or [name for name in others if self._difference(name, own)]

    def _proposal(self) -> Proposal:
        directories = dict.fromkeys(self._members, 0)
        if self.old:
            # It has a past: an empty directory must not found anything together with it.
            return Proposal(self._members, self._settings, directories, self.old)
        directories[self._context.node] = self._directory_id
        for name, (_, proposal) in self._heard.items():
            directories[name] = proposal.directories.get(name, 0)
        return Proposal(self._members, self._settings, directories, self.old)

    def end(self) -> None:
        """The cluster is founded: there is nothing left to do."""
        self.active = False

    def has_proposed(self, name: NodeId) -> bool:
        """Whether this member is a newcomer, too, as far as is known."""
        return name in self._heard

    def may_replace(self) -> bool:
        """Whether a member may still replace the data directory that its peers know it by. Nothing
        can have been decided while so many voters are seen to be newcomers, in the directories
        that they are known by, that the others are no quorum."""
        quorums = self._context.quorums
        newcomers = {self._context.node, *self._heard} & set(quorums.voters)
        return self.active and len(quorums.voters) - len(newcomers) < quorums.phase2

    # -- asking

    def tick(self) -> None:
        """Once a heartbeat: send the others what this node is to found."""
        context = self._context
        if self.old and (context.genesis or context.epoch):
            self.old = False
        if context.genesis and context.epoch:
            self.active = False  # the log says so: a cluster older than records
        if not (self.active or self.old) or self.record is not None:
            return
        message = FoundingMessage(self._proposal().to_json())
        for name in sorted({*self._others, *context.contacts} - {context.node}):
            context.outbox.send(name, message)
        if self.active and context.now_ms >= self._report_due_ms:
            self._report_due_ms = context.now_ms + REPORT_EVERY_MS
            advice = ALONE_ADVICE if self.alone else _ADVICE
            context.outbox.notice(
                "node.waiting", "warning", members=self.missing(),
                unconfirmed_ms=context.unconfirmed_ms, advice=advice,
            )  # fmt: skip

    # -- hearing

    def receive(self, sender: NodeId, run_id: int, message: FoundingMessage) -> None:
        """Another newcomer's proposal."""
        wanted = (self.active or self.old) and self.record is None
        if not wanted:
            return
        try:
            proposal = Proposal.from_json(message.document)
        except GenesisError as error:
            self._report(sender, f"what {sender} proposes cannot be read: {error}")
            return
        if sender not in self._members:
            self._report(sender, self._other_members(sender, proposal))
            return
        if proposal.old is not self.old:
            return
        self._heard[sender] = run_id, proposal
        own = self._proposal()
        differs = [self._difference(name, own) for name in self._others]
        self._report(sender, self._difference(sender, own, said=True))
        if self.active and not any(differs):
            members = {
                name: Founder(voter, own.directories[name]) for name, voter in self._members.items()
            }
            self.record = Record(self._context.options.cluster, members, self._settings)

    def agreed(self) -> bool:
        """Whether the configurations of all members agree; also True if they no longer matter: the
        cluster has a record, or its membership was changed since."""
        if not self.old or self._context.epoch:
            return True
        own = self._proposal()
        heard = all(name in self._heard for name in self._others)
        return heard and not any(self._difference(n, own, said=True) for n in self._others)

    def receive_record(self, sender: NodeId, message: Genesis) -> None:
        """The cluster was founded already: with this directory, or with another of this name."""
        context = self._context
        if not self.active or self.record is not None:
            return
        try:
            record = Record.from_json(message.record)
        except GenesisError as error:
            self._report(sender, f"the founding record of {sender} cannot be read: {error}")
            return
        if record.cluster != context.options.cluster:
            return
        founder = record.members.get(context.node)
        if founder is not None and founder.directory_id == self._directory_id:
            self.record = record
        else:
            context.foreign_record = record

    def _difference(self, name: NodeId, own: Proposal, *, said: bool = False) -> str:
        """Why this node and ``name`` cannot found a cluster together; "": they can. ``said``: name
        only a difference that does not go away by waiting."""
        if name not in self._heard:
            return "" if said else "not heard yet"
        proposal = self._heard[name][1]
        node = self._context.node
        if proposal.members != own.members:
            return self._other_members(name, proposal)
        if proposal.settings != own.settings:
            return (
                f"the configurations differ: {node} has limits {own.settings}, "
                f"{name} has {proposal.settings}"
            )
        if said:
            return ""
        complete = all(own.directories.values())
        agreed = complete and proposal.directories == own.directories
        return "" if agreed else "it has not heard from all yet"

    def _other_members(self, name: NodeId, proposal: Proposal) -> str:
        return (
            f"the configurations differ: the cluster.members of {self._context.node} are "
            f"{_listed(self._members)}, those of {name} are {_listed(proposal.members)}"
        )

    def _report(self, sender: NodeId, what: str) -> None:
        """Log what is wrong with ``sender``, once for each text."""
        if what and self._reported.get(sender) != what:
            self._context.outbox.notice(
                "founding.differs", "error", member=sender, message=what, advice=_DIFFERS_ADVICE
            )
        self._reported[sender] = what


def _listed(members: dict[NodeId, bool]) -> str:
    return ", ".join(name if votes else f"{name} (no vote)" for name, votes in members.items())


_ADVICE = (
    "this data directory is empty; the cluster is founded once every member of the configuration "
    "is up with an empty directory: start them all. To begin without one of them, take it out of "
    "the files of all others, start those again, and add it later (paxosctl member add). To join "
    "a cluster that is there already, add this node there"
)
ALONE_ADVICE = (
    "this data directory is empty, and the configuration names this node alone. To found a new "
    "cluster of one, stop it and run once: paxosd init --config FILE. If this node belongs to a "
    "cluster that is there already, let it rejoin: paxosctl member rejoin NAME"
)
_DIFFERS_ADVICE = (
    "correct the file that is wrong and start that node again: until all agree nobody votes"
)
