"""The operations of a trace: what passes between a node and its surroundings, in order.

An operation is a tuple ``(code, *arguments)``. Codes below FIRST_OUTPUT are what the node was
given, the others what it did. Where a node usually gets nothing (no message came, no job has
ended) nothing is recorded: a replay finds no such operation at that place, and gives nothing.
"""

from typing import Any

Operation = tuple[Any, ...]

# ---- given to the node

NOW = 1
"""(ms): a clock that never goes backward was read."""
WALL = 2
"""(ms): the wall clock was read."""
BITS = 3
"""(number): random bits of the surroundings."""
BYTES = 4
"""(bytes): the same as bytes."""
DRAW = 5
"""(number): a number of the node's own generator; float, or an int of some bits."""
FREE = 6
"""(number): space left on the disk, in bytes or files; (-1, reason): not known."""
PEER = 10
"""(envelope, active, now_ms): a message came. ``active``: whether faults on messages are on."""
VERDICT = 11
"""(drop, delay_ms, copies, copies_delay_ms): what a fault does to the message before."""
RELEASE = 12
"""(now_ms): what faults held back may be due."""
CLOSED = 13
"""(name): the connection to a peer ended."""
RECEIVED = 14
"""(): all that came from peers was read."""
LOST = 15
"""(names): the node hears that these are gone."""
REQUESTS = 16
"""([(client, request), …])"""
SUBSCRIBED = 17
"""(): there are notices of subscribers."""
SUBSCRIPTIONS = 18
"""([(subscribe, topic), …])"""
REFUSED = 19
"""(): the operation before was not taken: a full queue, or no connection."""
RELAYED = 20
"""([answer, …]): of the leader, to writes that were passed on."""
RELAY_LOST = 21
"""(): the connection to the leader ended."""
WAITING = 22
"""(bytes): what slow watchers have not read."""
SYNCED = 23
"""([duration_us, …]): group commits have ended."""
AT_ONCE = 24
"""(): the group commit before has ended within the turn."""
FAILED = 25
"""(words): the disk failed, and the node with it."""
HELPED = 26
"""([words, …]): jobs on files have ended; "" without an error."""
DROPPED = 27
"""([number, …]): segments of the log have become spare space."""
DROPPER_IDLE = 28
"""(idle): whether more may be dropped."""
HAND_OVER = 30
"""(): between two turns, the process was asked to end: a leader hands over."""

# ---- done by the node

FIRST_OUTPUT = 50
SEND = 50
"""(to, message)"""
VOTE = 51
"""(message): published to all peers."""
PUBLISH = 52
"""(topic, payload): for watchers."""
ANSWER = 53
"""(client, message)"""
AIM = 54
"""(endpoint): where writes are passed on to from now on."""
PASS_ON = 55
"""(request)"""
APPEND = 56
"""(segment, offset, end, crc): a group of records that goes to the log."""
OPERATOR = 57
"""(client, request_id): an operator was answered. What it says is about the process (its memory,
its clocks, what it reaches), and not compared."""

NAMES = {
    NOW: "clock",
    WALL: "wall clock",
    BITS: "random bits",
    BYTES: "random bytes",
    DRAW: "random number",
    FREE: "free space",
    PEER: "message",
    VERDICT: "fault",
    RELEASE: "held back",
    CLOSED: "connection closed",
    RECEIVED: "end of messages",
    LOST: "peers lost",
    REQUESTS: "requests",
    SUBSCRIBED: "subscribers",
    SUBSCRIPTIONS: "subscriptions",
    REFUSED: "not taken",
    RELAYED: "relayed answers",
    RELAY_LOST: "relay lost",
    WAITING: "watchers behind",
    SYNCED: "synced",
    AT_ONCE: "synced at once",
    FAILED: "disk failed",
    HELPED: "jobs done",
    DROPPED: "segments dropped",
    DROPPER_IDLE: "dropper idle",
    HAND_OVER: "hand over",
    SEND: "send",
    VOTE: "vote",
    PUBLISH: "publish",
    ANSWER: "answer",
    AIM: "relay to",
    PASS_ON: "pass on",
    APPEND: "append",
    OPERATOR: "answer to an operator",
}
