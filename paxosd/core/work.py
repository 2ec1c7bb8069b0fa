"""How much a turn of the loop does, counted and not timed: the same on every machine.

A unit is a command that is decoded or applied, a row or a change that is read, a key that is
visited, moved or taken out, and UNIT_BYTES of a request: some 2 to 10 us each. The code that does
such work adds it here (not the code that asks for it). Before work that can wait, look here first.
"""

CLIENT_UNITS = 3000
"""No further request is taken in by a turn that has done so much, and of the waiting reads only a
few are answered (``replica/service.py``)."""
UNIT_BYTES = 1 << 10
"""So many bytes of a value, which is copied some six times on its way, take as long."""
PROPOSED_BYTES_MAX = 4 << 20
"""A turn puts no more into slots, but for its last batch: they are encoded, sent and logged."""
TURN_UNITS_MAX = 12_000
"""No turn does more, with the default limits: a batch of ``batch_commands_max`` on top of all
else. The simulator asserts it."""


class Work:
    """What was done since somebody last set ``units`` to 0."""

    __slots__ = ("units",)

    def __init__(self) -> None:
        self.units = 0
