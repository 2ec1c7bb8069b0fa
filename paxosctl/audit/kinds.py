"""The numbers in recorder events that the auditor looks at, as their format has them.

An event is looked up by ``key(kind, code)``: for a message the code says what was done with it, for
a request how it ended.
"""

# Messages, by their number on the wire (docs/PROTOCOL.md).
PREVOTE, PREVOTE_REPLY, PREPARE, PROMISE, ACCEPT, NACK, ACCEPTED = range(1, 8)
VOTES, HEARTBEAT, HEARTBEAT_ACK, DECISIONS = 9, 10, 11, 13
READ_INDEX, READ_INDEX_REPLY, SNAPSHOT_CHUNK, HELLO = 14, 15, 19, 20

# What was done with a message.
SENT, RECEIVED, PUBLISHED, UNSENT = 1, 2, 3, 4

# Kinds that are no messages.
START, WRITE, READ, SYNCED, APPLIED, ADOPTED, NOTE, PROMISED, VOTED = range(128, 137)
INSTALLED, MEMBER, SUM = 137, 138, 139

PARTIAL_BIT = 63
"""In the last number of a promise: its report goes on in another one."""
NOBODY = 255


def key(kind: int, code: int = 0) -> int:
    """What a handler of events is found by."""
    return code << 8 | kind
