"""Durations as people write them: ``500ms``, ``5s``, ``1.5m``, ``2h``; a bare number is seconds."""

import re

_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, None: 1000}


def parse_duration_ms(text: str) -> int:
    """Whole milliseconds. Raises ValueError with words for people."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'"{text}" is not a duration, such as 500ms, 5s or 1m')
    return round(float(match[1]) * _UNIT_MS[match[2]])
