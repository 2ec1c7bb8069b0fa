"""The command line of ``paxosd``: one node in the foreground, or a whole cluster with ``dev``.

Signals are handled by what runs: :mod:`paxosd.daemon.daemon`, :mod:`paxosd.dev.supervisor`.
Exit codes: :mod:`paxosd.daemon.exits`. An error that was foreseen is one line on standard error;
one that was not keeps its traceback. Where a node's log is JSON, so is that line.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from paxosd import __version__
from paxosd.config.schema import Config
from paxosd.config.settings import ConfigError
from paxosd.config.sources import load, log_format
from paxosd.daemon import exits
from paxosd.host.descriptors import lack_of
from paxosd.host.durations import parse_duration_ms
from paxosd.host.file_path import FilePath
from paxosd.host.output import OutputError, failed, silence, write
from paxosd.host.printable import escape_controls
from paxosd.host.stop_signals import SIGNALS, StopRequested

if TYPE_CHECKING:
    from paxosd.daemon.logs import Logs
    from paxosd.host.shell_completion import Program

_EPILOG = "Start with: paxosd dev"
_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_HELP = {"help_option_names": ["-h", "--help"]}


class _Command(click.Command):
    """A command whose help and version reach their reader, or end with an error."""

    def make_context(self, *args: Any, **named: Any) -> click.Context:
        """Raises OutputError where standard output cannot be written."""
        try:
            return super().make_context(*args, **named)
        except BrokenPipeError:
            silence(sys.stdout)
            raise click.exceptions.Exit(exits.OK) from None
        except OSError as error:
            raise failed(error) from error


class _Group(_Command, click.Group):
    """The same for the whole command line."""

    command_class = _Command


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code. Raises KeyboardInterrupt, StopRequested."""
    try:
        if os.environ.get("_PAXOSD_COMPLETE"):  # a script of `paxosd completion` asks
            write((_program().proposals() or "").rstrip("\n"))
            return exits.OK
        code = cli.main(arguments, prog_name="paxosd", standalone_mode=False)
        return code if isinstance(code, int) else exits.OK
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except OutputError as error:
        return _explain(error)


def _config_option(words: str, *, required: bool = False) -> _Decorator:
    """``--config``, which names the file of the node."""
    return click.option(
        "--config",
        "config_path",
        type=FilePath(path_type=Path, readable=False),
        envvar="PAXOSD_CONFIG",
        metavar="FILE",
        required=required,
        help=words,
    )


def _set_option(words: str) -> _Decorator:
    """``--set``, which overrides settings of the file."""
    return click.option(
        "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help=words
    )


@click.group(cls=_Group, invoke_without_command=True, epilog=_EPILOG, context_settings=_HELP)
@_config_option("Run one node with this TOML file. Also: PAXOSD_CONFIG.")
@_set_option("Override a setting, for example --set log.level=debug. May be repeated.")
@click.option(
    "--insecure",
    is_flag=True,
    help="Listen where other machines reach this node although it has no key.",
)
@click.option("--check-config", is_flag=True, help="Check, print what is in effect, and exit.")
@click.version_option(__version__, "--version", message="paxosd %(version)s")
@click.pass_context
def cli(
    context: click.Context,
    config_path: Path | None,
    overrides: tuple[str, ...],
    insecure: bool,
    check_config: bool,
) -> None:
    """A replicated, durable key-value daemon on Paxos and ZeroMQ."""
    if context.invoked_subcommand is not None:
        SIGNALS.release()
        _refuse_options_of_a_node(context)
        return
    if insecure:
        overrides += ("security.insecure=true",)
    if config_path is None and not overrides:
        raise click.UsageError("give --config FILE to run a node, or try: paxosd dev")
    if check_config:
        SIGNALS.release()
        code = _explained(lambda: _check(config_path, overrides))
    else:
        code = _run_node(config_path, overrides)
    context.exit(code)


def _explained(work: Callable[[], int]) -> int:
    """The exit code of ``work``. An error that was foreseen is explained; any other one is
    raised."""
    try:
        return work()
    except Exception as error:
        code = _explain(error)
        if code == exits.FAILED:
            raise
        return code


def _refuse_options_of_a_node(context: click.Context) -> None:
    """Raises UsageError for an option before a command's name, which that would not see."""
    for option in context.command.params:
        if context.get_parameter_source(option.name or "") == (
            click.core.ParameterSource.COMMANDLINE
        ):
            command = context.invoked_subcommand
            raise click.UsageError(
                f"{option.opts[0]} before {command} is for running one node; what {command} takes "
                f"comes after it: paxosd {command} --help"
            )


def _check(path: Path | None, overrides: tuple[str, ...]) -> int:
    from paxosd.config.file_members import side_by_side  # noqa: PLC0415 - only here
    from paxosd.config.show import show  # noqa: PLC0415 - only here

    config = load(path, overrides)
    write("\n".join(filter(None, [show(config), side_by_side(config)])))
    return exits.OK


def _run_node(path: Path | None, overrides: tuple[str, ...]) -> int:
    config: Config | None = None
    try:
        config = load(path, overrides)
        return _run(config, lambda: load(path, overrides))
    except StopRequested:
        return exits.OK
    except Exception as found:
        error = lack_of(found) or found
        form, file = log_format(path, overrides)
        if config is not None:
            form, file = config.log.format, config.log.file
        from paxosd.daemon.logs import Logs, ends_in_json  # noqa: PLC0415 - a start loads it anyway

        code = exits.code_of(error)
        if ends_in_json(form, file, sys.stderr):
            _end_in_json(error, code, Logs(node=config.node.name if config else "", format="json"))
        elif code == exits.FAILED:
            raise
        else:
            _explain(error)
        return code


def _end_in_json(error: Exception, code: int, logs: "Logs") -> None:
    """Standard error's last line, as the log would have it."""
    problems = {"problems": error.problems} if isinstance(error, ConfigError) else {}
    logs.logger.error(
        "node.failed",
        error=type(error).__name__,
        message="; ".join(problems.get("problems", [str(error)])),
        exit_code=code,
        **problems,
        exc_info=error if code == exits.FAILED else None,
    )
    logs.close()


def _run(config: Config, read: Callable[[], Config]) -> int:
    if config.log.file and sys.stderr.isatty():
        click.echo(
            f"paxosd: {config.node.name} logs to {config.log.file} (here instead: --set log.file=)",
            err=True,
        )
    from paxosd.daemon.daemon import run  # noqa: PLC0415 - not for --help, --check-config and dev

    return run(config, read)


def _explain(error: Exception) -> int:
    code = exits.code_of(error)
    if isinstance(error, ConfigError) and len(error.problems) != 1:
        problems = "".join([f"\n  {problem}" for problem in error.problems])
        _say(f"the configuration cannot be used:{problems}")
    elif code != exits.FAILED:
        _say(str(error))
    return code


def _say(words: str) -> None:
    """On standard error, if anybody reads it: the process ends in any case."""
    from paxosd.daemon.log_sink import sink_of  # noqa: PLC0415 - only for an error

    sink = sink_of(sys.stderr, lambda *_, **__: b"")
    sink.put(escape_controls(f"paxosd: {words}\n").encode("utf-8", "backslashreplace"))
    sink.close()


def _restart_after(_context: click.Context, _option: click.Parameter, text: str) -> int | None:
    """``never`` or a duration; milliseconds, or None for never."""
    if text == "never":
        return None
    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, and not never") from None


@cli.command(short_help="Found a new cluster of this one node, once; then start it as usual.")
@_config_option(
    "The configuration of the node; its cluster.members name this node alone.", required=True
)
@_set_option("Override a setting.")
@click.pass_context
def init(context: click.Context, config_path: Path, overrides: tuple[str, ...]) -> None:
    """Found a new cluster of this one node, once; then start it as usual.

    A cluster of several nodes needs no init: it is founded once all its members are up, each with
    an empty data directory. An empty directory never founds a cluster by its file alone, for it
    may be one that lost its data.
    """
    from paxosd.daemon.init import init_alone  # noqa: PLC0415 - a node does not need it

    def found() -> int:
        write(init_alone(load(config_path, overrides)))
        return exits.OK

    context.exit(_explained(found))


@cli.command(short_help="Run a whole cluster in this terminal; one Ctrl-C ends it.")
@click.option("--nodes", type=click.IntRange(1, 7), help="How many nodes (default 3).")
@click.option(
    "--data-dir",
    type=FilePath(path_type=Path, file_okay=False),
    default="paxos-data",
    show_default=True,
    help="Where data, logs and configuration files are kept.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1, 65_000),
    help="P: node i listens on P+10i (clients), P+10i+1 (peers), P+10i+2 (events); default 7400.",
)
@click.option(
    "--restart-after",
    callback=_restart_after,
    default="5s",
    show_default=True,
    metavar="DURATION|never",
    help="Start a node that died again after this.",
)
@click.option(
    "--keys",
    is_flag=True,
    help="With keys: each node proves who it is, and so does who connects. On the first start.",
)
@click.pass_context
def dev(
    context: click.Context,
    nodes: int | None,
    data_dir: Path,
    base_port: int | None,
    restart_after: int | None,
    keys: bool,
) -> None:
    """Run a whole cluster in this terminal; one Ctrl-C ends it.

    Node files (n1.toml, …) lie in the data directory and are kept when they are there: edit
    them, and start again. --nodes and --base-port matter on the first start only.
    """
    from paxosd.dev.dev import run_dev  # noqa: PLC0415 - a node does not need it

    context.exit(_explained(lambda: run_dev(data_dir, nodes, base_port, restart_after, keys=keys)))


def _program() -> "Program":
    from paxosd.host.shell_completion import Program  # noqa: PLC0415 - a node does not need it

    return Program(cli, "paxosd", lambda: None)


@cli.command(short_help="Print the script with which SHELL completes commands of paxosd.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes commands of paxosd.

    For this shell alone: source <(paxosd completion bash).
    """

    def show() -> int:
        write(_program().script(shell).rstrip("\n"))
        return exits.OK

    context.exit(_explained(show))


@cli.command(short_help="Make a key for a node, or for the first admin.")
@click.option("--name", required=True, help="Whose key it is: the node's name, or a person's.")
@click.option(
    "--role", type=click.Choice(["peer", "admin"]), default="peer", show_default=True,
    help="peer: a node. admin: a person who may do everything, for [admins] of the trust files.",
)  # fmt: skip
@click.option("--cluster", metavar="ID", help="cluster.id of the nodes; or give --config.")
@_config_option("A node's configuration: gives the cluster, and where the nodes are.")
@click.option(
    "-o", "--output", required=True, type=FilePath(path_type=Path, dir_okay=False),
    metavar="FILE", help="Where the key is written, readable by its owner alone.",
)  # fmt: skip
@click.option(
    "--trust", type=FilePath(path_type=Path, dir_okay=False), metavar="FILE",
    help="Enter its public half in this trust file; it is made if it is not there.",
)  # fmt: skip
@click.pass_context
def keygen(
    context: click.Context,
    name: str,
    role: str,
    cluster: str | None,
    config_path: Path | None,
    output: Path,
    trust: Path | None,
) -> None:
    """Make a key for a node, or for the first admin.

    The others get theirs with paxosctl auth. docs/SECURITY.md has the steps.
    """
    from paxosd.daemon.keygen import keygen as make  # noqa: PLC0415 - a node does not need it

    if cluster is None and config_path is None:
        raise click.UsageError("give --cluster ID, or --config FILE of a node")

    def made() -> int:
        config = load(config_path, ("security.insecure=true",)) if config_path else None
        of = cluster if config is None else config.cluster.id
        write(make(name, role, of or "", output, trust, config))
        return exits.OK

    context.exit(_explained(made))
