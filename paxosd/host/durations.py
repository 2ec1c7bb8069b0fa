"""Durations as people write them: ``500ms``, ``5s``, ``1.5m``, ``2h``, ``1d``; a mere number: s."""

import re

DURATION_MS_MAX = 100 * 366 * 24 * 3_600_000
"""A hundred years: more is a slip of the keyboard, and some clock would not take it."""

_FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, None: 1000}


def parse_duration_ms(text: str) -> int:
    """Whole milliseconds. Raises ValueError with words for people."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'"{text}" is not a duration, such as 500ms, 5s or 1m')
    duration_ms = float(match[1]) * _UNIT_MS[match[2]]
    if duration_ms > DURATION_MS_MAX:
        raise ValueError(f'"{text}" is longer than a hundred years')
    return round(duration_ms)
