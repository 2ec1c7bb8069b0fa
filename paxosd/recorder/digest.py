"""A short sum of a slot's value: whether two nodes had the same one is seen without the value."""

from zlib import crc32

DIGEST_EDGE_BYTES = 2048


def digest_of(value: bytes) -> int:
    """A number that differs for values that differ, as far as their length and both their ends do.
    The whole of a large value would cost the loop as much as its record in the log."""
    size = len(value)
    if size <= 2 * DIGEST_EDGE_BYTES:
        return size << 32 | crc32(value)
    return size << 32 | crc32(value[-DIGEST_EDGE_BYTES:], crc32(value[:DIGEST_EDGE_BYTES]))
