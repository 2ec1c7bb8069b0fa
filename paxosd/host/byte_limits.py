"""How many bytes may wait for a receiver that is slow, or does not read; see docs/MEMORY.md.

These are the limits that several modules use. Every other limit stands beside the queue that it
bounds.
"""

EVENT_BYTES_MAX = 32 << 20
"""Events in the sockets, for all subscribers together. Changes beyond that are not sent:
subscribers read them from the history."""
CLIENT_BYTES_MAX = 16 << 20
"""Answers that wait for one client."""
ANSWER_BYTES_MAX = 128 << 20
"""Answers that wait for all clients together, besides less than ``unsent.MARK_BYTES`` for each."""
PEER_BYTES_MAX = 16 << 20
"""Proposals and pieces of the log and of snapshots that wait for one peer; or a single larger
message."""
