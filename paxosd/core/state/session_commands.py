"""The commands of a session that are not the store's: those of leases, TXN, and CLOSE."""

from collections.abc import Sequence

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import CLOSE, Command, Result
from paxosd.core.state.control_commands import is_formed
from paxosd.core.state.derivation import Written
from paxosd.core.state.kv import MALFORMED_RESULT, Store
from paxosd.core.state.lease_commands import apply_lease_command, is_lease_command
from paxosd.core.state.leases import Leases
from paxosd.core.state.rights_check import DENIED, FORBIDDEN_RESULT, RightsGuard
from paxosd.core.state.sessions import Sessions
from paxosd.core.state.slot_allowance import SlotAllowance
from paxosd.core.state.transaction_run import run_transaction
from paxosd.core.transactions import is_transaction

Outcome = tuple[Result, Sequence[bytes] | Written]
"""The result of a command, and what it changed; see ``derivation.py``."""


def apply_session_command(
    command: Command,
    session_id: int,
    sessions: Sessions,
    store: Store,
    leases: Leases,
    settings: ClusterSettings,
    now_ms: int,
    allowance: SlotAllowance,
    guard: RightsGuard,
) -> Outcome | None:
    """Apply one, whatever its form. ``allowance``: what is left of that of the slot. ``guard``: by
    whose rights. None: it was not done, and is to come again in a later slot."""
    if command is DENIED:
        return FORBIDDEN_RESULT, ()
    if settings.level >= LEVEL_COORDINATION:
        if not allowance.allows(command):
            return None
        if is_lease_command(command, settings):
            session = sessions.table[session_id]
            client, owner = (session_id, session.name), guard.owner_name(session.key)
            return apply_lease_command(
                command, store, leases, settings, now_ms, client, owner, guard.holder
            )
        if is_transaction(command):
            return run_transaction(store, leases, command, allowance, guard.holder)
    if is_formed(command, CLOSE):
        return sessions.close(session_id), ()
    return MALFORMED_RESULT, ()
