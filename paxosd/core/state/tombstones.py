"""Tombstones: which entries of the store belong to removed ranges and are not yet taken out.

A range that is removed at revision R hides every entry in it whose modify revision is below R.
Of several ranges over one key the youngest hides what all of them hide, so for each key one
revision is enough: the keys fall into segments, each with the highest such revision.

    bounds     b"a"   b"f"   b"k"          key < b"a": nothing is hidden
    revisions    7     12      0           b"a" <= key < b"f": what is below revision 7
"""

from bisect import bisect_left, bisect_right


class Tombstones:
    """The segments. ``bounds`` stays the same list; it is empty if nothing is hidden."""

    __slots__ = ("_revisions", "bounds")

    def __init__(self) -> None:
        self.bounds: list[bytes] = []
        self._revisions: list[int] = []

    def add(self, start: bytes, end: bytes, revision: int) -> None:
        """Hide entries below ``revision``, the highest so far, in ``start <= key < end``."""
        bounds = self.bounds
        behind = self.revision_at(end) if end else 0
        first = bisect_left(bounds, start)
        stop = bisect_left(bounds, end) if end else len(bounds)
        goes_on = bool(end) and (stop == len(bounds) or bounds[stop] != end)
        bounds[first:stop] = [start, end] if goes_on else [start]
        self._revisions[first:stop] = [revision, behind] if goes_on else [revision]

    def revision_at(self, key: bytes) -> int:
        """Entries of ``key`` below this revision are hidden."""
        place = bisect_right(self.bounds, key) - 1
        return self._revisions[place] if place >= 0 else 0

    def forget(self, revision: int) -> None:
        """All entries that ranges up to ``revision`` hid have been taken out."""
        bounds: list[bytes] = []
        revisions: list[int] = []
        for bound, each in zip(self.bounds, self._revisions, strict=True):
            kept = each if each > revision else 0
            if kept != (revisions[-1] if revisions else 0):
                bounds.append(bound)
                revisions.append(kept)
        self.bounds[:] = bounds
        self._revisions = revisions

    def clear(self) -> None:
        """Nothing is hidden any more."""
        self.bounds.clear()
        self._revisions.clear()

    def copy(self) -> "Tombstones":
        """A copy that later changes leave as it is."""
        other = Tombstones()
        other.bounds = self.bounds[:]
        other._revisions = self._revisions[:]
        return other
