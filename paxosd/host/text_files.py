"""Reading the text files that people give to a program, with a limit on their size."""

from pathlib import Path

TEXT_BYTES_MAX = 1 << 20


def read_text(path: Path) -> str:
    """A file of at most ``TEXT_BYTES_MAX`` bytes of UTF-8. Raises ValueError with words for people,
    and OSError."""
    with path.open("rb") as file:
        content = file.read(TEXT_BYTES_MAX + 1)  # a device may have no end
    if len(content) > TEXT_BYTES_MAX:
        raise ValueError(f"it is longer than {TEXT_BYTES_MAX} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: byte {error.start}") from None
