"""How many bytes may wait for somebody who may not read, or not keep up; see docs/MEMORY.md.

What is made to wait elsewhere has its limit where it waits; here are those that several modules go
by.
"""

EVENT_BYTES_MAX = 32 << 20
"""Of events in the sockets, for all subscribers together: then changes are left to the history."""
CLIENT_BYTES_MAX = 16 << 20
"""Of answers, for one client …"""
ANSWER_BYTES_MAX = 128 << 20
"""… and for all of them, besides less than ``unsent.MARK_BYTES`` for each."""
PEER_BYTES_MAX = 16 << 20
"""Of proposals and parts of the log and of snapshots, for one peer; or one larger message."""
