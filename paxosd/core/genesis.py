"""The founding record of a cluster: its founders, their data directories, its settings.

A cluster is founded once. The record is durable in the data directory of each founder; its hash
travels in every envelope, so that two clusters of one name, or a cluster and an emptied directory,
are distinguished at once. After the founding no configuration file decides who votes:
epoch 0 of the membership is what this record says, and later epochs are in the log.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from paxosd.core.json_object import load_object
from paxosd.core.membership import MEMBERS_MAX, NAME_PATTERN, NUMBER_MAX, Member, Membership
from paxosd.core.quorum import Quorums
from paxosd.core.types import NodeId

DOCUMENT_BYTES_MAX = 32 << 10
_HASH_MASK = (1 << 63) - 1
_KEYS = {"cluster", "members", "settings"}


class GenesisError(ValueError):
    """Not a record of a founding; the text says why."""


class Founder(NamedTuple):
    """One founding member. ``directory_id``: of its data directory."""

    voter: bool
    directory_id: int


class Record(NamedTuple):
    """``settings``: those that all founders' configurations gave alike, as JSON text."""

    cluster: str
    members: dict[NodeId, Founder]
    settings: str

    def to_json(self) -> bytes:
        """One canonical text: equal records have equal bytes."""
        members = {name: list(founder) for name, founder in self.members.items()}
        document = {"cluster": self.cluster, "members": members, "settings": self.settings}
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @property
    def hash(self) -> int:
        """What stands for the record in envelopes, 1 ..= 2^63 - 1."""
        digest = blake2b(self.to_json(), digest_size=8).digest()
        return int.from_bytes(digest, "big") & _HASH_MASK or 1

    def membership(self, known: Mapping[NodeId, Member]) -> Membership:
        """Epoch 0. ``known``: where members are reached, as far as the configuration says."""
        nowhere = Member("", "", "")
        return Membership(
            {
                name: known.get(name, nowhere)._replace(voter=voter, directory_id=directory_id)
                for name, (voter, directory_id) in self.members.items()
            }
        )

    @classmethod
    def from_json(cls, text: bytes) -> "Record":
        """Raises GenesisError."""
        found = load_document(text, _KEYS)
        table = found["members"]
        if not isinstance(table, dict) or not 1 <= len(table) <= MEMBERS_MAX:
            raise GenesisError(f"members is a table of 1 to {MEMBERS_MAX}")
        members = {name: _founder(name, fields) for name, fields in sorted(table.items())}
        if type(found["cluster"]) is not str or type(found["settings"]) is not str:
            raise GenesisError("cluster and settings are text")
        record = cls(found["cluster"], members, found["settings"])
        try:
            Quorums([name for name, founder in members.items() if founder.voter])
        except ValueError as error:
            raise GenesisError(str(error)) from None
        return record


def load_document(text: bytes, keys: set[str]) -> dict[str, Any]:
    """A JSON object with exactly these keys. Raises GenesisError."""
    if type(text) is not bytes or len(text) > DOCUMENT_BYTES_MAX:
        raise GenesisError(f"it is text of at most {DOCUMENT_BYTES_MAX} bytes")
    try:
        found = load_object(text)
    except ValueError:
        raise GenesisError("it is no JSON object, in which a name stands once") from None
    if found.keys() != keys:
        raise GenesisError(f"it is an object with {', '.join(sorted(keys))}")
    return found


def _founder(name: str, fields: Any) -> Founder:
    if not NAME_PATTERN.fullmatch(name):
        raise GenesisError(f'a member cannot be called "{name:.80}"')
    if not isinstance(fields, list) or len(fields) != len(Founder._fields):
        raise GenesisError(f"member {name} has {', '.join(Founder._fields)}")
    voter, directory_id = fields
    if type(voter) is not bool:
        raise GenesisError(f"member {name}: voter is true or false")
    if type(directory_id) is not int or not 1 <= directory_id <= NUMBER_MAX:
        raise GenesisError(f"member {name}: directory is a number from 1 up")
    return Founder(voter, directory_id)
