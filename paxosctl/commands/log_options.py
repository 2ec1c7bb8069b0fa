"""What the verbs over recordings share: where to read, from when until when."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Duration, Settings
from paxosctl.cli.streams import say
from paxosctl.evidence.located import RECORDED, WITH_VALUES, Located, Wanted, located
from paxosctl.inspection.filters import TimeError, window_of
from paxosctl.inspection.recordings import Recordings, Window, find_end, measure_clocks, opened
from paxosd.core.types import NULL_BALLOT, Ballot

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Reading:
    """The options of one call, as they were given. ``settings``: the global ones; they name the
    nodes that are asked if there is no source."""

    sources: tuple[str, ...]
    since: str | None
    until: str | None
    last: int | None
    settings: Settings = field(default_factory=Settings)

    def span(self, newest_ms: int) -> tuple[int, int | None]:
        """From when until when, in ms, if what there is ends at ``newest_ms``. Raises
        click.UsageError."""
        try:
            window = window_of(self.since, self.until, self.last, 0, newest_ms * 1000)
        except TimeError as error:
            raise click.UsageError(str(error)) from error
        return window.since_us // 1000, window.until_us // 1000


def reading_options(command: F) -> F:
    """SOURCES, --since, --until and --last; handed on as ``reading``."""

    def gather(*args: Any, **given: Any) -> Any:
        taken = {name: given.pop(name) for name in ("sources", "since", "until", "last")}
        settings = click.get_current_context().ensure_object(Settings)
        return command(*args, reading=Reading(**taken, settings=settings), **given)

    gather.__name__, gather.__doc__ = command.__name__, command.__doc__
    wrapped: Any = gather
    wrapped.__click_params__ = getattr(command, "__click_params__", [])
    for option in (
        click.option("--last", type=Duration(), default=None,
                     help="Only the last such time of what is recorded, such as 10m."),
        click.option("--until", default=None, metavar="TIME", help="Until when; as --since."),
        click.option("--since", default=None, metavar="TIME",
                     help="From when on: 12:00:05.25 of the last day that is recorded, or "
                     "2026-11-29T12:00:05; UTC."),
        click.argument("sources", nargs=-1, shell_complete=complete.files),
    ):  # fmt: skip
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]  # it is what was handed in, with options


@contextmanager
def opened_reading(
    reading: Reading, *, values: bool = False, narrow: bool = False
) -> Iterator[tuple[Recordings, Window]]:
    """The recordings, with what is known of the clocks, and the window. At the end it says on
    standard error what was passed over. Of running nodes it fetches their logs with the keys and
    values only if ``values``, and only files of the time in question if ``narrow``; else all, for
    who led then may have been elected long before. Raises StreamError if nothing can be read."""
    wanted = Wanted(WITH_VALUES if values else RECORDED, reading.span if narrow else None)
    with (
        located(reading.sources, reading.settings, wanted) as found,
        opened_located(reading, found) as (recordings, window),
    ):
        yield recordings, window


@contextmanager
def opened_located(
    reading: Reading, found: Located, end_us: int = 0
) -> Iterator[tuple[Recordings, Window]]:
    """The same of sources that were brought here. ``end_us``: only so much of the end is shown,
    unless a time is asked for; 0: everything."""
    with opened(found.names) as recordings:
        if end_us or reading.last is not None:
            find_end(recordings)
        try:
            window = window_of(
                reading.since, reading.until, reading.last,
                recordings.first_us, recordings.last_us,
            )  # fmt: skip
        except TimeError as error:
            raise click.UsageError(str(error)) from error
        if end_us and not window.since_us:
            window = replace(window, since_us=min(recordings.last_us, window.until_us) - end_us)
        measure_clocks(recordings, window)
        yield recordings, window
        for words in recordings.losses():
            say(f"paxosctl: passed over: {found.named(words)}")


class SlotRange(click.ParamType[tuple[int, int]]):
    """``7`` or ``7..9``."""

    name = "slots"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """First and last."""
        if isinstance(value, tuple):
            return value
        first, dots, last = str(value).partition("..")
        try:
            found = int(first), int(last if dots else first)
        except ValueError:
            self.fail(f'"{value}" is no slot and no range of slots, such as 7 or 7..9', param, ctx)
        if not 0 <= found[0] <= found[1]:
            self.fail(f'"{value}" is no range of slots', param, ctx)
        return found


class BallotText(click.ParamType[Ballot]):
    """``12.n1`` or ``3:12.n1``."""

    name = "ballot"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Ballot:
        """The ballot."""
        if isinstance(value, Ballot):
            return value
        try:
            found = Ballot.of_text(str(value))
        except ValueError:
            found = NULL_BALLOT
        if not found.round or not found.node:
            self.fail(f'"{value}" is no ballot, such as 12.n1 or, of epoch 3, 3:12.n1', param, ctx)
        return found


class RequestName(click.ParamType[tuple[int, int]]):
    """``SESSION/SEQ``, or both with a blank between them, as ``outcome`` takes them."""

    name = "request"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Session and number."""
        if isinstance(value, tuple):
            return value
        session, _, seq = str(value).replace(" ", "/").partition("/")
        if not (session.isascii() and session.isdigit() and seq.isascii() and seq.isdigit()):
            self.fail(f'"{value}" is no request, such as 7/12: SESSION/SEQ', param, ctx)
        return int(session), int(seq)
