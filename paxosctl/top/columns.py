"""The table of the nodes: its columns, and which of them a terminal has room for."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from paxosctl.cli.health import role_of
from paxosctl.top.figures import age, milliseconds, per_second, percent, size
from paxosctl.top.model import Node
from paxosctl.top.rates import Rates
from paxosd.core.status import NodeStatus

GAP = 2
TREND_MIN, TREND_MAX = 8, 40
TREND_SHARE = 10
"""The picture gets at least one part in so many of the width."""


class Column(NamedTuple):
    """``rank``: the columns of the highest rank go first where there is no room. ``cell``: of a
    node that answers."""

    title: str
    width: int
    rank: int
    cell: Callable[[NodeStatus, Rates | None], str]
    right: bool = True


def _of_rates(show: Callable[[Rates], str]) -> Callable[[NodeStatus, Rates | None], str]:
    return lambda _, rates: "-" if rates is None else show(rates)


COLUMNS = (
    Column("ROLE", 11, 0, lambda status, _: role_of(status), right=False),
    Column("BALLOT", 9, 3, lambda status, _: status.ballot.shown() or "-", right=False),
    Column("PROMISED", 9, 9, lambda status, _: status.promised.shown() or "-", right=False),
    Column("COMMIT", 10, 6, lambda status, _: f"{status.commit}"),
    Column("APPLIED", 10, 1, lambda status, _: f"{status.applied}"),
    Column("LAG", 6, 0, lambda status, _: f"{status.lag_slots}"),
    Column("REQ/S", 7, 4, _of_rates(lambda rates: per_second(rates.requests))),
    Column("WRITES/S", 8, 0, _of_rates(lambda rates: per_second(rates.writes))),
    Column("FSYNC99", 8, 1, _of_rates(lambda rates: milliseconds(rates.sync_p99_us))),
    Column("QUEUE", 6, 8, lambda status, _: f"{status.queued_commands}"),
    Column("CPU", 5, 5, _of_rates(lambda rates: percent(rates.cpu))),
    Column("MEM", 6, 5, lambda status, _: size(status.rss_bytes)),
    Column("FREE", 6, 8, lambda status, _: size(status.disk.free_bytes)),
    Column("FAULTS", 6, 6, lambda status, _: f"{status.fault_count}"),
    Column("UP", 5, 6, lambda status, _: age(status.uptime_ms / 1000)),
)


def chosen(width: int, name_width: int) -> tuple[list[Column], int]:
    """The columns that fit besides the name, and how wide the picture of the writes may be."""
    columns = list(COLUMNS)
    least = max(TREND_MIN, width // TREND_SHARE)

    def taken() -> int:
        return 2 + name_width + sum(GAP + column.width for column in columns) + GAP + least

    while taken() > width and len(columns) > 1:
        highest = max(column.rank for column in columns)
        gone = next(column for column in reversed(columns) if column.rank == highest)
        columns.remove(gone)
    return columns, max(0, min(TREND_MAX, least + width - taken()))


def cells(node: Node, columns: Sequence[Column]) -> list[str]:
    """Of a node that answers."""
    assert node.status is not None
    return [fitted(column.cell(node.status, node.rates), column) for column in columns]


def fitted(text: str, column: Column) -> str:
    """As wide as the column; cut off where it is too long."""
    text = text if len(text) <= column.width else f"{text[: column.width - 1]}…"
    return text.rjust(column.width) if column.right else text.ljust(column.width)
