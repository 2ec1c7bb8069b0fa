"""How the transcripts write messages, records, values and answers: one short line each."""

from paxosd.core.commands import CHECKSUM, CLOSE, DELETE, FENCE, MEMBERS, OPEN, PUT, Status
from paxosd.core.effects import (
    AcceptRecord,
    CommitRecord,
    DecisionRecord,
    PromiseRecord,
    Refusal,
)
from paxosd.core.membership import Membership
from paxosd.core.messages import (
    Accept,
    Accepted,
    CatchUp,
    Decisions,
    Heartbeat,
    HeartbeatAck,
    Nack,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    ReadIndex,
    ReadIndexReply,
    TransferLeadership,
    Votes,
    VotesRequest,
)
from paxosd.core.types import NOOP, Ballot, Slot
from tests.core.member import PickleCodec

_SIMPLE = {OPEN: "open a session", CLOSE: "close", CHECKSUM: "checksum"}


def text(data: bytes) -> str:
    return data.decode()


def command_words(command) -> str:
    op = command[0]
    if op == PUT:
        return f"put {text(command[1])}={text(command[2])}"
    if op == DELETE:
        return f"delete {text(command[1])}"
    if op == FENCE:
        return f"fence session {command[1]} seq {command[2]}"
    if op == MEMBERS:
        members = Membership.from_command(command[2], 1, 1).members.items()
        return "members " + " ".join(n if m.voter else f"{n}(learner)" for n, m in members)
    return _SIMPLE[op]


def entry_words(entry) -> str:
    words = ", ".join(map(command_words, entry.commands))
    if not entry.session:
        return words
    last = entry.first_seq + len(entry.commands) - 1
    seqs = f"{entry.first_seq}" if last == entry.first_seq else f"{entry.first_seq}-{last}"
    return f"{words} (session {entry.session}, seq {seqs})"


def value_words(value: bytes) -> str:
    if value == NOOP:
        return "NOOP"
    batch = PickleCodec().decode_batch(value)
    return "[" + "; ".join(map(entry_words, batch.entries)) + "]"


def slots_words(first: Slot, last: Slot) -> str:
    return f"slot {first}" if first == last else f"slots {first}-{last}"


def _held(slot: Slot, ballot: Ballot, value: bytes) -> str:
    return f"slot {slot} = {value_words(value)} by {ballot.shown()}"


def _promise(message: Promise) -> str:
    accepted = "; ".join(_held(*each) for each in message.accepted) or "nothing"
    return (
        f"Promise {message.ballot.shown()}, chosen to {message.commit}, accepted above: {accepted}"
    )


def _prevote_reply(message: PreVoteReply) -> str:
    word = "yes" if message.granted else f"no, promised {message.promised.shown()}"
    return f"PreVoteReply {message.ballot.shown()}: {word}"


def _accepted(message: Accepted) -> str:
    ranges = ", ".join(slots_words(*each) for each in message.ranges)
    return f"Accepted {message.ballot.shown()} in {ranges}"


def _votes(message: Votes) -> str:
    votes = "; ".join(f"{b.shown()} in {slots_words(f, last)}" for b, f, last in message.votes)
    return f"Votes: {votes or 'none'}, chosen to {message.commit}"


def _decisions(message: Decisions) -> str:
    numbered = enumerate(message.values, message.first_slot)
    held = [_held(slot, ballot, value) for slot, (ballot, value) in numbered]
    return f"Decisions {'; '.join(held)}"


_WORDS = {
    PreVote: lambda m: f"PreVote {m.ballot.shown()}",
    PreVoteReply: _prevote_reply,
    Prepare: lambda m: f"Prepare {m.ballot.shown()} from slot {m.from_slot}",
    Promise: _promise,
    Accept: lambda m: f"Accept {m.ballot.shown()} slot {m.slot} = {value_words(m.value)}",
    Accepted: _accepted,
    Nack: lambda m: f"Nack {m.ballot.shown()}, promised {m.promised.shown()}",
    VotesRequest: lambda m: f"VotesRequest from slot {m.from_slot}",
    Votes: _votes,
    Heartbeat: lambda m: (
        f"Heartbeat {m.ballot.shown()}, leader {m.leader or '-'}, chosen to {m.commit}, "
        f"round {m.round}"
    ),
    HeartbeatAck: lambda m: f"HeartbeatAck {m.ballot.shown()}, round {m.round}",
    CatchUp: lambda m: f"CatchUp {slots_words(m.from_slot, m.to_slot)}",
    Decisions: _decisions,
    ReadIndex: lambda m: f"ReadIndex question {m.read_id & 0xFFFF_FFFF}",
    ReadIndexReply: lambda m: f"ReadIndexReply question {m.read_id & 0xFFFF_FFFF}: slot {m.slot}",
    TransferLeadership: lambda m: f"TransferLeadership {m.ballot.shown()}, after slot {m.slot}",
    PromiseRecord: lambda r: f"promise {r.ballot.shown()}",
    AcceptRecord: lambda r: f"accepted {_held(*r)}",
    DecisionRecord: lambda r: f"decision {_held(*r)}",
    CommitRecord: lambda r: f"all slots to {r.slot} are chosen",
}


def words(thing) -> str:
    """A message or a record."""
    make = _WORDS.get(type(thing))
    return type(thing).__name__ if make is None else make(thing)


def result_words(result) -> str:
    if isinstance(result, int):
        return f"revision {result}"
    status, revision, detail = result
    return f"{Status(status).name} {revision} {'-' if detail is None else detail}"


def answer_words(answer) -> str:
    """What a client is answered."""
    if isinstance(answer, Refusal):
        return f"refused: {answer.code}, leader {answer.leader or '-'}"
    results = ", ".join(map(result_words, answer.results))
    return f"slot {answer.slot}: {results}"
