"""What a lease can be: the bounds that all nodes and clients share (``core/state/leases.py``)."""

TTL_MS_MIN = 1000
TTL_MS_MAX = 365 * 86_400_000
FIRST_ID = 1 << 32
"""Ids that GRANT draws begin here; lower ones are those that a GRANT may ask for."""
KEYS_MAX = 1024
"""So many keys can be attached to one lease."""
IDS_PER_KEEPALIVE_MAX = 1000
DRIFT_PPM_MAX = 500
"""An oscillator runs faster than true time by at most so much."""
