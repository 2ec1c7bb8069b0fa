"""``python -m paxosctl`` and the console script ``paxosctl``: the verbs, and the exit codes.

A verb's module is imported when the verb is used, for a short command should start fast.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from paxosctl.app import (
    DiagnosedError,
    NegativeError,
    Settings,
    complain,
    end_negative,
    global_options,
)
from paxosctl.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, ClientError

VERBS = {
    "put": "kv",
    "get": "kv",
    "delete": "kv",
    "cas": "kv",
    "outcome": "kv",
    "watch": "watch",
    "status": "cluster",
    "health": "cluster",
    "leader": "cluster",
    "hash": "cluster",
    "member": "member",
    "cluster": "cluster_settings",
    "node": "node",
    "fault": "fault",
    "snapshot": "snapshot",
    "bench": "bench",
    "sim": "sim",
}
"""Verb → the module of paxosctl.commands that has it, under its own name."""


class _Verbs(click.Group):
    """Looks a verb up in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """None for a verb that does not exist."""
        module = VERBS.get(cmd_name)
        if module is None:
            return None
        found = getattr(importlib.import_module(f"paxosctl.commands.{module}"), f"{cmd_name}_verb")
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the nearest verb for one that does not exist."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in VERBS:
            from paxosd.settings import nearest  # noqa: PLC0415 -- only for an error

            ctx.fail(f'there is no verb "{name}"; {nearest(name, VERBS)}')
        return super().resolve_command(ctx, args)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Drive a paxosd cluster: read, write, watch, look into it, and break it on purpose.

    Exit codes: 0 done; 1 a negative answer; 2 usage; 69 no endpoint reachable; 75 not submitted,
    safe to try again; 77 refused; 124 the outcome is unknown.
    """


@cli.result_callback()
def _done(*_: object, **__: object) -> int:
    return EXIT_OK


cli = global_options(cli, envvar="PAXOSCTL_ENDPOINTS")
cli = click.version_option(package_name="paxosd", prog_name="paxosctl")(cli)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code and never raises for what a user did."""
    settings = Settings()
    try:
        code = cli.main(
            args=list(arguments) if arguments is not None else None,
            prog_name="paxosctl",
            standalone_mode=False,
            obj=settings,
        )
        return code if isinstance(code, int) else EXIT_OK
    except NegativeError as error:
        return end_negative(settings, error)
    except DiagnosedError as error:
        complain(settings, error.error, error.lines)
        return error.error.exit_code
    except ClientError as error:
        complain(settings, error, [])
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


def main() -> None:
    """Run the command line of this process, and exit."""
    sys.exit(run())


if __name__ == "__main__":
    main()
