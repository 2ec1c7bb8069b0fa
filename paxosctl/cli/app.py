"""What every verb shares: the global options, the client, and how an ending becomes an exit code.

The global options may stand before the verb or after it; the later one counts.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from paxosctl.cli.colour import CHOICES, choose
from paxosctl.cli.params import ClientName, ContextName, EndpointList
from paxosctl.cli.render import FORMATS, View, emit, to_json
from paxosctl.cli.streams import StreamError, read_all, say, say_json
from paxosctl.cli.tables import explain
from paxosctl.cli.target import NOTHING, Asked, Target, target_of
from paxosctl.client.errors import (
    EXIT_NEGATIVE,
    FENCED,
    LEADER_UNREACHABLE,
    NO_SNAPSHOT,
    WORKS,
    ClientError,
    HandshakeError,
    NotAcquiredError,
    NotSubmittedError,
    OutcomeUnknownError,
    RefusedError,
    beside,
)
from paxosd.core.effects import COMPACTED
from paxosd.host.durations import parse_duration_ms
from paxosd.host.file_path import FilePath
from paxosd.host.numbers import WHOLE_MAX, parse_whole

if TYPE_CHECKING:
    from paxosd.net.key_files import KeyFile

TIMEOUT_MS = 5000
UNREACHABLE_MS = 1000
"""Without --timeout, how long to wait for a cluster whose endpoints all refuse connections."""

QUICK_MS = 500
"""For what a shell that completes asks of a cluster."""

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


@dataclass(slots=True)
class Settings:
    """The global options."""

    flags: Asked = NOTHING
    """Which cluster the command line asks for."""
    environment: Asked = NOTHING
    """Which one the environment asks for."""
    output: str = "table"
    timeout: int | None = None
    """ms; None: not given."""
    client_name: str | None = None
    """None: not given."""
    quiet: bool = False
    """No progress on standard error."""
    allow_plain: bool = False
    """Talk to nodes that take no keys without one."""
    own_key: "KeyFile | None" = None
    """Shown instead of that of the target."""
    _target: Target | None = None

    @property
    def target(self) -> Target:
        """Which cluster, with which key. Raises UsageError for a context that does not exist,
        StreamError and PermissionError if the file of the contexts cannot be used."""
        if self._target is None:
            self._target = target_of(self.flags, self.environment)
        return self._target

    @property
    def named(self) -> bool:
        """Whether the command line or the environment names a cluster."""
        return (self.flags, self.environment) != (NOTHING, NOTHING)

    @property
    def endpoints(self) -> str:
        """The client endpoints to begin with, with commas between them; raises as ``target``."""
        return self.target.endpoints

    def ask_for(self, name: str, value: str, *, in_environment: bool = False) -> None:
        """``name``: "endpoints", "context" or "key_file"; what comes later counts."""
        if in_environment:
            self.environment = self.environment._replace(**{name: value})
        else:
            self.flags = self.flags._replace(**{name: value})
        self._target = None

    def turn_to(self, endpoints: str) -> None:
        """Go to these endpoints of the same cluster from now on."""
        self._target = self.target._replace(endpoints=endpoints)

    @property
    def timeout_s(self) -> float:
        """The deadline of each call."""
        return (TIMEOUT_MS if self.timeout is None else self.timeout) / 1000

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A :class:`paxosctl.client.client.Client`; an error of a call leaves with its
        diagnosis."""
        with self.open_client() as client:
            try:
                yield client
            except ClientError as error:
                from paxosctl.cli.diagnose import diagnose  # noqa: PLC0415 -- only when needed

                raise DiagnosedError(error, diagnose(client, error)) from error

    def open_client(self) -> AbstractContextManager[Any]:
        """The client alone. Raises as ``target``, and StreamError for a file of a key that cannot
        be used."""
        from paxosctl.client.client import Client  # noqa: PLC0415 -- not for --help
        from paxosctl.client.own_name import own_name  # noqa: PLC0415 -- not for --help
        from paxosd.core.client.calls import ClientOptions  # noqa: PLC0415 -- not for --help
        from paxosd.net.key_files import KeyFileError  # noqa: PLC0415 -- not for --help

        patience_ms = UNREACHABLE_MS if self.timeout is None else None
        options = ClientOptions(unreachable_ms=patience_ms)
        name = own_name(_verb_words()) if self.client_name is None else self.client_name
        endpoints = self.endpoints.split(",")
        try:
            return Client(
                endpoints,
                timeout_s=self.timeout_s,
                options=options,
                name=name,
                key=self.own_key or self.target.key_file,
                allow_plain=self.allow_plain,
            )
        except KeyFileError as error:
            raise StreamError(str(error)) from None

    @contextmanager
    def quick_client(self) -> Iterator[tuple[Any, float]]:
        """A client for one short question of a shell that completes, and the time for it in
        seconds."""
        asking = replace(self, timeout=QUICK_MS, client_name="")
        with asking.open_client() as client:
            yield client, QUICK_MS / 1000

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
        if rows := self.summaries(ctx):
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Each verb with a sentence."""
        verbs = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        return [(n, each.get_short_help_str(SUMMARY_MAX)) for n, each in verbs if each is not None]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the nearest verb for one that does not exist."""
        name, known = args[0] if args else "", self.list_commands(ctx)
        wrong = name and not name.startswith("-") and name not in known
        if wrong and not ctx.resilient_parsing:
            from paxosd.config.settings import nearest  # noqa: PLC0415 -- only for an error

            ctx.fail(f'there is no verb "{name}"; {nearest(name, known)}')
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Verbs with their sentences, and options."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 -- for a shell that asks

        found = [CompletionItem(name, help=words) for name, words in self.summaries(ctx)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [each for each in found if each.value.startswith(incomplete)] + options


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value is not None:
        assert param.name is not None
        setattr(ctx.ensure_object(Settings), param.name, value)


def _ask(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        assert param.name is not None
        source = ctx.get_parameter_source(param.name)
        ctx.ensure_object(Settings).ask_for(
            param.name, value, in_environment=source is click.core.ParameterSource.ENVIRONMENT
        )


def _colour(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        choose(ctx, value)


def global_options(command: F, *, in_environment: bool = False, with_output: bool = True) -> F:
    """Those of the cluster, -o, --timeout, --color, --client-name and --quiet, kept in
    :class:`Settings`. ``in_environment``: for the group of all verbs: variables stand for some of
    them. ``with_output``: False for a verb whose own -o is a file; the format of its answer is then
    chosen in front of it."""

    def variable(name: str) -> str | None:
        return name if in_environment else None

    options = [
        _option(
            "--quiet",
            is_flag=True,
            flag_value=True,
            default=None,
            help="Show no progress on the terminal.",
        ),
        _option(
            "--client-name",
            type=ClientName(),
            envvar=variable("PAXOSCTL_CLIENT_NAME"),
            help="Who writes, as blame shows it (env PAXOSCTL_CLIENT_NAME); empty: nobody.  "
            "[default: verb, user@host and process id]",
        ),
        _option(
            "--color",
            type=click.Choice(list(CHOICES)),
            help="Colours in what is shown; auto: on a terminal, unless NO_COLOR is set.  "
            "[default: auto]",
            callback=_colour,
        ),
        _option(
            "--timeout",
            type=Duration(),
            help=f"Deadline of each request, such as 500ms or 5s.  [default: {TIMEOUT_MS // 1000}s,"
            f" or {UNREACHABLE_MS // 1000}s while every endpoint refuses the connection]",
        ),
        _option(
            "-o",
            "--output",
            type=click.Choice(FORMATS),
            help="How to show the answer; plain is byte-exact.  [default: table]",
        ),
        *_cluster_options(variable),
    ]
    if not with_output:
        options.pop(4)
    for option in options:
        command = option(command)
    return command


def _cluster_options(variable: Callable[[str], str | None]) -> list[Callable[[Any], Any]]:
    """``variable``: the same name, if the environment counts."""
    return [
        _option(
            "--allow-plain",
            is_flag=True,
            flag_value=True,
            default=None,
            help="With a key: talk to nodes that take none, too, while they switch over.",
        ),
        _option(
            "--key-file",
            type=FilePath(),
            metavar="FILE",
            envvar=variable("PAXOSCTL_KEY_FILE"),
            help="Your key, of a cluster that has keys (env PAXOSCTL_KEY_FILE).  "
            "[default: that of the context]",
            callback=_ask,
        ),
        _option(
            "--context",
            type=ContextName(),
            envvar=variable("PAXOSCTL_CONTEXT"),
            help="The cluster of this name (env PAXOSCTL_CONTEXT): see `paxosctl context`.  "
            "[default: the one in use]",
            callback=_ask,
        ),
        _option(
            "--endpoints",
            type=EndpointList(),
            envvar=variable("PAXOSCTL_ENDPOINTS"),
            help="Client endpoints, with commas between them (env PAXOSCTL_ENDPOINTS).  "
            "[default: those of the context, else those of paxosd dev]",
            callback=_ask,
        ),
    ]


def _option(*names: str, callback: Any = _store, **given: Any) -> Callable[[F], F]:
    return click.option(*names, callback=callback, expose_value=False, **given)


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
        where = settings.target.option
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
        if lines:
            data["endpoints_from"] = settings.target.origin
        say_json(to_json(data))
        return
    explain(f"paxosctl: {headline(error, lines)}")
    for endpoint, words in lines:
        if beside(endpoint, str(error)) != words:  # said already
            explain(f"  {endpoint}  {words}")
    if lines and settings.target.words:
        explain(f"  (endpoints from {settings.target.words})")
    if ask:
        say(f"To learn what became of it, or to rule it out:\n  {ask}")
    if reads:
        where = settings.target.option
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
    if not isinstance(error, NotSubmittedError) or isinstance(
        error, NotAcquiredError | HandshakeError
    ):
        return str(error)  # that says all: there was no command to submit, or it is of no use
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


def end_negative(settings: Settings, error: NegativeError) -> int:
    """Show a negative answer; its exit code."""
    if error.view is not None and settings.output != "table":
        settings.show(error.view)
    if settings.output == "json":
        say_json(to_json({"error": error.code, "message": str(error)}))
    else:
        explain(f"paxosctl: {error}")
    return error.exit_code
