"""Makes text from elsewhere safe to print: it must not move the cursor of a terminal or set
colours."""

import re

_UNPRINTABLE_JSON = re.compile(
    r"[^\x20-\x7e\xa0-\U0010ffff]|[\u200b-\u200f\u2028-\u202e\u2066-\u2069]"
)


def escape_controls(text: str, keep: str = "\n\t") -> str:
    r"""The text with every character that does not print as an escape (``\r``, ``\x1b``), except
    those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(
        char if char in keep or char.isprintable() else repr(char)[1:-1] for char in text
    )


def escape_json_controls(line: str) -> str:
    r"""The same JSON document, with those control characters that JSON allows (DEL, C1,
    bidirectional ones) as ``\u`` escapes."""
    if line.isprintable():
        return line
    return _UNPRINTABLE_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
