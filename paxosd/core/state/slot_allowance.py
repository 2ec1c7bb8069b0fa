"""What the commands of one slot may do together, alike on all nodes: it bounds a turn.

A transaction or a KEEPALIVE that comes once the allowance is spent is not done, and neither is what
follows it in its request. Both are answered WINDOW, so that the client sends them again: how much
others ask for is not its fault. The first one of a slot is always done.

Each slot begins with a whole allowance of its own. Nothing of it outlives the slot, so a snapshot
or a restart between two slots changes nothing.
"""

from paxosd.core.commands import KEEPALIVE, TXN, Command
from paxosd.core.transactions import ANSWER_BYTES_MAX, KEYS_MAX

STEPS_MAX = 2 * KEYS_MAX
"""Once the transactions of one slot have looked at so many keys, compares and operations, …"""
ANSWERS_MAX = 4
"""… or have read so many times the bytes of one answer, further ones are to come again; …"""
IDS_MAX = 16_384
"""… and so are further KEEPALIVEs once so many leases were named."""


class SlotAllowance:
    """What is left in one slot. Negative: the last one that was done took more than was left."""

    __slots__ = ("answer_bytes", "bytes_max", "ids", "steps")

    def __init__(self, value_bytes_max: int) -> None:
        """``value_bytes_max``: the replicated setting: to read one value is always allowed."""
        self.bytes_max = max(ANSWER_BYTES_MAX, value_bytes_max) + (ANSWER_BYTES_MAX >> 4)
        """One transaction may read so many bytes."""
        self.answer_bytes = ANSWERS_MAX * self.bytes_max
        self.steps = STEPS_MAX
        self.ids = IDS_MAX

    def allows(self, command: Command) -> bool:
        """Whether a command, whatever its form, may be done now. If it is a KEEPALIVE its leases
        are counted; a transaction counts what it does itself."""
        if type(command) not in (list, tuple) or not command:
            return True
        op = command[0]
        if op == TXN:
            return self.steps > 0 and self.answer_bytes > 0
        if op == KEEPALIVE:
            if self.ids <= 0:
                return False
            ids = command[1] if len(command) == 2 else ()
            self.ids -= len(ids) if type(ids) in (list, tuple) else 1
        return True
