"""What an entry must look like for its commands to be applied, and the answer if it does not."""

from typing import Any

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import CAS_REVISION, CLOSE, PUT, Command, Entry, Result
from paxosd.core.state.control_commands import is_formed
from paxosd.core.state.derivation import Skipped
from paxosd.core.state.kv import MALFORMED_RESULT
from paxosd.core.state.lease_commands import is_lease_command
from paxosd.core.state.sessions import SESSION_UNKNOWN_RESULT, WINDOW_RESULT
from paxosd.core.transactions import is_transaction

_STORE_OPS = frozenset(range(PUT, CAS_REVISION + 1))


def is_formed_entry(session_id: Any, first_seq: Any, acked: Any, commands: Any) -> bool:
    """Whether these can be the fields of an entry. It takes them one by one: to read each of them
    from the entry again costs more than all the checks, and this is done for every entry."""
    return (
        type(commands) is list
        and type(first_seq) is int
        and type(acked) is int
        and type(session_id) is int
        and first_seq > 0
    )


def refuse_all(result: Result, entry: Entry, base: int, skipped: list[Skipped]) -> list[Result]:
    """The same negative result for every command of an entry."""
    count = len(entry.commands) if type(entry.commands) is list else 0
    if count:
        skipped.append((base, count, ()))
    return [result] * count


def leave_rest(
    commands: list[Command],
    results: list[Result],
    skipped: list[Skipped],
    base: int,
    *,
    closed: bool,
) -> int:
    """The commands of an entry that have no results yet are not done: its session was closed, or
    they are to come again. Returns how many were done."""
    done = len(results)
    if left := len(commands) - done:
        skipped.append((base + done, left, ()))
        results.extend([SESSION_UNKNOWN_RESULT if closed else WINDOW_RESULT] * left)
    return done


def refuse_sessionless(command: Command, settings: ClusterSettings) -> Result:
    """The result of a command in an entry of session 0 that does not belong there."""
    if type(command) in (list, tuple) and command and type(command[0]) is int:
        is_other = is_lease_command(command, settings) or (
            settings.level >= LEVEL_COORDINATION and is_transaction(command)
        )
        if command[0] in _STORE_OPS or is_other or is_formed(command, CLOSE):
            return SESSION_UNKNOWN_RESULT
    return MALFORMED_RESULT
