"""Whether the holders of a lock kept to it, from what they saw of themselves.

    records.acquired("l1", token, at_us)            acquire has returned
    records.checked("l1", token, begun_us, held)    check() began then, and said so
    records.wrote("l1", token, begun_us, revision)  a fenced write that began then took effect
    check_locks(records)                            the verdict

- Each acquisition has a token of its own.
- No check and no write that began after another had acquired with a newer token says "held", or
  takes effect.
- The tokens of the writes that took effect never go down, in the order of their revisions.

All times are of one clock. Checks of one host prove nothing about the drift of clocks.
"""

from bisect import bisect_left
from itertools import pairwise
from typing import NamedTuple

from paxosd.check.verdict import CHECKED_OK, VIOLATION, Verdict


class Held(NamedTuple):
    """What a client did or believed, as the holder with this token. ``at_us``: an acquisition: when
    it was known; else when it was begun. ``revision``: of a write."""

    token: int
    at_us: int
    process: str
    revision: int = 0


class LockRecords:
    """What the clients of one lock recorded. They may be threads."""

    def __init__(self) -> None:
        self.acquisitions: list[Held] = []
        self.beliefs: list[Held] = []
        """Checks that said "held"."""
        self.writes: list[Held] = []
        self.refusals: list[Held] = []
        """Fenced writes that were refused."""

    def acquired(self, process: str, token: int, at_us: int) -> None:
        """It knows that it holds the lock."""
        self.acquisitions.append(Held(token, at_us, process))

    def checked(self, process: str, token: int, begun_us: int, held: bool) -> None:
        """A check was answered."""
        if held:
            self.beliefs.append(Held(token, begun_us, process))

    def wrote(self, process: str, token: int, begun_us: int, revision: int) -> None:
        """A fenced write was acknowledged."""
        self.writes.append(Held(token, begun_us, process, revision))

    def refused(self, process: str, token: int, begun_us: int) -> None:
        """A fenced write was refused."""
        self.refusals.append(Held(token, begun_us, process))


def check_locks(records: LockRecords) -> Verdict:
    """Judge the records of one lock."""
    order = sorted(records.acquisitions)
    for one, other in pairwise(order):
        if one.token == other.token:
            words = f"{one.process} and {other.process} both acquired with token {one.token}"
            return Verdict(VIOLATION, None, words)
    tokens = [each.token for each in order]
    first_later: list[Held | None] = [None] * (len(order) + 1)
    for place in range(len(order) - 1, -1, -1):
        last = first_later[place + 1]
        each = order[place]
        first_later[place] = each if last is None or each.at_us < last.at_us else last
    for what, some in (("says that it holds the lock", records.beliefs),
                       ("wrote with its fence", records.writes)):  # fmt: skip
        for each in some:
            later = first_later[bisect_left(tokens, each.token + 1)]
            if later is not None and later.at_us < each.at_us:
                words = (
                    f"{each.process} {what}, with token {each.token}, "
                    f"{(each.at_us - later.at_us) / 1000:.3f} ms after {later.process} had "
                    f"acquired it with token {later.token}"
                )
                return Verdict(VIOLATION, None, words)
    for one, other in pairwise(sorted(records.writes, key=lambda each: each.revision)):
        if one.token > other.token:
            words = (
                f"{other.process} wrote with token {other.token} at revision {other.revision}, "
                f"after {one.process} with the newer {one.token} at {one.revision}"
            )
            return Verdict(VIOLATION, None, words)
    writes, refused = len(records.writes), len(records.refusals)
    words = f"held {len(order)} times, {writes} fenced writes, {refused} refused"
    return Verdict(CHECKED_OK, None, words)
