"""Every message between daemons: one immutable class each.

The flow of one slot, with n1 leading three nodes:

    client ── entry ──► n1 (leader)
                        n1 ── Accept(ballot, slot, value, commit) ──► n2, n3     DEALER → ROUTER
    n1, n2, n3: fsync, then
                        each publishes Accepted(ballot, ranges, …)               PUB → every SUB
    n1, n2, n3: a quorum of votes for (slot, ballot) = chosen; apply in slot order
    client ◄── reply ── n1

and of a change of leader:

    n2 ── PreVote ──► n1, n3        "would you promise me?"  no: I hear a live leader
    n2 ◄── PreVoteReply ── n1, n3
    n2: promises its own ballot, fsync, then
    n2 ── Prepare(ballot, from_slot) ──► n1, n3
    n2 ◄── Promise(accepted above from_slot, …) | Nack(promised) ── n1, n3
    n2: adopts the highest-ballot value per slot, fills holes with NOOP, leads.

Source: Lamport, "Paxos Made Simple", section 2.2 (phases 1a, 1b, 2a, 2b) and section 3 (phase 1
once over all instances). Ongaro's thesis, section 6.4 (read-index) and 9.6 (pre-vote).

The sender's name and run_id travel in the envelope (:class:`Envelope`), not in the message.
"""

from typing import NamedTuple

from paxosd.core.types import Ballot, NodeId, Slot


class PreVote(NamedTuple):
    """Would you promise this ballot? Changes nothing at the receiver."""

    ballot: Ballot
    commit: Slot


class PreVoteReply(NamedTuple):
    """``granted`` only if the sender hears no live leader. Echoes the asked ballot."""

    ballot: Ballot
    granted: bool
    promised: Ballot
    commit: Slot


class Prepare(NamedTuple):
    """Phase 1a over all slots from ``from_slot`` on."""

    ballot: Ballot
    from_slot: Slot


class AcceptedValue(NamedTuple):
    """One accepted proposal, as a promise reports it."""

    slot: Slot
    ballot: Ballot
    value: bytes


class Promise(NamedTuple):
    """Phase 1b: what the sender accepted in ``from_slot ..= until_slot`` (0: no upper end).

    Slots up to ``commit`` are chosen and not reported: the candidate pulls them as decisions.
    A promise too large for one frame stops at ``until_slot``; the candidate asks again from
    there, and the promise itself holds meanwhile.
    """

    ballot: Ballot
    from_slot: Slot
    until_slot: Slot
    commit: Slot
    accepted: tuple[AcceptedValue, ...]


class Accept(NamedTuple):
    """Phase 2a. ``commit``: every slot up to it is chosen, at or below this ballot."""

    ballot: Ballot
    slot: Slot
    value: bytes
    commit: Slot


class Nack(NamedTuple):
    """A prepare or accept of ``ballot`` was refused, for ``promised`` is higher."""

    ballot: Ballot
    promised: Ballot


class Accepted(NamedTuple):
    """Phase 2b, published after fsync: the sender accepted ``ballot`` in each slot of ``ranges``.

    ``ranges`` are inclusive ``(first, last)`` pairs. ``stream_seq`` counts this publisher's
    Accepted messages from 1 in this run, so that a subscriber notices a gap.
    """

    ballot: Ballot
    ranges: tuple[tuple[Slot, Slot], ...]
    stream_seq: int


class VotesRequest(NamedTuple):
    """Some of your votes did not reach me: repeat those for slots from ``from_slot`` on."""

    from_slot: Slot


class Votes(NamedTuple):
    """The answer: the sender's durable votes as ``(ballot, first, last)``; seq up to which
    the stream is hereby caught up; and its commit index."""

    votes: tuple[tuple[Ballot, Slot, Slot], ...]
    stream_seq: int
    commit: Slot


SAMPLES_MAX = 1024
"""The sums of one heartbeat."""


class Sample(NamedTuple):
    """A sum of one kind, by the algorithm of one version, over what a node had after one slot
    (``agreement.py``)."""

    kind: int
    version: int
    slot: Slot
    sum: int


class Heartbeat(NamedTuple):
    """From every node to every other: liveness and high-water marks.

    ``ballot``: the sender's, if it leads, else the ballot of the leader that it follows.
    ``leader``: that leader's name, "" if it knows none. ``stream_seq``: the last published
    Accepted. ``round``: a leader's count of quorum confirmations asked for (see HeartbeatAck).
    ``proposed``: a leader's highest proposed slot. ``votes``: whether the sender may vote now: a
    voter that has lost its memory, or is not confirmed yet, is up and may not.
    """

    ballot: Ballot
    leader: NodeId
    commit: Slot
    stream_seq: int
    round: int
    proposed: Slot
    votes: bool = True
    wall_ms: int = 0
    """The sender's wall clock; 0: unknown. It decides nothing: clocks that differ are reported."""
    sums: tuple[Sample, ...] = ()
    """Of the sender's state, to be compared with those of others."""
    sound: bool = True
    """Whether they count: not if the sender has lost its memory or has diverged."""


class HeartbeatAck(NamedTuple):
    """To a leader only: when I saw ``round`` I had promised nothing above ``ballot``.

    ``sync_us``: what a group commit takes here, in microseconds (0: unknown); ``low_space``: the
    disk is nearly full. By these a leader sees whether another could do better.
    """

    ballot: Ballot
    round: int
    commit: Slot
    sync_us: int = 0
    low_space: bool = False


class CatchUp(NamedTuple):
    """Send me the chosen values of ``from_slot ..= to_slot`` that you know."""

    from_slot: Slot
    to_slot: Slot


class Decisions(NamedTuple):
    """Chosen values of consecutive slots from ``first_slot`` on, each with the ballot under
    which the sender holds it; and the sender's commit index. ``before``: the sender's chain before
    the first of them, if it is known: with another history before it these slots are of no use."""

    first_slot: Slot
    values: tuple[tuple[Ballot, bytes], ...]
    commit: Slot
    before: tuple[Sample, ...] = ()


class ReadIndex(NamedTuple):
    """A node asks the leader: up to which slot must I have applied?

    ``waits``: a client's read waits for it. If none does (the node wants to know how old its state
    is), the leader's next heartbeats are soon enough to have it confirmed.
    """

    read_id: int
    waits: bool = True


class ReadIndexReply(NamedTuple):
    """``slot`` is that place, confirmed by a quorum after the question arrived."""

    read_id: int
    slot: Slot


class TransferLeadership(NamedTuple):
    """The leader of ``ballot`` to the node that is to follow it: campaign, without a pre-vote, as
    soon as you have applied ``slot``."""

    ballot: Ballot
    slot: Slot = 0


class SnapshotOffer(NamedTuple):
    """You asked for slots that are no longer in my log: take this snapshot instead. ``digest``: of
    the file's contents; two donors with the same digest have the same bytes."""

    slot: Slot
    size_bytes: int
    digest: bytes


class SnapshotRequest(NamedTuple):
    """Send me the piece of that snapshot's file that begins at ``offset``."""

    slot: Slot
    offset: int
    digest: bytes


class SnapshotChunk(NamedTuple):
    """That piece. ``data`` b"": the sender does not have that snapshot any more."""

    slot: Slot
    offset: int
    digest: bytes
    data: bytes


SnapshotMessage = SnapshotOffer | SnapshotRequest | SnapshotChunk
"""The shell handles these: the core has no part in moving snapshots."""


class Hello(NamedTuple):
    """From a node that has started to every other node: compare me with what you remember of me.

    ``directory_id``: the identity of its data directory (0: unknown). ``start_mark``: the last
    group of its log at the start; a peer that heard a higher one from that directory knows that
    memory was lost. ``challenge``: as the receiver's last Welcome gave it, which proves that
    messages of the receiver to this node's address arrive here. ``level``: the highest feature
    level that the sender understands. ``peer``, ``events``: its endpoints, for a receiver that does
    not know them.
    """

    directory_id: int = 0
    start_mark: int = 0
    challenge: int = 0
    level: int = 0
    peer: str = ""
    events: str = ""


class Rejoin(NamedTuple):
    """To the leader: my memory was found damaged and set aside; let this new ``directory`` vote in
    my name, with what it has learned anew."""

    directory_id: int


class Welcome(NamedTuple):
    """The answer to Hello. ``run_id``: the receiver's last run that the sender knows;
    ``directory_id``: its data directory (0: unknown). With run_id 0 (also without a Hello before):
    say Hello to me again.

    ``mark``: the highest log mark that the sender heard from that directory. ``challenge``: to be
    repeated in the next Hello (0: none is required). ``witness``: whether the sender has a memory
    to compare with. ``level``: as in Hello.
    """

    run_id: int
    directory_id: int = 0
    mark: int = 0
    challenge: int = 0
    witness: bool = True
    level: int = 0


class Founding(NamedTuple):
    """From a newcomer to every other member of its configuration: the cluster that it is to found,
    as JSON (``founding.py``)."""

    document: bytes


class Genesis(NamedTuple):
    """The answer of one that is founded: the record of the founding, as JSON (``genesis.py``)."""

    record: bytes


class NodeLimits(NamedTuple):
    """What the sender's own file allows, as JSON (``peer_limits.py``)."""

    document: bytes


class Removed(NamedTuple):
    """To a node that is no member any more, since ``slot``, by the membership of ``epoch``."""

    epoch: int
    slot: Slot


PeerMessage = (
    PreVote
    | PreVoteReply
    | Prepare
    | Promise
    | Accept
    | Nack
    | Accepted
    | VotesRequest
    | Votes
    | Heartbeat
    | HeartbeatAck
    | CatchUp
    | Decisions
    | ReadIndex
    | ReadIndexReply
    | TransferLeadership
    | SnapshotMessage
    | Hello
    | Welcome
    | Removed
    | Rejoin
    | Founding
    | Genesis
    | NodeLimits
)
"""What ``Node.step`` takes."""


class Envelope(NamedTuple):
    """A message of a peer, with what the peer says of itself. ``run_id``: the sender's run; once
    the message is admitted, the run_id that it is handed on with (``storage/peer_runs.py``)."""

    sender: NodeId
    run_id: int
    body: PeerMessage
    genesis: int = 0
    """The hash of the founding record that the sender has; 0: none."""
    epoch: int = 0
    """The epoch of the membership in force there."""
    log_mark: int = 0
    """The last group of the sender's log that was durable when this left."""
    version: int = 2
    """Of the wire: 1 stands for a program before founding records, epochs and marks."""


LEARNING_KINDS: frozenset[type] = frozenset(
    {
        CatchUp,
        Decisions,
        Founding,
        Genesis,
        NodeLimits,
        ReadIndex,
        Rejoin,
        Removed,
        SnapshotChunk,
        SnapshotOffer,
        SnapshotRequest,
        VotesRequest,
    }
)
"""Kinds that do no harm from any sender: questions of a node that learns, and decisions."""
