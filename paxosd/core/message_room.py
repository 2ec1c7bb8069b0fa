"""What fits into the messages of one node: sizes that replicated settings must keep within.

Sockets are made with one node's own ``limits.message_bytes_max``; a command, an answer or a batch
that is larger would never pass. So a change of the replicated limits is held against every node's
room before it is proposed: by ``paxosctl cluster set`` for all of them, by the leader for itself.
"""

from typing import NamedTuple

from paxosd.core.cluster_settings import ClusterSettings

OVERHEAD_BYTES = 4096
"""What envelopes and lengths may add on the way."""


class MessageRoom(NamedTuple):
    """``message_bytes_max``: the largest message. ``part_bytes_max``: what a read, a batch or a
    catch-up may come to before its last value."""

    message_bytes_max: int
    part_bytes_max: int

    def refusal(self, settings: ClusterSettings) -> str:
        """Why these settings do not fit; "" if they do."""
        command = settings.key_bytes_max + 2 * settings.value_bytes_max + OVERHEAD_BYTES
        part = self.part_bytes_max + settings.value_bytes_max + OVERHEAD_BYTES
        if max(command, part) <= self.message_bytes_max:
            return ""
        return (
            f"value_bytes_max = {settings.value_bytes_max} with key_bytes_max = "
            f"{settings.key_bytes_max} takes messages of {max(command, part)} bytes, and the file "
            f"of this node allows {self.message_bytes_max} (limits.message_bytes_max)"
        )
