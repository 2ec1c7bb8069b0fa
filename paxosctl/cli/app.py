"""What every verb shares: the global options, the client, and how an ending becomes an exit code.

The global options may stand before the verb or after it; the later one counts.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import click

from paxosctl.cli.render import FORMATS, View, emit, to_json
from paxosctl.cli.streams import read_all, say, say_json
from paxosctl.cli.tables import explain
from paxosctl.client.errors import (
    EXIT_NEGATIVE,
    FENCED,
    LEADER_UNREACHABLE,
    NO_SNAPSHOT,
    WORKS,
    ClientError,
    NotAcquiredError,
    NotSubmittedError,
    OutcomeUnknownError,
    RefusedError,
)
from paxosd.core.effects import COMPACTED
from paxosd.host.durations import parse_duration_ms
from paxosd.host.numbers import WHOLE_MAX, parse_whole
from paxosd.net.endpoints import Endpoint, zone_is_missing, zone_words

DEFAULT_ENDPOINTS = "tcp://127.0.0.1:7410,tcp://127.0.0.1:7420,tcp://127.0.0.1:7430"
TIMEOUT_MS = 5000
UNREACHABLE_MS = 1000
"""Without --timeout, how long to wait for a cluster whose endpoints all refuse connections."""

SUMMARY_MAX = 1000
"""Characters: longer than any first sentence of a verb's help."""

F = TypeVar("F", bound=Callable[..., Any])


class NegativeError(Exception):
    """The answer is negative: exit code 1, or another ``exit_code`` with its ``code`` for programs.
    ``view``: printed on standard output nevertheless."""

    def __init__(
        self,
        message: str,
        view: View | None = None,
        *,
        exit_code: int = EXIT_NEGATIVE,
        code: str = "negative",
    ) -> None:
        super().__init__(message)
        self.view = view
        self.exit_code = exit_code
        self.code = code


class Duration(click.ParamType[int]):
    """``500ms``, ``5s``, ``1m``: milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds, above 0."""
        if isinstance(value, int):
            return value
        try:
            duration_ms = parse_duration_ms(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if duration_ms <= 0:
            self.fail(f'"{value}": a duration above 0 is needed', param, ctx)
        return duration_ms


class Whole(click.ParamType[int]):
    """A whole number within bounds; without a ``maximum`` the largest that paxosd has room for. (Of
    click's own numbers some are too large for all of it, and end in a traceback.)"""

    name = "number"

    def __init__(self, minimum: int = 0, maximum: int = WHOLE_MAX) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        try:
            return parse_whole(str(value), self.minimum, self.maximum)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class EndpointList(click.ParamType[str]):
    """Endpoints with commas between them, each one checked."""

    name = "endpoints"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text without blanks."""
        names = [name.strip() for name in value.split(",") if name.strip()]
        if not names:
            self.fail("at least one endpoint is needed, such as tcp://127.0.0.1:7410", param, ctx)
        for name in names:
            try:
                host = Endpoint.parse(name).host
            except ValueError as error:
                self.fail(str(error), param, ctx)
            if zone_is_missing(host):
                self.fail(f'"{name}": {zone_words(host)}', param, ctx)
        return ",".join(names)


@dataclass(slots=True)
class Settings:
    """The global options."""

    endpoints: str = DEFAULT_ENDPOINTS
    output: str = "table"
    timeout: int | None = None
    """ms; None: not given."""
    client_name: str | None = None
    """None: not given."""
    quiet: bool = False
    """No progress on standard error."""

    @property
    def timeout_s(self) -> float:
        """The deadline of each call."""
        return (TIMEOUT_MS if self.timeout is None else self.timeout) / 1000

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A :class:`paxosctl.client.client.Client`; an error of a call leaves with its
        diagnosis."""
        from paxosctl.client.client import Client  # noqa: PLC0415 -- not for --help
        from paxosctl.client.own_name import own_name  # noqa: PLC0415 -- not for --help
        from paxosd.core.client.calls import ClientOptions  # noqa: PLC0415 -- not for --help

        patience_ms = UNREACHABLE_MS if self.timeout is None else None
        options = ClientOptions(unreachable_ms=patience_ms)
        name = own_name(_verb_words()) if self.client_name is None else self.client_name
        endpoints = self.endpoints.split(",")
        with Client(endpoints, timeout_s=self.timeout_s, options=options, name=name) as client:
            try:
                yield client
            except ClientError as error:
                from paxosctl.cli.diagnose import diagnose  # noqa: PLC0415 -- only when needed

                raise DiagnosedError(error, diagnose(client, error)) from error

    def show(self, view: View) -> None:
        """Write an answer in the chosen format."""
        emit(view, self.output)


def _verb_words() -> str:
    """The verb that runs, such as ``paxosctl put``."""
    words: list[str] = []
    context = click.get_current_context(silent=True)
    while context is not None and context.parent is not None:
        words.append(context.info_name or "")
        context = context.parent
    return " ".join(["paxosctl", *reversed(words)])


class ClientName(click.ParamType[str]):
    """What a client calls itself; "" is no name."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text."""
        from paxosctl.client.own_name import name_fault  # noqa: PLC0415 -- not for --help

        if fault := name_fault(str(value)):
            self.fail(fault, param, ctx)
        return str(value)


class DiagnosedError(Exception):
    """A ClientError, and what is wrong with each endpoint."""

    def __init__(self, error: ClientError, lines: list[tuple[str, str]]) -> None:
        super().__init__(str(error))
        self.error = error
        self.lines = lines


class Group(click.Group):
    """Lists its verbs with the whole first sentence of what each says of itself."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Sentences are wrapped, not cut off."""
        verbs = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(n, each.get_short_help_str(SUMMARY_MAX)) for n, each in verbs if each is not None]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value is not None:
        assert param.name is not None
        setattr(ctx.ensure_object(Settings), param.name, value)


def global_options(command: F, *, envvar: str | None = None, with_output: bool = True) -> F:
    """--endpoints, -o, --timeout, --client-name and --quiet, kept in :class:`Settings`.
    ``envvar``: of --endpoints, for the group of all verbs. ``with_output``: False for a verb whose
    own -o is a file; the format of its answer is then chosen in front of it."""
    options = (
        click.option(
            "--quiet",
            is_flag=True,
            flag_value=True,
            default=None,
            help="Show no progress on the terminal.",
            callback=_store,
            expose_value=False,
        ),
        click.option(
            "--client-name",
            type=ClientName(),
            envvar=envvar and "PAXOSCTL_CLIENT_NAME",
            help="Who writes, as blame shows it (env PAXOSCTL_CLIENT_NAME); empty: nobody.  "
            "[default: verb, user@host and process id]",
            callback=_store,
            expose_value=False,
        ),
        click.option(
            "--timeout",
            type=Duration(),
            help=f"Deadline of each request, such as 500ms or 5s.  [default: {TIMEOUT_MS // 1000}s,"
            f" or {UNREACHABLE_MS // 1000}s while every endpoint refuses the connection]",
            callback=_store,
            expose_value=False,
        ),
        click.option(
            "-o",
            "--output",
            type=click.Choice(FORMATS),
            help="How to show the answer; plain is byte-exact.  [default: table]",
            callback=_store,
            expose_value=False,
        ),
        click.option(
            "--endpoints",
            type=EndpointList(),
            envvar=envvar,
            help="Client endpoints, with commas between them (env PAXOSCTL_ENDPOINTS).  "
            "[default: those of paxosd dev]",
            callback=_store,
            expose_value=False,
        ),
    )
    for option in options if with_output else (*options[:3], options[4]):
        command = option(command)
    return command


def verb(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command with the global options, that gets Settings as its first argument."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        takes_settings = click.make_pass_decorator(Settings, ensure=True)(function)
        command: click.Command = click.command(name)(global_options(takes_settings))
        return command

    return decorate


def complain(settings: Settings, error: ClientError, lines: list[tuple[str, str]]) -> None:
    """Say on standard error what went wrong, and what to do about it."""
    unknown = isinstance(error, OutcomeUnknownError) and error.session != 0
    ask = ""
    if isinstance(error, OutcomeUnknownError) and unknown:
        where = "" if settings.endpoints == DEFAULT_ENDPOINTS else _where(settings)
        ask = f"paxosctl{where} outcome {error.session} {error.seq}"
    reads = error.read_ids if isinstance(error, NotSubmittedError) else ()
    if settings.output == "json":
        data: dict[str, Any] = {"error": error.code, "message": str(error)}
        if isinstance(error, RefusedError) and error.code == COMPACTED:
            data["first_revision"] = error.detail
        if ask:
            assert isinstance(error, OutcomeUnknownError)
            data |= {"session": error.session, "seq": error.seq, "ask": ask}
        if reads:
            data["reads"] = [f"0/{each}" for each in reads]
        data["endpoints"] = dict(lines)
        say_json(to_json(data))
        return
    explain(f"paxosctl: {headline(error, lines)}")
    for endpoint, words in lines:
        explain(f"  {endpoint}  {words}")
    if ask:
        say(f"To learn what became of it, or to rule it out:\n  {ask}")
    if reads:
        where = "" if settings.endpoints == DEFAULT_ENDPOINTS else _where(settings)
        say(f"What the nodes recorded of it:\n  paxosctl log request{where} 0/{reads[-1]}")


def headline(error: ClientError, lines: list[tuple[str, str]]) -> str:
    """One line, with the cause that the diagnosis found."""
    if isinstance(error, OutcomeUnknownError):
        return str(error)
    # A node that is cut off sees no quorum although the others have one.
    works = any(words.endswith(WORKS) for _, words in lines)
    no_quorum = not works and any(words.startswith("no quorum") for _, words in lines)
    causes = {
        "unreachable": "no endpoint can be reached",
        "no_answer": "no answer in time",
        "no_leader": "no leader",
        "not_leader": "no leader",
        "interrupted": "the leader changed",
        "busy": "the leader is busy",
        "stopping": "the node is stopping",
    }
    if not isinstance(error, NotSubmittedError) or isinstance(error, NotAcquiredError):
        return str(error)  # that a lock was not had says all: there was no command to submit
    if error.code == FENCED:
        return f"{error}; safe to try again"  # it was submitted, and then ruled out
    cause = causes.get(error.code, str(error))
    if works and error.code == "unreachable" and not str(error).startswith(cause):
        cause = "the endpoint that was asked for cannot be reached"
    if no_quorum and error.code not in ("busy", NO_SNAPSHOT, LEADER_UNREACHABLE):
        cause = "no quorum"
    return f"{cause}; not submitted, safe to try again"


def negative(
    message: str,
    view: View | None = None,
    *,
    exit_code: int = EXIT_NEGATIVE,
    code: str = "negative",
) -> NoReturn:
    """End with exit code 1, or with another one for a special kind of negative answer."""
    raise NegativeError(message, view, exit_code=exit_code, code=code)


def check_key(text: str, prefix: bool = False) -> None:
    """Every verb refuses an empty key; an empty prefix stands for every key.
    Raises RefusedError."""
    if not text and not prefix:
        raise RefusedError("invalid", "the key is empty: it needs at least one byte")


def raw(text: str) -> bytes:
    """The bytes of a command-line argument, also where they are no text."""
    return os.fsencode(text)


def raw_or_stdin(text: str) -> bytes:
    """The same; ``-`` stands for all of standard input, byte for byte."""
    if text == "-":
        return read_all()
    return raw(text)


def _where(settings: Settings) -> str:
    return f" --endpoints {settings.endpoints}"


def end_negative(settings: Settings, error: NegativeError) -> int:
    """Show a negative answer; its exit code."""
    if error.view is not None and settings.output != "table":
        settings.show(error.view)
    if settings.output == "json":
        say_json(to_json({"error": error.code, "message": str(error)}))
    else:
        explain(f"paxosctl: {error}")
    return error.exit_code
