"""Numbers as a live view shows them: short, and as wide at all times as they may get."""

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
PLAIN_BARS = "_.-:=+*#"
"""For a terminal that shows ASCII alone."""


def sparkline(values: Sequence[float], width: int, *, bars: str = BARS) -> str:
    """The last ``width`` values as a picture, the newest at the right; blanks where there is none.
    Scaled to the largest that is shown; 0 is the lowest bar."""
    if width <= 0:
        return ""
    shown = list(values)[-width:]
    top = max(shown, default=0.0)
    last = len(bars) - 1
    picture = "".join(bars[min(last, round(each / top * last))] if top > 0 else bars[0]
                      for each in shown)  # fmt: skip
    return picture.rjust(width)


def per_second(count: float | None) -> str:
    """``0``, ``3.2``, ``1,234``, ``56k``; "-": not known."""
    if count is None:
        return "-"
    if count >= 100_000:
        return f"{count / 1000:,.0f}k"
    return f"{count:.1f}" if 0 < count < 10 else f"{count:,.0f}"


def milliseconds(us: float | None) -> str:
    """Of microseconds: ``0.3 ms``, ``12 ms``, ``1.5 s``; "-": there was none."""
    if us is None:
        return "-"
    if us >= 1_000_000:
        return f"{us / 1e6:.1f} s"
    return f"{us / 1000:.1f} ms" if us < 10_000 else f"{us / 1000:.0f} ms"


def percent(share: float | None) -> str:
    """``7%``; "-": not known."""
    return "-" if share is None else f"{share:.0%}"


def size(count: int) -> str:
    """Bytes: ``88M``, ``1.5G``; "?": not known."""
    if count < 0:
        return "?"
    for unit, bytes_ in (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if count >= bytes_:
            number = count / bytes_
            return f"{number:.1f}{unit}" if number < 10 else f"{number:.0f}{unit}"
    return f"{count}B"


def age(seconds: float) -> str:
    """``5s``, ``3m``, ``2h``, ``9d``."""
    for unit, length_s in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds // length_s:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"
