"""debug: what to send to somebody who is to find out what happened."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from paxosctl.cli.app import Duration, Group, Settings, global_options, negative, verb
from paxosctl.cli.progress_line import work_progress
from paxosctl.cli.render import FORMATS
from paxosctl.cli.streams import say
from paxosctl.client.errors import EXIT_INCOMPLETE
from paxosd.host.file_path import FilePath

PACKINGS = {".tar.zst": True, ".tzst": True, ".tar.gz": False, ".tgz": False}
"""The end of a file's name → whether it is packed with zstd."""


@click.group("debug", cls=Group)
def _debug() -> None:
    """What to send to somebody who is to find out what happened."""


debug_verb = global_options(_debug)


class _Output(click.ParamType[str]):
    """``-o`` of this verb: a file to write; or, as everywhere, how to show the answer."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, once it is known to be one of both."""
        text = str(value)
        if text not in FORMATS and not text.endswith(tuple(PACKINGS)):
            ends = " or ".join((".tar.zst", ".tar.gz"))
            self.fail(f'"{text}" is no name for a bundle, which ends in {ends}', param, ctx)
        return text


@verb("bundle")
@click.option(
    "--data-dir",
    "data_dirs",
    multiple=True,
    type=FilePath(exists=True, file_okay=False, readable=False, path_type=Path),
    help="A data directory on this machine, or the directory of several, of nodes that do not "
    "answer; may be repeated.",
)
@click.option(
    "--since",
    default=None,
    metavar="TIME",
    help="Only recorder files from then on: 12:00:05 of the last day that is recorded, or "
    "2026-11-29T12:00:05; UTC.",
)
@click.option(
    "--last",
    type=Duration(),
    default=None,
    help="Only recorder files of the last such time that is recorded, such as 1h.",
)
@click.option(
    "--wal/--no-wal", "wal", default=False,
    help="The write-ahead logs, too, which hold KEYS AND VALUES.  [default: --no-wal]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE if it exists and is a regular file.")
@click.option("--inspect", type=FilePath(exists=True, dir_okay=False, readable=False,
              path_type=Path), default=None, metavar="FILE",
              help="Make none: verify this one, and show what is in it.")  # fmt: skip
def bundle_verb(
    settings: Settings,
    output: tuple[str, ...],
    data_dirs: tuple[Path, ...],
    since: str | None,
    last: int | None,
    wal: bool,
    force: bool,
    inspect: Path | None,
) -> None:
    """Pack what the nodes know of what happened into one file, to be looked into elsewhere.

    Of each node: its recording, its log file, its status, its settings without what is secret, its
    versions, and what the heads of its log's segments say. No key and no value is in it, except
    with --wal. Nodes that do not answer are named; --data-dir adds what they left behind. The file
    appears as a whole, and only you may read it. log, explain, why-slow and audit take it as a
    source.

    Exit code 3 if it has no recording of some node: it is written all the same. With --inspect 1 if
    the file is cut off or damaged.
    """
    files = [each for each in output if each not in FORMATS]
    formats = [each for each in output if each in FORMATS]
    settings.output = formats[-1] if formats else settings.output
    if inspect is not None:
        _refuse_options_of_making(files)
        _inspect(settings, inspect)
    elif len(files) != 1:
        raise click.UsageError("say where to: -o FILE.tar.zst")
    else:
        _make(settings, Path(files[0]), data_dirs, (since, last), wal=wal, force=force)


def _refuse_options_of_making(files: list[str]) -> None:
    """Raises click.UsageError if anything was given that --inspect would pass over in silence."""
    context = click.get_current_context()
    given = [f"-o {each}" for each in files]
    for option in context.command.params:
        is_given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if option.name in ("data_dirs", "since", "last", "wal", "force") and is_given:
            given.append(option.opts[0])
    if given:
        raise click.UsageError(f"--inspect makes no bundle: leave out {', '.join(given)}")


_own_output = click.option(
    "-o", "--output", "output", multiple=True, type=_Output(), metavar="FILE",
    help="The bundle to write, FILE.tar.zst or FILE.tar.gz. (-o table, json or plain, also beside "
    "it, is how to show what is in it.)",
)  # fmt: skip


def _replace_output(command: click.Command) -> None:
    """Elsewhere -o is the format alone."""
    kept = [each for each in command.params if each.name != "output"]
    holder: Any = lambda: None  # noqa: E731 -- only to have click make the option
    command.params = [*_own_output(holder).__click_params__, *kept]


_replace_output(bundle_verb)
debug_verb.add_command(bundle_verb)


def _make(
    settings: Settings,
    path: Path,
    data_dirs: tuple[Path, ...],
    since_last: tuple[str | None, int | None],
    *,
    wal: bool,
    force: bool,
) -> None:
    from paxosctl.cli.new_file import NotReplacedError, new_file  # noqa: PLC0415 -- not for --help
    from paxosctl.commands.bundle_view import bundle_view  # noqa: PLC0415 -- as above
    from paxosctl.commands.log_options import Reading  # noqa: PLC0415 -- as above
    from paxosctl.evidence.archive import pack  # noqa: PLC0415 -- as above
    from paxosctl.evidence.collection import ALWAYS, collect, manifest_of  # noqa: PLC0415 -- as above
    from paxosctl.evidence.located import Wanted  # noqa: PLC0415 -- as above
    from paxosd.recorder.served_names import FileClass  # noqa: PLC0415 -- as above

    reading = Reading((), since_last[0], None, since_last[1], settings)
    kinds = ALWAYS | {FileClass.WAL} if wal else ALWAYS
    narrow = any(each is not None for each in since_last)
    zstd = next(value for end, value in PACKINGS.items() if path.name.endswith(end))
    with tempfile.TemporaryDirectory(prefix="paxosctl-") as scratch:
        try:
            with new_file(path, force=force) as (target, _):
                wanted = Wanted(kinds, reading.span if narrow else None)
                with settings.client() as client, work_progress() as progress:
                    fetched = partial(progress, "fetching from the nodes")
                    found = collect(client, Path(scratch), list(data_dirs), wanted, fetched)
                    asked = client.endpoints
                manifest = manifest_of(found, asked, since=since_last, wal=wal)
                pack(target, Path(scratch), manifest, found.names, zstd=zstd)
        except NotReplacedError as error:
            negative(str(error))
        view = bundle_view(path, manifest, Path(scratch), [])
    if settings.output == "table" or not found.incomplete:
        settings.show(view)
    if found.incomplete:
        words = f"{path} is written; it has no recording of {', '.join(found.incomplete)}"
        negative(words, view, exit_code=EXIT_INCOMPLETE, code="incomplete")
    if settings.output == "table":
        say(f"written: {path}")


def _inspect(settings: Settings, path: Path) -> None:
    from paxosctl.commands.bundle_view import bundle_view  # noqa: PLC0415 -- not for --help
    from paxosctl.evidence.archive import is_bundle, opened_bundle  # noqa: PLC0415 -- as above

    with tempfile.TemporaryDirectory(prefix="paxosctl-") as scratch:
        if not is_bundle(path):
            negative(f"{path} is no bundle of paxosctl")
        unpacked = opened_bundle(path, Path(scratch))
        view = bundle_view(path, unpacked.manifest, Path(scratch), unpacked.troubles)
    if not unpacked.troubles:
        settings.show(view)
        return
    if settings.output == "table":
        settings.show(view)
    negative(f"{path} is not whole: {'; '.join(unpacked.troubles)}", view, code="damaged")
