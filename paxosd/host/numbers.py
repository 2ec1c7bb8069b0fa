"""Whole numbers as people write them: ASCII digits, without the forms that only Python reads."""

import re

WHOLE_MAX = (1 << 63) - 1
"""The largest that the wire, the log and the state have room for."""

_FORM = re.compile(r"[+-]?[0-9]+")


def parse_whole(text: str, minimum: int | None = None, maximum: int | None = WHOLE_MAX) -> int:
    """A number within the bounds, both included. Raises ValueError with words for people."""
    text = text.strip()
    if not _FORM.fullmatch(text):
        raise ValueError(f'"{text}" is not a whole number')
    # Python refuses to read thousands of digits, and reading some hundreds would take long.
    value = int(text) if len(text) <= len(str(WHOLE_MAX)) + 1 else None
    if value is None or (maximum is not None and value > maximum):
        above = maximum if maximum is not None else WHOLE_MAX
        if value is None and text.startswith("-"):
            raise ValueError(f"{text} is too small")
        raise ValueError(f"{text} is too large: {above} is the most")
    if minimum is not None and value < minimum:
        raise ValueError(f"{text} is too small: {minimum} is the least")
    return value
