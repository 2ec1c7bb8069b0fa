"""The narrator's words for Paxos."""

from collections.abc import Callable
from typing import Any

from paxosd.bus.inbox import STALE
from paxosd.core.effects import (
    AcceptRecord,
    Applied,
    Notice,
    PromiseRecord,
    Refusal,
    WriteReply,
)
from paxosd.core.messages import (
    Accept,
    Accepted,
    CatchUp,
    Decisions,
    Hello,
    Nack,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    Rejoin,
    Welcome,
)
from paxosd.core.run_id import RUN_BITS, boot_count_of
from paxosd.core.types import NOOP, Ballot, Slot
from paxosd.host.wording import listed
from paxosd.sim.teach.happenings import Happening
from paxosd.sim.teach.member_bus import Answer, Read, Write
from paxosd.sim.teach.narrator import QUIET, Draft, Narrator, Sending
from paxosd.sim.teach.values import show_entry, show_result, show_value


class PaxosNarrator(Narrator):
    """``quorum``: how many votes choose."""

    def __init__(self, quorum: int, explained: set[str], hushed: set[str]) -> None:
        super().__init__(explained, hushed)
        self._quorum = quorum
        self._votes: dict[tuple[str, Slot, Ballot], list[str]] = {}
        """Votes that a node has got for a slot and ballot."""
        self._promises: dict[tuple[str, Ballot], list[str]] = {}
        self._durable: set[tuple[str, Any]] = set()
        """What each node's disk holds."""
        self._proposed: dict[Slot, dict[bytes, Ballot]] = {}
        """Every value ever proposed in a slot, and the first ballot under which it was."""
        self._repeats: set[tuple[str, str, Any]] = set()

    # -- messages

    def _message(self, sent: Sending) -> Draft | None:
        node, message = sent.first.node, sent.first.body
        draft = self._words(node, message)
        if isinstance(message, Prepare | Accept):
            # The same to somebody new is no repeat.
            known = [(node, name, message) in self._repeats for name in sent.to]
            self._repeats.update((node, name, message) for name in sent.to)
            if all(known):
                if "again" in self._hushed:
                    return None
                draft.text = "Again, as no answer came: " + draft.text
        return draft

    def _words(self, node: str, message: Any) -> Draft:
        if isinstance(message, Promise):
            return self._promise(node, message)
        if isinstance(message, Accept):
            return self._accept(message)
        if isinstance(message, Accepted):
            return self._accepted(node, message)
        words = _WORDS.get(type(message))
        return words(message) if words else Draft("proposer", f"{type(message).__name__}.")

    def _promise(self, node: str, message: Promise) -> Draft:
        again = (node, "", ("promise", message.ballot)) in self._repeats
        self._repeats.add((node, "", ("promise", message.ballot)))
        head = "As I said: " if again else ""
        report = _report(message)
        self._must_be_durable(node, ("promise", message.ballot), "promised")
        return Draft(
            "acceptor",
            f"{head}I promise {message.ballot.shown()}; it is on my disk. {report}",
            "promise-again" if again else "promise",
        )

    def _accept(self, message: Accept) -> Draft:
        slot, ballot, value = message.slot, message.ballot, message.value
        proposed = self._proposed.setdefault(slot, {})
        first = proposed.setdefault(value, ballot)
        text = f"Accept in slot {slot} under {ballot.shown()}: {show_value(value)}."
        note = ""
        if value == NOOP:
            rule = "noop"
        elif first < ballot:
            rule = "adopt"
            note = f" (Proposed first under {first.shown()}.)"
        else:
            rule = "free"
        return Draft("proposer", text, rule, note, slot=slot)

    def _accepted(self, node: str, message: Accepted) -> Draft:
        slots = _slots_of(message)
        for slot in slots:
            self._must_be_durable(node, ("accept", slot, message.ballot), "voted")
        where = _slots(slots[0], slots[-1])
        text = f"I have accepted {where} under {message.ballot.shown()}, and it is on my disk."
        return Draft("acceptor", text, "accepted", slot=slots[0])

    def _must_be_durable(self, node: str, record: Any, did: str) -> None:
        """The narrator says "it is on my disk" only because it is."""
        if (node, record) not in self._durable:
            self.breach = f"{node} {did} before that was on its disk"

    # -- everything else

    def _other(self, happening: Happening) -> Draft | None:
        kind, body, node = happening.kind, happening.body, happening.node
        if kind == "deliver":
            self._note_arrival(happening)
        elif kind == "published":
            self._note_votes(node, node, body)
        elif kind == "sync":
            return self._sync(node, body, happening.detail["duration_ms"])
        elif kind == "notice":
            return self._notice(node, body)
        elif kind == "applied":
            return self._applied(node, body)
        elif kind == "stale":
            return self._stale(happening)
        elif kind in ("chosen", "conflict"):
            return self._observed(happening)
        return None

    def _forget(self, node: str, *, disk: bool) -> None:
        self._votes = {key: names for key, names in self._votes.items() if key[0] != node}
        if disk:
            self._durable = {each for each in self._durable if each[0] != node}

    def _stale(self, happening: Happening) -> Draft | None:
        name = type(happening.body).__name__
        other_life = happening.detail["reason"] == STALE
        if not other_life or name in QUIET or name in self._hushed:
            return None
        node, knower = happening.node, happening.to
        text = f"Its {name} is refused by {knower}, which knows another run of {node}."
        return Draft("network", text, "stale")

    def _observed(self, happening: Happening) -> Draft:
        record: AcceptRecord = happening.body
        names = listed(sorted(happening.detail["names"]))
        fact = f"{names} have it on disk under {record.ballot.shown()}, a majority"
        if happening.kind == "chosen":
            text = f"Slot {record.slot} IS CHOSEN: {show_value(record.value)}. {fact}."
            return Draft("observer", text, "chosen", ballot=record.ballot, slot=record.slot)
        before = show_value(happening.detail["before"][1])
        text = (
            f"DISASTER: in slot {record.slot} a second value is chosen: "
            f"{show_value(record.value)}. {fact}. Chosen before: {before}."
        )
        return Draft("observer", text, "conflict", ballot=record.ballot, slot=record.slot)

    def _note_arrival(self, happening: Happening) -> None:
        body = happening.body
        if isinstance(body, Accepted):
            self._note_votes(happening.to, happening.node, body)
        elif isinstance(body, Promise):
            who = self._promises.setdefault((happening.to, body.ballot), [happening.to])
            if happening.node not in who:
                who.append(happening.node)

    def _note_votes(self, at: str, voter: str, message: Accepted) -> None:
        for slot in _slots_of(message):
            voters = self._votes.setdefault((at, slot, message.ballot), [])
            if voter not in voters:
                voters.append(voter)

    def _sync(self, node: str, records: list[Any], duration_ms: float) -> Draft | None:
        draft = None
        for record in records:
            if isinstance(record, PromiseRecord):
                self._durable.add((node, ("promise", record.ballot)))
                if record.ballot.node == node:
                    text = (
                        f"Its own promise of {record.ballot.shown()} is on disk "
                        f"(fsync {duration_ms:.1f} ms)."
                    )
                    draft = Draft("disk", text, "own-promise", ballot=record.ballot)
            elif isinstance(record, AcceptRecord):
                self._durable.add((node, ("accept", record.slot, record.ballot)))
                self._proposed.setdefault(record.slot, {}).setdefault(record.value, record.ballot)
        return draft

    def _notice(self, node: str, notice: Notice) -> Draft | None:
        fields = notice.fields
        if notice.event == "leader.elected" and fields["leader"] == node:
            ballot = Ballot.of_text(fields["ballot"])
            who = listed(sorted(self._promises.get((node, ballot), [node])))
            adopted = fields.get("adopted", 0)
            text = f"LEADS with {ballot.shown()}: {who} promised, a majority."
            if adopted:
                text += f" It must finish {adopted} slot{'s' * (adopted > 1)} that they reported."
            return Draft("proposer", text, "leads", ballot=ballot)
        if notice.event == "leader.stepped_down":
            text = f"LEADS NO MORE: {_reason(fields['reason'])}."
            return Draft("proposer", text, ballot=Ballot.of_text(fields["ballot"]))
        if notice.event == "node.memory_lost":
            return Draft("acceptor", "HAS LOST ITS MEMORY, and knows it: it must not vote.")
        if notice.event == "node.rejoined":
            return Draft("acceptor", f"VOTES AGAIN, under epoch {fields['epoch']} of the members.")
        if notice.event == "leader.lost":
            return Draft("proposer", f"Has not heard from {fields['leader']} for too long.")
        return None

    def _applied(self, node: str, applied: Applied) -> Draft:
        slot, ballot = applied.slot, applied.ballot
        voters = sorted(self._votes.get((node, slot, ballot), []))
        if len(voters) >= self._quorum:
            how = (
                f"Counts votes of {listed(voters)} for slot {slot} under {ballot.shown()}: chosen."
            )
        else:
            how = f"Learns that slot {slot} is chosen."
        text = f"{how} It applies: {show_value(applied.value)}."
        return Draft("learner", text, "learn", ballot=ballot, slot=slot)


def _answer(answer: Answer) -> Draft:
    reply = answer.reply
    if isinstance(reply, Refusal):
        return Draft("proposer", f"{reply.code}: {_reason(reply.message)}.")
    if isinstance(reply, WriteReply):
        results = ", ".join(
            show_result(command, result)
            for command, result in zip(answer.request.entry.commands, reply.results, strict=True)  # type: ignore[union-attr]  # a write's
        )
        return Draft("proposer", f"Done: {results} (slot {reply.slot}).", slot=reply.slot)
    return Draft("proposer", f"The value is {reply.decode() if reply is not None else 'not set'}.")


def _prevote_reply(message: PreVoteReply) -> Draft:
    if message.granted:
        return Draft("acceptor", "I would: I hear no leader either.")
    above = message.ballot > message.promised
    reason = "I hear a live leader" if above else f"I promised {message.promised.shown()}"
    return Draft("acceptor", f"No: {reason}.", "prevote-no")


def _decisions(message: Decisions) -> Draft:
    last = message.first_slot + len(message.values) - 1
    values = "; ".join(show_value(value) for _, value in message.values)
    return Draft("learner", f"Chosen in {_slots(message.first_slot, last)}: {values}.")


def _report(message: Promise) -> str:
    """What a promise reports. Up to its commit index it reports no votes, for there it knows more:
    what was chosen."""
    words = []
    if message.commit >= message.from_slot:
        known = _slots(message.from_slot, message.commit)
        words.append(f"I know what was chosen in {known}; ask me for it.")
    accepted = "; ".join(
        f"in slot {each.slot}, under {each.ballot.shown()}: {show_value(each.value)}"
        for each in message.accepted
    )
    if accepted:
        words.append(f"I have accepted, {accepted}.")
    else:
        words.append(f"I have accepted nothing {'above that' if words else 'there'}.")
    return " ".join(words)


def _slots_of(message: Accepted) -> list[Slot]:
    return [slot for first, last in message.ranges for slot in range(first, last + 1)]


def _random_part(run_id: int) -> str:
    return f"{run_id & (1 << RUN_BITS) - 1:05x}"


def _reason(text: str) -> str:
    """A reason in the node's words, without the end of its sentence."""
    return text.rstrip(".")


def _slots(first: Slot, last: Slot) -> str:
    return f"slot {first}" if first == last else f"slots {first} to {last}"


_WORDS: dict[type, Callable[[Any], Draft]] = {
    Write: lambda m: Draft("client", f"Please: {show_entry(m.entry)}.", "request"),
    Read: lambda m: Draft("client", f'Please read "{m.key.decode()}", linearizably.', "read"),
    Answer: _answer,
    PreVote: lambda m: Draft(
        "proposer", f"I hear no leader. Would you promise me ballot {m.ballot.shown()}?", "prevote"
    ),
    PreVoteReply: _prevote_reply,
    Prepare: lambda m: Draft(
        "proposer",
        f"Promise to accept nothing below {m.ballot.shown()} from now on, and report what you have "
        f"accepted in slot {m.from_slot} or above.",
        "prepare",
    ),
    Nack: lambda m: Draft(
        "acceptor", f"I refuse {m.ballot.shown()}: I have promised {m.promised.shown()}.", "nack"
    ),
    CatchUp: lambda m: Draft(
        "learner", f"Which values were chosen in {_slots(m.from_slot, m.to_slot)}?", "catch-up"
    ),
    Decisions: _decisions,
    Hello: lambda m: Draft(
        "acceptor", "I have no memory of the past. Do you know me as I am now?", "hello"
    ),
    Welcome: lambda m: Draft(
        "acceptor",
        f"The last run of you that I know is {boot_count_of(m.run_id)}-{_random_part(m.run_id)}.",
    ),
    Rejoin: lambda m: Draft("acceptor", "Let my new identity vote in my name.", "rejoin"),
}
"""Message → what its sender says; those whose words depend on the past are methods above."""
