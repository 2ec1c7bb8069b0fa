"""The bytes inside a write request and inside a slot.

    entry: [session, first_seq, acked, [command, …]]       commands: see core/commands.py
    batch: [stamp_ms, [entry bytes, …]]                     the value of a slot; b"" is the NOOP
           [wall_ms, [entry bytes, …], round, node, elapsed_ms]     since feature level 1

An entry stays bytes from the client to the moment of its execution. The leader decodes it once
for *admission*, with every limit, and answers with words for people if it breaks one. When its
slot is applied, every node decodes it again, but only as far as safety needs: the single commands
are then checked by the state machine, in the same way on all nodes.

``decode_batch`` depends on nothing but the bytes: no configuration, so that it says the same
on every node.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from msgpack import unpackb

from paxosd.core.client_name import client_name_fault
from paxosd.core.cluster_settings import (
    LEVEL_CLIENT_NAMES,
    LEVEL_COORDINATION,
    LEVEL_KEYS,
    ClusterSettings,
    SettingsError,
    UnknownLevelError,
)
from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    CHECKSUM,
    CLOSE,
    CLUSTER,
    DELETE,
    DELETE_RANGE,
    FENCE,
    GRANT,
    KEEPALIVE,
    MEMBERS,
    OPEN,
    PUT,
    REVOKE,
    RIGHTS,
    TXN,
    Batch,
    Command,
    Entry,
    Reign,
)
from paxosd.core.lease_bounds import (
    FIRST_ID,
    IDS_PER_KEEPALIVE_MAX,
    TTL_MS_MAX,
    TTL_MS_MIN,
)
from paxosd.core.membership import Membership, MembershipError
from paxosd.core.rights import DOCUMENT_BYTES_MAX as RIGHTS_BYTES_MAX
from paxosd.core.rights import KEY_BYTES
from paxosd.core.transactions import FormError, TransactionForm
from paxosd.wire.fields import (
    BIN_BYTES_MAX,
    INT_MAX,
    NAME_BYTES_MAX,
    UNPACK_ERRORS,
    LimitError,
    WireError,
    not_msgpack,
    pack,
    refuse_ext,
    shorten,
    unpack,
)

COMMANDS_MAX = 65_536
"""Above any configurable limit of commands in one entry."""


class EntryLimits(NamedTuple):
    """What admission allows; the names of numbers are those of the configuration's [limits], and
    of the replicated settings."""

    key_bytes_max: int = 4096
    value_bytes_max: int = 1 << 20
    commands_per_request_max: int = 1024
    client_names: bool = False
    """Whether an OPEN may give a name: from feature level 3 on."""
    coordination: bool = False
    """Whether there are leases and transactions: from feature level 4 on."""
    keys: bool = False
    """Whether there are rights and requesters' keys: from feature level 5 on."""

    @classmethod
    def of(cls, settings: ClusterSettings) -> "EntryLimits":
        """The limits in these settings."""
        return cls(
            settings.key_bytes_max,
            settings.value_bytes_max,
            settings.commands_per_request_max,
            settings.level >= LEVEL_CLIENT_NAMES,
            settings.level >= LEVEL_COORDINATION,
            settings.level >= LEVEL_KEYS,
        )


DEFAULT_LIMITS = EntryLimits()
NO_TRANSACTIONS = (
    f"there are no transactions below feature level {LEVEL_COORDINATION}: the leader raises it by "
    "itself once every member runs a version that knows it; `paxosctl cluster show` names those "
    "that are waited for"
)
NO_RIGHTS_YET = (
    f"there is no rights table below feature level {LEVEL_KEYS}: the leader raises it by itself "
    "once every member runs a version that knows it; `paxosctl cluster show` names those that are "
    "waited for"
)
_SESSIONLESS = frozenset((FENCE, OPEN, CHECKSUM, MEMBERS, CLUSTER, RIGHTS))


def encode_entry(entry: Entry) -> bytes:
    """An entry as bytes. It comes from this program: nothing is checked."""
    return pack(entry)


def decode_entry(data: bytes, limits: EntryLimits = DEFAULT_LIMITS) -> Entry:
    """Admission of an entry: every type, form and limit is checked.

    Raises WireError (it is no entry), or LimitError with words for the sender.
    """
    entry = _open(data)
    session, first_seq, _, commands = entry
    if not commands:
        raise LimitError("the request holds no command")
    if len(commands) > limits.commands_per_request_max:
        raise LimitError(
            f"{len(commands)} commands in one request; the limit is "
            f"{limits.commands_per_request_max} (limits.commands_per_request_max)"
        )
    if first_seq < 1 or first_seq + len(commands) > INT_MAX:
        raise LimitError(f"sequence numbers run from 1 to 2^63-1, not from {first_seq}")
    key_max, value_max = limits.key_bytes_max, limits.value_bytes_max
    for index, command in enumerate(commands):
        # The usual case, without a call.
        if type(command) is list and len(command) == 3 and session:
            op, key, value = command
            if (
                type(op) is int
                and op == PUT
                and type(key) is bytes
                and type(value) is bytes
                and 0 < len(key) <= key_max
                and len(value) <= value_max
            ):
                continue
        try:
            _check_command(command, session, limits)
        except LimitError as error:
            if len(commands) == 1:
                raise
            detail = f"command {index + 1} of {len(commands)}: {error.detail}"
            raise LimitError(detail) from None
    return entry


def encode_batch(stamp_ms: int, entries: Iterable[bytes], reign: Reign | None = None) -> bytes:
    """The value of a slot from its time and the admitted entries, as they came. With a ``reign``
    it has the form of feature level 1."""
    return pack((stamp_ms, list(entries), *(reign or ())))


def decode_batch(value: bytes) -> Batch:
    """The batch in a slot's value (not for b"", the NOOP).

    The single commands are lists of anything: the state machine judges them. Raises WireError
    if the value is no batch; every node does so for the same value.
    """
    fields = unpack(value, text_bytes_max=NAME_BYTES_MAX)
    if type(fields) is not tuple or len(fields) not in (2, 2 + len(Reign._fields)):
        raise WireError("envelope", "the value is not a batch [stamp, entries]")
    stamp_ms, raw_entries, *reign = fields
    if type(stamp_ms) is not int or not 0 <= stamp_ms <= INT_MAX:
        raise WireError("field", "the batch has no valid time stamp")
    if type(raw_entries) is not tuple:
        raise WireError("field", "the batch has no list of entries")
    return Batch(stamp_ms, [_open(raw) for raw in raw_entries], _reign(*reign) if reign else None)


def _reign(round_: Any, node: Any, elapsed_ms: Any) -> Reign:
    for number in (round_, elapsed_ms):
        if type(number) is not int or not 0 <= number <= INT_MAX:
            raise WireError("field", "the batch has no valid reign")
    if type(node) is not str:
        raise WireError("field", "the batch has no valid reign")
    return Reign(round_, node, elapsed_ms)


def _open(data: Any) -> Entry:
    """The frame of an entry: four fields of the right types, the last a list of anything."""
    if type(data) is not bytes:
        raise WireError("field", "an entry is not bytes")
    try:  # unpack(), written out: every node runs this for every entry
        fields = unpackb(
            data,
            max_array_len=COMMANDS_MAX,
            max_map_len=0,
            max_str_len=NAME_BYTES_MAX,
            max_bin_len=BIN_BYTES_MAX,
            max_ext_len=0,
            ext_hook=refuse_ext,
        )
    except UNPACK_ERRORS as error:
        raise not_msgpack(error) from None
    if type(fields) is not list or len(fields) != 4:
        raise WireError("envelope", "an entry is not [session, first_seq, acked, commands]")
    session, first_seq, acked, commands = fields
    if (
        type(session) is not int
        or type(first_seq) is not int
        or type(acked) is not int
        or type(commands) is not list
        or not 0 <= session <= INT_MAX
        or not 0 <= first_seq <= INT_MAX
        or not 0 <= acked <= INT_MAX
    ):
        raise WireError("field", "an entry is not [session, first_seq, acked, commands]")
    return Entry(session, first_seq, acked, commands)


# ---- admission of single commands


def _key(value: Any, limits: EntryLimits) -> None:
    if type(value) is not bytes:
        raise LimitError(f"a key is bytes, not {type(value).__name__}")
    if not value:
        raise LimitError("the key is empty; a key has at least one byte")
    if len(value) > limits.key_bytes_max:
        raise LimitError(
            f"key is {len(value)} bytes; the limit is {limits.key_bytes_max} (limits.key_bytes_max)"
        )


def _bound(value: Any, limits: EntryLimits) -> None:
    """An end of a range of keys: a key, or empty. A prefix's end is never longer than it."""
    if value != b"":
        _key(value, limits)


def _value(value: Any, limits: EntryLimits) -> None:
    if type(value) is not bytes:
        raise LimitError(f"a value is bytes, not {type(value).__name__}")
    if len(value) > limits.value_bytes_max:
        raise LimitError(
            f"value is {len(value)} bytes; the limit is {limits.value_bytes_max} "
            "(limits.value_bytes_max)"
        )


def _expect(value: Any, limits: EntryLimits) -> None:
    if value is not None:
        _value(value, limits)


def _number(value: Any, _limits: EntryLimits) -> None:
    if type(value) is not int or not 0 <= value <= INT_MAX:
        raise LimitError(f"expected a number from 0 to 2^63-1, got {shorten(value)}")


def _client_name(value: Any, _limits: EntryLimits) -> None:
    if fault := client_name_fault(value):
        raise LimitError(fault)


def _ttl(value: Any, _limits: EntryLimits) -> None:
    if type(value) is not int or not TTL_MS_MIN <= value <= TTL_MS_MAX:
        raise LimitError(
            f"the TTL of a lease is {TTL_MS_MIN} to {TTL_MS_MAX} ms, not {shorten(value)}"
        )


def _wanted_lease(value: Any, _limits: EntryLimits) -> None:
    if type(value) is not int or not 0 <= value < FIRST_ID:
        raise LimitError(
            f"a lease can be asked for by an id from 1 to {FIRST_ID - 1}, or by 0 for any, not by "
            f"{shorten(value)}"
        )


def _lease_id(value: Any, _limits: EntryLimits) -> None:
    if type(value) is not int or not 1 <= value <= INT_MAX:
        raise LimitError(f"the id of a lease is a number from 1 to 2^63-1, not {shorten(value)}")


def _lease_ids(value: Any, limits: EntryLimits) -> None:
    if type(value) is not list or not 1 <= len(value) <= IDS_PER_KEEPALIVE_MAX:
        raise LimitError(f"keepalive takes a list of 1 to {IDS_PER_KEEPALIVE_MAX} ids of leases")
    for each in value:
        _lease_id(each, limits)


def _membership(value: Any, _limits: EntryLimits) -> None:
    try:
        Membership.from_command(value, 1, 1)
    except MembershipError as error:
        raise LimitError(str(error)) from None


def _settings(value: Any, _limits: EntryLimits) -> None:
    """Whether this document can be a change of settings at all. Whether it may follow the present
    settings is checked by the service."""
    try:
        ClusterSettings().follow(value)
    except (SettingsError, UnknownLevelError) as error:
        raise LimitError(str(error)) from None


def _client_name_or_none(value: Any, limits: EntryLimits) -> None:
    if value != "":
        _client_name(value, limits)


def _requester(value: Any, _limits: EntryLimits) -> None:
    if type(value) is not bytes or len(value) not in (0, KEY_BYTES):
        raise LimitError(f"who asks is named by a public key of {KEY_BYTES} bytes, or by none")


def _rights(value: Any, _limits: EntryLimits) -> None:
    """What is in it is checked by the service."""
    if type(value) is not bytes or len(value) > RIGHTS_BYTES_MAX:
        raise LimitError(f"a rights table is text of at most {RIGHTS_BYTES_MAX} bytes")


_FORMS: dict[int, tuple[str, tuple[Callable[[Any, EntryLimits], None], ...]]] = {
    PUT: ("put", (_key, _value)),
    DELETE: ("delete", (_key,)),
    DELETE_RANGE: ("delete_range", (_bound, _bound)),
    CAS_VALUE: ("cas_value", (_key, _expect, _value)),
    CAS_REVISION: ("cas_revision", (_key, _number, _value)),
    FENCE: ("fence", (_number, _number)),
    OPEN: ("open", ()),  # and _NAMED_OPEN
    CLOSE: ("close", ()),
    CHECKSUM: ("checksum", ()),
    MEMBERS: ("members", (_number, _membership)),
    CLUSTER: ("cluster", (_number, _number, _settings)),
}


_NAMED_OPEN = ("open", (_client_name,))
_LEASE_FORMS: dict[int, tuple[str, tuple[Callable[[Any, EntryLimits], None], ...]]] = {
    GRANT: ("grant", (_ttl, _wanted_lease)),
    KEEPALIVE: ("keepalive", (_lease_ids,)),
    REVOKE: ("revoke", (_lease_id,)),
}
_KEYED_FORMS: dict[int, tuple[str, tuple[Callable[[Any, EntryLimits], None], ...]]] = {
    OPEN: ("open", (_client_name_or_none, _requester)),
    FENCE: ("fence", (_number, _number, _requester)),
    MEMBERS: ("members", (_number, _membership, _requester)),
    CLUSTER: ("cluster", (_number, _number, _settings, _requester)),
    RIGHTS: ("rights", (_number, _rights, _requester)),
}
"""The forms with the key of who asks."""
_LEASED_PUT = ("put", (_key, _value, _lease_id))


def _check_transaction(command: Command, session: int, limits: EntryLimits) -> None:
    if not limits.coordination:
        raise LimitError(NO_TRANSACTIONS)
    if session == 0:
        raise LimitError("a transaction belongs into a session that was opened, not into session 0")
    form = TransactionForm(
        lambda key: _bound(key, limits),
        lambda value: _value(value, limits),
        key_bytes_max=limits.key_bytes_max,
        value_bytes_max=limits.value_bytes_max,
    )
    try:
        form.check(command)
    except FormError as error:
        raise LimitError(f"transaction: {error}") from None


def _check_command(command: Command, session: int, limits: EntryLimits) -> None:
    if type(command) is not list or not command or type(command[0]) is not int:
        raise LimitError("a command is a list that starts with a number")
    if command[0] == TXN:
        _check_transaction(command, session, limits)
        return
    form = _FORMS.get(command[0])
    if command[0] in _LEASE_FORMS or (command[0] == PUT and len(command) == 4):
        if not limits.coordination:
            raise LimitError(
                f"leases are there from feature level {LEVEL_COORDINATION} on, to which the "
                "cluster's leader raises it once every member runs a version that knows it "
                "(paxosctl cluster show)"
            )
        form = _LEASE_FORMS.get(command[0], _LEASED_PUT)
    if command[0] == OPEN and len(command) > 1 and limits.client_names:
        form = _NAMED_OPEN
    keyed = _KEYED_FORMS.get(command[0])
    if keyed is not None and (command[0] == RIGHTS or len(command) == 1 + len(keyed[1])):
        if limits.keys:
            form = keyed
        elif command[0] == RIGHTS:
            raise LimitError(NO_RIGHTS_YET)
    if form is None:
        raise LimitError(f"there is no command with number {shorten(command[0])}")
    label, checks = form
    if len(command) != 1 + len(checks):
        raise LimitError(f"{label} takes {len(checks)} arguments, not {len(command) - 1}")
    if (command[0] in _SESSIONLESS) != (session == 0):
        where = "session 0" if command[0] in _SESSIONLESS else "a session that was opened"
        raise LimitError(f"{label} belongs into {where}, not into session {session}")
    for check, argument in zip(checks, command[1:], strict=True):
        check(argument, limits)
