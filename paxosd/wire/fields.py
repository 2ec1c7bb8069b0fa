"""What every frame has in common: the envelope, the limits, and the checks of single fields.

A frame is one msgpack array that starts with ``[VERSION, cluster_id, kind, …]``. Decoding is
strict: whatever is not exactly what this version writes is refused with a :class:`WireError`
and nothing else; the decoder never builds more than its caller expects.

- arrays, maps, strings and bytes have explicit limits; extension types, and so Timestamps,
  are refused; so are trailing bytes and map keys that are not text;
- numbers are ints (a bool is none) in ``0 ..= INT_MAX``, unless a check says otherwise;
- a frame takes at most about 30 times as many bytes in memory as on the wire (arrays of tiny
  arrays), and the socket's own limit bounds the frame.

Kinds: 1-31 between daemons, 32-47 requests, 48-63 answers, 64-79 events (PUB payloads).
"""

from collections.abc import Callable
from typing import Any, NoReturn

from msgpack import packb, unpackb
from msgpack.exceptions import UnpackException

from paxosd.core.types import Ballot

VERSION = 1
INT_MAX = (1 << 63) - 1
NAME_CHARS_MAX = 64
NAME_BYTES_MAX = 4 * NAME_CHARS_MAX
TEXT_BYTES_MAX = 65_536
BIN_BYTES_MAX = 1 << 28
"""Above every configurable message size; the socket and the admission limits are tighter."""
ARRAY_MAX = 1 << 20

DIGEST_BYTES = 16
"""The size of the digest that names a snapshot's contents."""

UNPACK_ERRORS = (ValueError, TypeError, OverflowError, UnpackException)
"""What msgpack raises for bad bytes; also UnicodeDecodeError and StackError, its ValueErrors."""

Check = Callable[[Any], Any]
"""Takes a raw field, returns the typed one, raises WireError."""


class WireError(Exception):
    """Bytes from outside are not what they should be.

    ``reason``: a slug to count by: ``not_msgpack envelope version cluster kind arity field
    limit``. ``detail``: words for people. ``request_id``: of the client request that is
    refused, where it could still be read, else -1.
    """

    def __init__(self, reason: str, detail: str, request_id: int = -1) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.request_id = request_id

    def __str__(self) -> str:
        return self.detail


class LimitError(WireError):
    """Well-formed, but larger or other than the configured limits and the rules allow."""

    def __init__(self, detail: str) -> None:
        super().__init__("limit", detail)


def refuse_ext(code: int, _data: bytes) -> NoReturn:
    """The ext_hook of every unpacker: without data an extension passes max_ext_len=0."""
    raise ValueError(f"extension type {code} is not allowed")


def not_msgpack(error: Exception) -> WireError:
    """The WireError for one of UNPACK_ERRORS."""
    words = str(error) or type(error).__name__
    return WireError("not_msgpack", f"not what this version writes: {words}")


def unpack(
    data: bytes | memoryview,
    *,
    use_list: bool = False,
    array_max: int = ARRAY_MAX,
    map_max: int = 0,
    text_bytes_max: int = NAME_BYTES_MAX,
) -> Any:
    """One msgpack value and nothing after it. Raises WireError("not_msgpack", …)."""
    try:
        return unpackb(
            data,
            use_list=use_list,
            strict_map_key=True,
            max_array_len=array_max,
            max_map_len=map_max,
            max_str_len=text_bytes_max,
            max_bin_len=BIN_BYTES_MAX,
            max_ext_len=0,
            ext_hook=refuse_ext,
        )
    except UNPACK_ERRORS as error:
        raise not_msgpack(error) from None


def pack(fields: tuple[Any, ...]) -> bytes:
    """The frame of ``fields``. They come from this program: nothing is checked."""
    packed: bytes = packb(fields)
    return packed


def open_envelope(fields: Any, length_min: int, cluster: str, version_max: int = VERSION) -> int:
    """Check the envelope of a decoded frame and return its kind. cluster "": any will do.

    Raises WireError: envelope, version, cluster or kind, in this order.
    """
    if type(fields) is not tuple or len(fields) < length_min:
        raise WireError("envelope", "the frame is not an array with an envelope")
    version, name, kind = fields[:3]
    if type(version) is not int or not VERSION <= version <= version_max:
        words = f"wire version {shorten(version)}; this node speaks {version_max}"
        raise WireError("version", words)
    if type(name) is not str:
        raise WireError("envelope", "the cluster id is not text")
    if cluster and name != cluster:
        raise WireError("cluster", f'sent to cluster "{shorten(name)}"; this is "{cluster}"')
    if type(kind) is not int:
        raise WireError("kind", "the kind of message is not a number")
    return kind


def shorten(value: Any) -> str:
    """A foreign value in an error message: no longer than a line, whatever it is."""
    text = value if type(value) is str else repr(value)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 60 else text[:57] + "…"


def bad_field(what: str, value: Any) -> WireError:
    """The error for a field: ``what`` was expected, ``value`` came."""
    return WireError("field", f"expected {what}, got {type(value).__name__} {shorten(value)}")


# ---- checks


def number(value: Any) -> int:
    """A slot, revision, sequence number, count or time: 0 ..= INT_MAX."""
    if type(value) is not int or not 0 <= value <= INT_MAX:
        raise bad_field("a number from 0 to 2^63-1", value)
    return value


def number_or_minus_one(value: Any) -> int:
    """A number, or -1 for "never"."""
    if type(value) is not int or not -1 <= value <= INT_MAX:
        raise bad_field("a number from -1 to 2^63-1", value)
    return value


def flag(value: Any) -> bool:
    """True or False, not a number."""
    if type(value) is not bool:
        raise bad_field("true or false", value)
    return value


def data(value: Any) -> bytes:
    """Bytes of any length."""
    if type(value) is not bytes:
        raise bad_field("bytes", value)
    return value


def digest(value: Any) -> bytes:
    """A digest of DIGEST_BYTES."""
    if type(value) is not bytes or len(value) != DIGEST_BYTES:
        raise bad_field(f"a digest of {DIGEST_BYTES} bytes", value)
    return value


def data_or_none(value: Any) -> bytes | None:
    """Bytes or nil."""
    if value is not None and type(value) is not bytes:
        raise bad_field("bytes or nil", value)
    return value


def text(value: Any) -> str:
    """Text; its length was bounded by the unpacker."""
    if type(value) is not str:
        raise bad_field("text", value)
    return value


def name_or_empty(value: Any) -> str:
    """A name of at most NAME_CHARS_MAX characters, or ""."""
    if type(value) is not str or len(value) > NAME_CHARS_MAX:
        raise bad_field(f"a name of at most {NAME_CHARS_MAX} characters", value)
    return value


def name(value: Any) -> str:
    """A name of 1 to NAME_CHARS_MAX characters."""
    if type(value) is not str or not 1 <= len(value) <= NAME_CHARS_MAX:
        raise bad_field(f"a name of 1 to {NAME_CHARS_MAX} characters", value)
    return value


def ballot(value: Any) -> Ballot:
    """``(round, node)``; the null ballot too."""
    if type(value) is tuple and len(value) == 2:
        round_, node = value
        if (
            type(round_) is int
            and 0 <= round_ <= INT_MAX
            and type(node) is str
            and len(node) <= NAME_CHARS_MAX
        ):
            return Ballot(round_, node)
    raise bad_field("a ballot (round, node)", value)


def tuple_of(check: Check, count_max: int = ARRAY_MAX) -> Check:
    """A check of an array whose items all pass ``check``; returns a tuple."""

    def items(value: Any) -> tuple[Any, ...]:
        if type(value) is not tuple or len(value) > count_max:
            raise bad_field(f"an array of at most {count_max} items", value)
        return tuple([check(item) for item in value])

    return items


def record_of(build: Callable[..., Any], *checks: Check) -> Check:
    """A check of an array with one item per check; returns ``build(*items)``."""
    count = len(checks)

    def record(value: Any) -> Any:
        if type(value) is not tuple or len(value) != count:
            raise bad_field(f"an array of {count} items", value)
        return build(*[check(item) for check, item in zip(checks, value, strict=True)])

    return record


def fields_of(label: str, build: Callable[..., Any], first: int, *checks: Check) -> Check:
    """A decoder of a whole frame (a tuple): its items from ``first`` on make one message."""
    count = len(checks)

    def message(frame: tuple[Any, ...]) -> Any:
        if len(frame) != first + count:
            raise WireError("arity", f"{label}: {len(frame) - first} fields, expected {count}")
        try:
            return build(*[check(item) for check, item in zip(checks, frame[first:], strict=True)])
        except WireError as error:
            raise WireError(error.reason, f"{label}: {error.detail}") from None

    return message
