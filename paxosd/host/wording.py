"""Words for people that depend on a number: a plural, and a list of names."""

from collections.abc import Iterable


def counted(count: int, noun: str) -> str:
    """``1 node``, ``3 nodes``, ``0 more failures``: for nouns whose plural ends in a plain s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def lasted(duration_ms: float) -> str:
    """``12 s``, ``5 min``, ``3 h``, ``4 d``: a duration as people say it, rounded down."""
    seconds = max(0, int(duration_ms // 1000))
    for unit, unit_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s} {unit}"
    return f"{seconds} s"


def listed(names: Iterable[str]) -> str:
    """``n1``, ``n1 and n2``, ``n1, n2 and n3``, in the given order; "" for no name."""
    each = list(names)
    return " and ".join(filter(None, [", ".join(each[:-1]), *each[-1:]]))
