"""Where a state machine begins: empty, or with what the head of a snapshot says."""

from typing import NamedTuple

from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.commands import Reign
from paxosd.core.lease_bounds import FIRST_ID
from paxosd.core.membership import UNKNOWN, Membership
from paxosd.core.rights import NO_RIGHTS, RightsTable
from paxosd.core.state.log_clock import NO_REIGN
from paxosd.core.types import Slot


class Start(NamedTuple):
    """The state after slot ``slot`` without its sessions, leases and rows, which are added later.

    ``settings``: None if the log has none. ``next_session``, ``next_lease``: the id that the next
    OPEN gets, and the next GRANT that asks for none. ``rights``: the rights table.
    """

    slot: Slot = 0
    revision: int = 0
    chain: int = 0
    log_time_ms: int = 0
    reign: Reign = NO_REIGN
    next_session: int = 1
    membership: Membership = UNKNOWN
    settings: ClusterSettings | None = None
    next_lease: int = FIRST_ID
    rights: RightsTable = NO_RIGHTS


EMPTY = Start()
