"""What one key, or one principal, may have of something that all share: sessions, leases.

Dynamic thresholds (Choudhury, Hahne, "Dynamic Queue Length Thresholds", 1998), as in
``core/fair_queue.py``: who has something may have no more of it than is then left free. So one
alone has half of all, n together have n/(n+1) of it, and for the next one there is always room. It
needs no further setting, and forbids nothing while little is in use.

From feature level 6 on (LEVEL_SHARES). What was had before stays. What nobody in particular has
(sessions that were opened without a key, leases without an owner) is bounded by the whole alone.
"""


def has_share_left(own: int, in_use: int, most: int) -> bool:
    """Whether who has ``own`` of ``in_use``, of which there may be ``most``, may have one more. Who
    has none may always have one, if there is any."""
    return not own or own < most - in_use
