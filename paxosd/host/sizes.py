"""Sizes as people write them: ``65536``, ``64KiB``, ``1.5MiB``, ``2GiB``; a mere number: bytes."""

import re

from paxosd.host.numbers import parse_whole

_FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(K|M|G|T)iB")
_SHIFT = {"K": 10, "M": 20, "G": 30, "T": 40}


def parse_size_bytes(text: str) -> int:
    """Whole bytes, rounded down. Raises ValueError with words for people."""
    text = text.strip()
    match = _FORM.fullmatch(text)
    if match is not None:
        whole, _, part = match[1].partition(".")
        unit_bytes = 1 << _SHIFT[match[2]]
        fraction_bytes = int(part) * unit_bytes // 10 ** len(part) if part else 0
        return parse_whole(str(parse_whole(whole) * unit_bytes + fraction_bytes))
    if text[-1:].isalpha():
        raise ValueError(f'"{text}" is no size: a number of bytes, or such as 64KiB, 10MiB, 2GiB')
    return parse_whole(text)
