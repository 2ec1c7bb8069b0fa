"""The rights table of a running cluster: read from its nodes, and changed by compare and set.

read ── rights ──► every node that is known: the table of the latest version
make ── table → next table ──► change_rights ── another was faster ──► read, make again

The first table waits for the feature level that has tables, which a new cluster's leader raises
within its first seconds.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic, sleep
from typing import Any, NamedTuple

from paxosctl.cli.survey import NodeView, ask_all, members_of, statuses_of, survey
from paxosctl.cli.versions import reason_of
from paxosctl.client.client import Client
from paxosctl.client.errors import (
    ClientError,
    ForbiddenError,
    NotSubmittedError,
    OutcomeUnknownError,
    RefusedError,
)
from paxosd.core.cluster_settings import LEVEL_KEYS
from paxosd.core.commands import Status
from paxosd.core.effects import FORBIDDEN
from paxosd.core.rights import ADMIN, OPERATOR, RightsError, RightsTable

TRIES_MAX = 5
"""So often a change is made again because another one was faster."""
LEVEL_POLL_S = 0.1
"""How often it is looked whether the feature level is raised."""

Make = Callable[[RightsTable], RightsTable]


class Known(NamedTuple):
    """What the nodes say. ``asker``, ``role``: who asks, by their account; "": nobody that they
    know. ``in_trust_file``: it is an admin by the trust file of that node alone. ``is_whole``:
    whether the table has all principals, or that one alone."""

    table: RightsTable
    asker: str = ""
    role: str = ""
    in_trust_file: bool = False

    @property
    def is_whole(self) -> bool:
        return not self.table.required or self.role in (ADMIN, OPERATOR)


class Made(NamedTuple):
    """A change: the tables before and after it, and the slot from which on it is in force; 0: it is
    in force, from an unknown slot on."""

    before: RightsTable
    after: RightsTable
    slot: int


def read(client: Client) -> Known:
    """The table of the latest version that a node has. Raises the error of the first endpoint if
    not one answers."""
    answers = ask_all(client, client.endpoints, "rights")
    found = [known_of(each.body) for each in answers.values() if each.error is None]
    if not found:
        errors = [each.error for each in answers.values() if each.error is not None]
        raise _gravest(errors)
    return max(found, key=lambda each: each.table.version)


def known_of(body: Mapping[str, Any]) -> Known:
    """What the answer to the verb ``rights`` says. Raises RefusedError for one that is no table."""
    said = dict(body)
    asker = said.pop("asker", None) or {}
    try:
        # Who sees itself alone is shown no admin, without whom rights could not be required.
        required = said["required"] is True
        text = json.dumps({**said, "required": False}).encode()
        table = replace(RightsTable.from_json(text if said["version"] else b""), required=required)
        own = str(asker.get("name", "")), str(asker.get("role", ""))
    except (KeyError, TypeError, AttributeError, RightsError) as error:
        words = f"a node answers with a rights table that this program does not know: {error}"
        raise RefusedError("rights", words) from None
    return Known(table, *own, bool(asker.get("trust_file")))


def make(client: Client, how: Make) -> Made:
    """Carry a change out. ``how`` raises what it has to say against it. Where it changes nothing,
    nothing is submitted. Raises ClientError."""
    known = read(client)
    if not known.is_whole:
        raise ForbiddenError(
            FORBIDDEN, f"{known.asker} ({known.role}) may not change the rights here: an admin may"
        )
    if not known.table.version:
        _await_level(client)
    for _ in range(TRIES_MAX):
        before = known.table
        after = how(before)
        if after is before:
            return Made(before, after, 0)
        try:
            found = client.change_rights(before.version, after.to_command())
        except OutcomeUnknownError as error:
            if _is_in_force(read(client).table, after):
                return Made(before, after, 0)
            words = f"{error}; `paxosctl auth list` shows whether it was made"
            raise OutcomeUnknownError(0, 0, words, error.troubles) from error
        if found.status == Status.OK:
            return Made(before, after, found.slot)
        if found.status != Status.CAS_MISS:
            raise RefusedError("malformed", "the cluster says that this is no rights table")
        known = read(client)
        if _is_in_force(known.table, after):
            return Made(before, after, 0)  # an answer was lost on the way
    raise NotSubmittedError("busy", f"others change the rights all the time: {TRIES_MAX} tries")


def _await_level(client: Client) -> None:
    """Wait until the nodes have tables, for as long as the client waits for an answer. Not where a
    member's version or file holds the level back: the node's refusal says what to do then."""
    until_s = monotonic() + client.timeout_s
    while _is_level_to_come(survey(client)) and monotonic() < until_s:
        sleep(LEVEL_POLL_S)


def _is_level_to_come(views: Sequence[NodeView]) -> bool:
    members = members_of(views)
    voices = [each for each in views if each.status is not None and each.name in members]
    present = min((status.feature_level for status in statuses_of(voices)), default=LEVEL_KEYS)
    return present < LEVEL_KEYS and not any(reason_of(each, LEVEL_KEYS, {}) for each in voices)


def _is_in_force(table: RightsTable, wanted: RightsTable) -> bool:
    return table.version >= wanted.version and table.document() == wanted.document()


def _gravest(errors: list[ClientError]) -> ClientError:
    """One that says more than that a node does not answer, if there is one."""
    return next((each for each in errors if isinstance(each, RefusedError)), errors[0])
