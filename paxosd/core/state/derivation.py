"""The changes of a slot, derived from its batch and from what the batch alone does not say.

    batch + the revision before it + exceptions ──► Change, KeysChanged, … in order

A command that is no exception changed the one key that it names, in one revision, and the batch
says to what. An *exception* is ``(index, count, changed)``: the ``count`` commands from flat
position ``index`` on did something else.

    (index, count, ())         they changed nothing
    (index, 1, keys)           the command removed these keys, in one revision
    (index, 1, Written(...))   the command changed these keys, in one revision
    (BEFORE_COMMANDS, 1, keys) no command did it: these keys were removed before the first command,
                               in one revision. There may be several of them, in order.

Exceptions of commands come in the order of their positions, and BEFORE_COMMANDS ahead of them.
They are kept in memory for as long as the log holds the slot, so they hold no value that the batch
holds.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    DELETE,
    LEASE_EXPIRED,
    PUT,
    TXN,
    Batch,
    Change,
    Command,
    KeysChanged,
)
from paxosd.core.types import Slot

BEFORE_COMMANDS = -1
"""The position of what happened in a slot before its commands."""


class Written(NamedTuple):
    """What one command changed in one revision.

    ``keys``: ascending, each once, at least one. ``sources``: for each key where its value is: a
    place among the operations of the command (:func:`operations_of`), which is a PUT; or the value
    itself, where it stands in no command and is short; None: the key was removed.
    """

    keys: Sequence[bytes]
    sources: Sequence[int | bytes | None]


Skipped = tuple[int, int, Sequence[bytes] | Written]
"""An exception, see above."""


def operations_of(transaction: Command) -> Iterator[Command]:
    """All operations of a TXN, the nested ones included, in the order in which they are written: a
    nested TXN is one of them, and its operations follow it."""
    for branch in transaction[2:4]:
        for operation in branch:
            yield operation
            if operation[0] == TXN:
                yield from operations_of(operation)


def keys_of(skipped: Skipped) -> Sequence[bytes]:
    """The keys that an exception holds."""
    changed = skipped[2]
    return changed.keys if isinstance(changed, Written) else changed


def derive_changes(
    slot: Slot, batch: Batch, revision: int, skipped: list[Skipped] | tuple[()]
) -> list[Change | KeysChanged]:
    """The changes that ``batch`` made on top of ``revision``, given its exceptions."""
    exceptions: dict[int, Sequence[bytes] | Written] = {}
    changes: list[Change | KeysChanged] = []
    for index, count, changed in skipped:
        if index == BEFORE_COMMANDS:
            revision += 1
            assert not isinstance(changed, Written)
            changes.append(KeysChanged(revision, slot, changed, reason=LEASE_EXPIRED))
            continue
        for offset in range(count):
            exceptions[index + offset] = changed
    for index, command in _session_commands(batch):
        if index in exceptions:
            changed = exceptions[index]
            if changed:
                revision += 1
                changes.append(_group(revision, slot, command, changed))
            continue
        revision += 1
        op = command[0]
        if op == PUT:
            value = command[2]
        else:
            assert op in (DELETE, CAS_VALUE, CAS_REVISION)
            value = None if op == DELETE else command[3]
        changes.append(Change(revision, slot, command[1], value))
    return changes


def _group(
    revision: int, slot: Slot, command: Command, changed: Sequence[bytes] | Written
) -> KeysChanged:
    if not isinstance(changed, Written):
        return KeysChanged(revision, slot, changed)
    values: dict[bytes, bytes] = {}
    operations: list[Command] = []
    for key, source in zip(changed.keys, changed.sources, strict=True):
        if type(source) is int:
            operations = operations or list(operations_of(command))
            values[key] = operations[source][2]
        elif source is not None:
            assert type(source) is bytes
            values[key] = source
    return KeysChanged(revision, slot, changed.keys, values)


def _session_commands(batch: Batch) -> Iterator[tuple[int, Command]]:
    """Each command that may change data, with its flat position in the batch."""
    base = 0
    for entry in batch.entries:
        if type(entry.commands) is not list:
            continue
        if entry.session != 0:
            yield from enumerate(entry.commands, base)
        base += len(entry.commands)
