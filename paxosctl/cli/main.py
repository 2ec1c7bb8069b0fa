"""The command line of ``paxosctl``: the verbs, and the exit codes.

A verb's module is imported when the verb is used, so that a short command starts fast.
"""

import importlib
import io
import os
import sys
from collections.abc import Sequence

import click

from paxosctl.cli.app import (
    DiagnosedError,
    Group,
    NegativeError,
    Settings,
    complain,
    end_negative,
    global_options,
)
from paxosctl.cli.interruption import interrupted_by_ends
from paxosctl.cli.render import to_json
from paxosctl.cli.streams import (
    BrokenOutputError,
    StreamError,
    finish,
    lose_output,
    prepare,
    say,
    say_json,
)
from paxosctl.cli.verbs import SECTIONS, VERBS
from paxosctl.client.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_STORAGE,
    EXIT_USAGE,
    ClientError,
    RefusedError,
)
from paxosd.host.stop_signals import end_by

COMPLETION_VARIABLE = "_PAXOSCTL_COMPLETE"
"""Set by the scripts of `paxosctl completion`."""


class _Verbs(Group):
    """Looks a verb up in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """None for a verb that does not exist."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        found = getattr(
            importlib.import_module(f"paxosctl.commands.{verb.module}"),
            f"{cmd_name.replace('-', '_')}_verb",
        )
        assert isinstance(found, click.Command)
        return found

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """By the table: to ask each verb would import all of the program."""
        return [(name, verb.summary) for name, verb in VERBS.items()]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """By what they are for."""
        for heading, names in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, VERBS[name].summary) for name in names])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Drive a paxosd cluster: read, write, watch, look into it, and break it on purpose.

    Exit codes: 0 done; 1 a negative answer; 2 wrong usage; 3 a comparison that is not complete; 69
    no endpoint reachable; 71 a lock was lost; 72 a lock was not had in time; 73 the quota is
    reached; 74 a stream or file cannot be read or written; 75 not submitted, safe to try again; 76
    a fence does not hold; 77 refused; 124 the outcome is unknown; 130 interrupted.
    """


@cli.result_callback()
def _done(*_: object, **__: object) -> int:
    return EXIT_OK


cli = global_options(cli, in_environment=True)
cli = click.version_option(package_name="paxosd", prog_name="paxosctl")(cli)


def run(arguments: Sequence[str] | None = None, settings: Settings | None = None) -> int:
    """Run one command line; returns the exit code and never raises for what a user did.
    ``settings``: what it begins with, for one that is run by another; colours are as there."""
    settings = Settings() if settings is None else settings
    outer = click.get_current_context(silent=True)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(
            args=given,
            prog_name="paxosctl",
            standalone_mode=False,
            obj=settings,
            color=None if outer is None else outer.color,
        )
        return code if isinstance(code, int) else EXIT_OK
    except NegativeError as error:
        return _negative(settings, error)
    except DiagnosedError as error:
        complain(settings, error.error, error.lines)
        return error.error.exit_code
    except ClientError as error:
        complain(settings, error, [])
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        return _misused(error, in_json=settings.output == "json" or _asks_for_json(given))
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenOutputError:
        return EXIT_OK
    except SystemExit:  # click ends so where the reader of its help text has gone
        lose_output("its reader has gone")
        return EXIT_OK
    except StreamError as error:
        return _not_read_or_written(settings, str(error))
    except ValueError as error:
        named = _holding_nul(given, error)
        if named is None:
            raise
        words = f"{named} names no file and no program: it holds a NUL byte"
        return _misused(click.UsageError(words), in_json=settings.output == "json")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        words = f"{where}{error.strerror or error}"
        if isinstance(error, PermissionError):
            complain(settings, RefusedError("permission", words), [])
            return EXIT_REFUSED
        return _not_read_or_written(settings, words)


def _holding_nul(arguments: Sequence[str], error: ValueError) -> str | None:
    """The argument that the operating system could not be given, as it is typed; None: the error
    is another one. Arguments of a process hold no NUL byte, but those of a line in a shell do."""
    if not str(error).startswith("embedded null "):
        return None
    from paxosd.host.shell_words import quoted  # noqa: PLC0415 -- only for this error

    return next((quoted(each) for each in arguments if "\0" in each), None)


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether they say so where click has not come to: it stops at the first mistake."""
    wanted = ""
    for place, each in enumerate(arguments):
        if each == "--":
            break
        if each in ("-o", "--output"):
            wanted = "".join(arguments[place + 1 : place + 2])
        elif each.startswith("--output="):
            wanted = each.removeprefix("--output=")
        elif each.startswith("-o"):
            wanted = each.removeprefix("-o")
    return wanted == "json"


def _negative(settings: Settings, error: NegativeError) -> int:
    """Say no; the answer may have no reader, or be lost."""
    try:
        return end_negative(settings, error)
    except BrokenOutputError:
        return error.exit_code
    except StreamError as lost:
        return _not_read_or_written(settings, str(lost))


def _misused(error: click.ClickException, *, in_json: bool) -> int:
    if in_json:
        say_json(to_json({"error": "usage", "message": error.format_message()}))
        return EXIT_USAGE
    shown = io.StringIO()
    error.show(shown)
    say(shown.getvalue(), newline=False)
    return EXIT_USAGE


def _not_read_or_written(settings: Settings, words: str) -> int:
    if settings.output == "json":
        say_json(to_json({"error": "storage", "message": words}))
    else:
        say(f"paxosctl: {words}")
    return EXIT_STORAGE


def _propose() -> int:
    """Answer a shell that completes."""
    from paxosctl.cli.completion import program_of  # noqa: PLC0415 -- only for a shell that asks

    found = program_of(cli).proposals()
    if found is None:
        say(f"paxosctl: {COMPLETION_VARIABLE} is set, and is for completion scripts: unset it")
        return EXIT_USAGE
    sys.stdout.write(found)
    return finish(EXIT_OK)


def run_process() -> int:
    """Run the command line of this process; its exit code. A signal that is to end it does so once
    the verb has tidied up."""
    prepare()
    if os.environ.get(COMPLETION_VARIABLE):
        return _propose()
    came: list[int] = []
    try:
        with interrupted_by_ends() as came:
            code = finish(run())
    finally:
        if came:
            end_by(came[0])
    return code
