"""What is said of a log that recovery refuses, and of one that another version wrote."""

from typing import NoReturn

from paxosd.storage.disk import CorruptionError, NewerVersionError

_ADVICE = (
    "Reading it changed nothing. No node must vote with this log: the daemon sets it aside "
    "(lost-*.log), catches up from the other members and asks to vote again"
)


def corruption(segment: str, offset: int, what: str) -> CorruptionError:
    """The error for a log that no crash leaves so."""
    message = f"log corruption in {segment} at offset {offset}: {what}. {_ADVICE}"
    return CorruptionError(message, segment=segment, offset=offset)


def other_version(segment: str, offset: int, problem: Exception) -> NewerVersionError:
    """The error for a log of another version, which is no damage."""
    return NewerVersionError(
        f"{segment} at offset {offset}: {problem}. Nothing was changed; start this node with the "
        "version of paxosd that wrote its log, or a later one",
        segment=segment,
        offset=offset,
    )


def corrupt(segment: str, offset: int, what: str) -> NoReturn:
    """Raises :func:`corruption`."""
    raise corruption(segment, offset, what)
