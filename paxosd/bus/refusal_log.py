"""A log that strangers cannot flood: one line per (source, reason) and interval.

The first refusal is logged at once with count 1. Further ones of the same source and reason are
counted, and logged in one line when the interval is over. At most ``sources_max`` pairs are kept;
beyond that all sources share one line per reason.
"""

from typing import Any

from paxosd.host.log import Log

OTHERS = "(others)"


class RefusalLog:
    """Counts by (event, source, reason) and logs seldom. Times are ms on any steady clock."""

    def __init__(self, log: Log, *, interval_ms: int = 10_000, sources_max: int = 256) -> None:
        self._log = log
        self._interval_ms = interval_ms
        self._sources_max = sources_max
        # (event, source, reason) → [time of the last line, refusals since then, latest fields]
        self._table: dict[tuple[str, str, str], list[Any]] = {}
        self._due_ms = 0

    def __len__(self) -> int:
        return len(self._table)

    def note(self, event: str, source: str, reason: str, now_ms: int, **fields: Any) -> None:
        """One refusal. ``fields`` go into the line, if there is one."""
        key = (event, source, reason)
        row = self._table.get(key)
        if row is None and len(self._table) >= self._sources_max:
            key = (event, OTHERS, reason)  # few reasons exist, so the table stays bounded
            row = self._table.get(key)
        if row is None:
            self._table[key] = [now_ms, 0, fields]
            self._write(key, 1, fields)
            return
        row[1] += 1
        row[2] = fields
        if now_ms - row[0] >= self._interval_ms:
            self._write(key, row[1], fields)
            row[0], row[1] = now_ms, 0

    def tick(self, now_ms: int) -> None:
        """Log what was only counted, once its interval is over; forget quiet sources."""
        if now_ms < self._due_ms:
            return
        self._due_ms = now_ms + self._interval_ms // 4
        for key, row in list(self._table.items()):
            if now_ms - row[0] < self._interval_ms:
                continue
            if row[1]:
                self._write(key, row[1], row[2])
                row[0], row[1] = now_ms, 0
            else:
                del self._table[key]

    def _write(self, key: tuple[str, str, str], count: int, fields: dict[str, Any]) -> None:
        event, source, reason = key
        self._log.warning(event, reason=reason, source=source, count=count, **fields)
