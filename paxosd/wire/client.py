"""Frames between a client and a daemon.

    [VERSION, cluster_id: str, kind: int, request_id: int, *fields]

In a request cluster_id "" stands for "whichever cluster this is"; an answer always names the
daemon's. ``fields`` are those of the message class in order. A read's result is nil (no key),
``[key, value, create, modify, version]`` (a GET), ``[rows, more]`` (a RANGE, a NEWEST) or a number
(a COUNT): their forms distinguish them. A change has a fifth field, a key record or nil, if the
request asked for what was before. A command's result is a number or ``[status, revision, detail]``.
"""

from typing import Any

from paxosd.core.commands import Change, ChangeOf, KeyValue, Result, Status
from paxosd.core.requests import (
    COUNT,
    GET,
    LEASE,
    LEASES,
    LINEARIZABLE,
    NEWEST,
    RANGE,
    STALE,
    AdminAnswer,
    AdminRequest,
    ClientMessage,
    ForwardRequest,
    HistoryAnswer,
    HistoryRequest,
    LeaseInfo,
    LeasePage,
    RangePage,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
    ServerMessage,
    VouchedRequest,
    WriteAnswer,
    WriteRequest,
)
from paxosd.core.rights import KEY_BYTES
from paxosd.core.transactions import is_branch_result
from paxosd.wire.fields import (
    INT_MAX,
    TEXT_BYTES_MAX,
    VERSION,
    Check,
    WireError,
    bad_field,
    data,
    data_or_none,
    fields_of,
    name,
    name_or_empty,
    number,
    number_or_minus_one,
    open_envelope,
    pack,
    record_of,
    shorten,
    text,
    tuple_of,
    unpack,
)

QUERIES_MAX = 1024
"""Queries in one read request."""
NUMBERS_MAX = 1000
"""Numbers in one result."""
PLAIN_DEPTH_MAX = 8
"""How deep lists and maps of an admin message may be nested."""
MAP_MAX = 4096

_FIRST = 3  # the fields before those of the message


# ---- requests


def _mode(value: Any) -> int:
    if type(value) is not int or value not in (LINEARIZABLE, STALE):
        raise bad_field("a read mode, 0 or 1", value)
    return value


def _query(value: Any) -> list[Any]:
    if type(value) is tuple and value and type(value[0]) is int:
        op, count = value[0], len(value)
        if op == GET and count in (2, 3) and type(value[1]) is bytes and _at(value, 2):
            return list(value)
        if (
            op == COUNT
            and count in (3, 4)
            and {*map(type, value[1:3])} == {bytes}
            and _at(value, 3)
        ):
            return list(value)
        if op == RANGE and count in (6, 7) and _at(value, 6):
            _, start, end, limit, reverse, keys_only = value[:6]
            if (
                type(start) is bytes
                and type(end) is bytes
                and type(limit) is int
                and 0 <= limit <= INT_MAX
                and type(reverse) is bool
                and type(keys_only) is bool
            ):
                return list(value)
        bounded = op == NEWEST and count == 5 and {*map(type, value[1:3])} == {bytes}
        if bounded and _at(value, 3) and value[4]:
            return list(value)
        owned = len(value) == 4 and value[3] is True
        if value[0] in _LEASE_QUERIES and (len(value) == 3 or owned):
            lease, argument = value[1:3]
            if (
                type(lease) is int
                and 0 <= lease <= INT_MAX
                and type(argument) is _LEASE_QUERIES[value[0]]
                and 0 <= argument <= INT_MAX
            ):
                return list(value)
    raise bad_field(
        "a query [1, key], [2, start, end, limit, reverse, keys_only], [3, start, end] (and a "
        "revision), [4, lease, with_keys], [5, after, limit] (and true) or "
        "[6, start, end, created_below, limit]",
        value,
    )


_LEASE_QUERIES: dict[int, type[int]] = {LEASE: bool, LEASES: int}


def _at(query: tuple[Any, ...], place: int) -> bool:
    """Whether the revision at this place, if there is any, is one."""
    return all(type(each) is int and 0 <= each <= INT_MAX for each in query[place:])


def _queries(value: Any) -> list[list[Any]]:
    if type(value) is not tuple or not 1 <= len(value) <= QUERIES_MAX:
        raise bad_field(f"1 to {QUERIES_MAX} queries", value)
    return [_query(item) for item in value]


def plain(value: Any, depth: int = PLAIN_DEPTH_MAX) -> Any:
    """A value made of nil, bool, int, float, text, bytes, lists and maps with text keys."""
    kind = type(value)
    if kind in (int, str, bool, float, bytes) or value is None:
        return value
    if depth == 0:
        raise WireError("field", f"nested deeper than {PLAIN_DEPTH_MAX}")
    if kind is tuple:
        return [plain(item, depth - 1) for item in value]
    if kind is dict:
        if not all(type(key) is str for key in value):
            raise WireError("field", "a map key is not text")
        return {key: plain(item, depth - 1) for key, item in value.items()}
    raise bad_field("a plain value", value)


def _body(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise bad_field("a map", value)
    checked: dict[str, Any] = plain(value)
    return checked


def _public_key(value: Any) -> bytes:
    if type(value) is not bytes or len(value) != KEY_BYTES:
        raise bad_field(f"a public key of {KEY_BYTES} bytes", value)
    return value


def _write_request(frame: tuple[Any, ...]) -> WriteRequest:
    # Without the general checks, as _write_answer is: these two are nearly all of the traffic.
    if len(frame) != 5:
        raise WireError("arity", f"write: {len(frame) - _FIRST} fields, expected 2")
    request_id, entry = frame[3:]
    if type(request_id) is not int or not 0 <= request_id <= INT_MAX or type(entry) is not bytes:
        raise WireError("field", "write: expected a request id and the bytes of an entry")
    return WriteRequest(request_id, entry)


# ---- answers


def _result(value: Any, nested: bool = False) -> Result:
    if type(value) is int and 0 <= value <= INT_MAX:
        return value
    if type(value) is tuple and len(value) == 3:
        status, revision, detail = value
        if type(status) is int and 0 <= status <= 255:
            number(revision)
            if detail is None:
                return value
            if type(detail) is int:
                number(detail)
                return value
            if type(detail) is not tuple:
                raise bad_field("a result", value)
            # Of a KEEPALIVE; or of a FENCE: the slot, and a revision.
            if 1 <= len(detail) <= NUMBERS_MAX and set(map(type, detail)) == {int}:
                return status, revision, tuple(map(number, detail))
            if status == Status.OK and is_branch_result(detail):
                return value  # of a TXN
            # Only of a FENCE: what became of the other command, which is never a FENCE itself.
            if len(detail) == 2 and not nested:
                return status, revision, (number(detail[0]), _result(detail[1], True))
    raise bad_field("a result", value)


def _write_answer(frame: tuple[Any, ...]) -> WriteAnswer:
    if len(frame) != 6:
        raise WireError("arity", f"write answer: {len(frame) - _FIRST} fields, expected 3")
    request_id, slot, raw = frame[3:]
    if type(request_id) is not int or type(slot) is not int or type(raw) is not tuple:
        raise WireError("field", "write answer: a field has the wrong type")
    if not (0 <= request_id <= INT_MAX and 0 <= slot <= INT_MAX):
        raise WireError("field", "write answer: a number is out of range")
    results = list(raw)
    if set(map(type, results)) != {int}:
        results = [_result(item) for item in results]
    elif min(results) < 0 or max(results) > INT_MAX:
        raise WireError("field", "write answer: a revision is out of range")
    return WriteAnswer(request_id, slot, results)


_KEY_VALUE = record_of(KeyValue, data, data, number, number, number)
_PLAIN_CHANGE = record_of(Change, number, number, data, data_or_none)


def _previous(value: Any) -> KeyValue | None:
    return None if value is None else _KEY_VALUE(value)


_CHANGE_OF = record_of(ChangeOf, number, number, data, data_or_none, _previous)


def _change(value: Any) -> Change | ChangeOf:
    found: Change | ChangeOf
    found = (_CHANGE_OF if type(value) is tuple and len(value) == 5 else _PLAIN_CHANGE)(value)
    return found


def _list_of(check: Check) -> Check:
    items = tuple_of(check)
    return lambda value: list(items(value))


_PAGE = record_of(RangePage, _list_of(_KEY_VALUE), data_or_none)


_LEASE = number, number, number, number, text, _list_of(data)
_LEASE_ROW, _OWNED_LEASE = record_of(LeaseInfo, *_LEASE), record_of(LeaseInfo, *_LEASE, text)


def _lease(value: Any) -> LeaseInfo:
    """Of a node that does not say who owns it, too."""
    owned = type(value) is tuple and len(value) > len(_LEASE)
    found: LeaseInfo = (_OWNED_LEASE if owned else _LEASE_ROW)(value)
    return found


_LEASE_PAGE = record_of(LeasePage, _list_of(_lease), number, number)
_FOUND_OF: dict[int, Check] = {2: _PAGE, 3: _LEASE_PAGE, 5: _KEY_VALUE, 6: _lease, 7: _lease}
"""By the number of fields of a result."""


def _found(value: Any) -> KeyValue | RangePage | LeaseInfo | LeasePage | int | None:
    if value is None or type(value) is int:
        return None if value is None else number(value)
    check = _FOUND_OF.get(len(value), _KEY_VALUE) if type(value) is tuple else _KEY_VALUE
    found: KeyValue | RangePage | LeaseInfo | LeasePage = check(value)
    return found


def _row(label: str, build: type, *checks: Check) -> tuple[type, Check]:
    return build, fields_of(label, build, _FIRST, number, *checks)


_REQUESTS: dict[int, tuple[type, Check]] = {
    32: (WriteRequest, _write_request),
    33: _row("read", ReadRequest, _mode, _queries),
    34: _row("history", HistoryRequest, data, data, number, number),
    35: _row("admin", AdminRequest, name, _body),
    36: _row("forward", ForwardRequest, data),
    37: _row("vouched", VouchedRequest, data, _public_key),
}
_ANSWERS: dict[int, tuple[type, Check]] = {
    48: (WriteAnswer, _write_answer),
    49: _row("read answer", ReadAnswer, number, number, number_or_minus_one, _list_of(_found)),
    50: _row("history answer", HistoryAnswer, _list_of(_change), number, number),
    51: _row("admin answer", AdminAnswer, _body),
    52: _row("refusal", RefusalAnswer, name, text, name_or_empty, text, number_or_minus_one),
}
_KIND_OF: dict[type, int] = {row[0]: kind for kind, row in (_REQUESTS | _ANSWERS).items()}


def encode_client(message: ClientMessage | ServerMessage, cluster: str) -> bytes:
    """The frame of a request or an answer."""
    return pack((VERSION, cluster, _KIND_OF[type(message)], *message))


def _decode(table: dict[int, tuple[type, Check]], fields: Any, cluster: str) -> Any:
    kind = open_envelope(fields, _FIRST + 1, cluster)
    row = table.get(kind)
    if row is None:
        raise WireError("kind", f"no message of this direction has kind {shorten(kind)}")
    return row[1](fields)


def decode_request(frame: bytes | memoryview, cluster: str) -> ClientMessage:
    """A request to a daemon of ``cluster``. Raises WireError, if possible with request_id."""
    fields = unpack(frame, map_max=MAP_MAX, text_bytes_max=TEXT_BYTES_MAX)
    named = type(fields) is tuple and len(fields) > 1 and fields[1] == ""
    try:
        request: ClientMessage = _decode(_REQUESTS, fields, "" if named else cluster)
    except WireError as error:
        if type(fields) is tuple and len(fields) > _FIRST:
            request_id = fields[_FIRST]
            if type(request_id) is int and 0 <= request_id <= INT_MAX:
                error.request_id = request_id
        raise
    return request


def decode_answer(frame: bytes | memoryview, cluster: str = "") -> ServerMessage:
    """A daemon's answer; ``cluster`` "" takes it from any cluster. Raises WireError."""
    fields = unpack(frame, map_max=MAP_MAX, text_bytes_max=TEXT_BYTES_MAX)
    answer: ServerMessage = _decode(_ANSWERS, fields, cluster)
    return answer
