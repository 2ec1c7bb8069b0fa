"""Who may change the members and the rights, as the log's RIGHTS commands have it.

A change of the membership that its requester had lost the right to make stands in the log, and has
no effect. The rule, read anew here: a table names the version that it follows, is in force from the
next slot on, and needs an admin where the one before it requires rights; a change of members needs
an admin or an operator. A command without a key has been vouched for by a node.
"""

import json
from dataclasses import dataclass
from typing import Any

RIGHTS_COMMAND = 16


@dataclass(frozen=True, slots=True)
class RightsChange:
    """A RIGHTS command in slot ``slot``: it follows version ``follows``. ``key``: of who asked."""

    slot: int
    follows: int
    key: bytes
    required: bool
    admins: frozenset[bytes]
    operators: frozenset[bytes]


def rights_change(slot: int, command: list[Any]) -> RightsChange:
    """The change that a RIGHTS command makes. Raises what its parts raise if it is none."""
    _, follows, text, key = command
    document = json.loads(text)
    keys: dict[str, set[bytes]] = {"admin": set(), "operator": set()}
    for each in document["principals"].values():
        if each["role"] in keys:
            keys[each["role"]].update(map(bytes.fromhex, each["keys"]))
    admins, operators = frozenset(keys["admin"]), frozenset(keys["operator"])
    return RightsChange(slot, int(follows), bytes(key), document["required"] is True,
                        admins, operators)  # fmt: skip


class RightsInForce:
    """The newest table, as far as the logs show it. Before the first that is seen, everything is
    allowed: what came before the log begins is not known."""

    def __init__(self) -> None:
        self._table: RightsChange | None = None
        self._next: RightsChange | None = None
        """It is in force from the slot after its own on."""

    def _settle(self, slot: int) -> None:
        if self._next is not None and self._next.slot < slot:
            self._table, self._next = self._next, None

    def take(self, change: RightsChange) -> None:
        """The next RIGHTS command of the log."""
        self._settle(change.slot)
        before = self._next or self._table
        follows = before is None or change.follows == before.follows + 1
        if follows and self._has(change.key, admins_only=True):
            self._next = change

    def may_change_members(self, slot: int, key: bytes) -> bool:
        """Whether a change of the membership in this slot, asked for by this key, has an effect."""
        self._settle(slot)
        return self._has(key, admins_only=False)

    def _has(self, key: bytes, *, admins_only: bool) -> bool:
        table = self._table
        if table is None or not table.required or not key:
            return True
        return key in table.admins or (not admins_only and key in table.operators)
