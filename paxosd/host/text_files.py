"""Text files that people give to a program: read as far as any of them could reasonably go."""

import tomllib
from pathlib import Path
from typing import Any

TEXT_BYTES_MAX = 1 << 20


def read_text(path: Path) -> str:
    """Of at most ``TEXT_BYTES_MAX`` bytes of UTF-8. Raises ValueError with words for people, and
    OSError."""
    with path.open("rb") as file:
        content = file.read(TEXT_BYTES_MAX + 1)  # a device may have no end
    if len(content) > TEXT_BYTES_MAX:
        raise ValueError(f"it is longer than {TEXT_BYTES_MAX} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: byte {error.start}") from None


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file and what it says. Raises ValueError with words for people, and
    OSError."""
    text = read_text(path)
    return text, parse_toml(text)


def parse_toml(text: str) -> dict[str, Any]:
    """What a TOML document says. Raises ValueError with words for people."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"this is not TOML: {error}") from None
    except RecursionError:
        raise ValueError("this is not TOML that anybody reads: it is nested too deeply") from None
