"""check history: judge a history that fault run has kept, or write it as other checkers take it."""

from pathlib import Path
from typing import Any

import click

from paxosctl.cli.app import Settings, negative, verb
from paxosctl.cli.render import View
from paxosctl.cli.streams import StreamError, write
from paxosd.host.file_path import FilePath

FORMS = ("elle", "knossos", "porcupine")


@verb("history")
@click.argument("file", type=FilePath(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--export",
    "form",
    type=click.Choice(FORMS),
    help="Do not judge it, but write it in the form that this checker takes.",
)
def history_verb(settings: Settings, file: Path, form: str | None) -> None:
    """Judge the history FILE, which fault run has kept: is it linearizable? Needs no cluster.

    Keys that transactions share are judged together, all others one by one. Exit code 1 if it is
    not linearizable, or could not be judged to the end.
    """
    from paxosd.check.export import export  # noqa: PLC0415 -- not for --help
    from paxosd.check.history import History, HistoryError  # noqa: PLC0415 -- likewise
    from paxosd.check.linearizability import check_linearizable  # noqa: PLC0415 -- likewise

    try:
        history = History.load(file)
    except OSError as error:
        raise StreamError(f"{file} cannot be read: {error.strerror}") from error
    except HistoryError as error:
        negative(f"{file}: {error}")
    if form is not None:
        for line in export(history.operations, form):
            write(line)
        return
    verdict = check_linearizable(history)
    data: dict[str, Any] = {
        "ok": verdict.ok,
        "operations": len(history),
        "linearizable": {"status": verdict.status, "explanation": verdict.explanation},
    }
    words = f"{'ok  ' if verdict.ok else 'BAD '}linearizable: {verdict.explanation}"
    settings.show(View(data=data, plain=f"{verdict.status}\n".encode(), text=words))
    if not verdict.ok:
        negative(verdict.explanation.splitlines()[0])
