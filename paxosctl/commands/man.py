"""man: the manual pages, shown or written."""

import shutil
import subprocess
import sys
from pathlib import Path

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Settings, verb
from paxosctl.cli.new_file import new_file
from paxosctl.cli.render import View
from paxosctl.cli.streams import is_terminal
from paxosctl.cli.verbs import VERBS
from paxosd import __version__
from paxosd.host.file_path import FilePath


@verb("man")
@click.argument("name", metavar="[VERB]", default="", shell_complete=complete.one_of(lambda: VERBS))
@click.option(
    "--write",
    "folder",
    type=FilePath(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write all pages into DIR/man1, man5 and man8.",
)
def man_verb(settings: Settings, name: str, folder: Path | None) -> None:
    """Show the manual page of VERB (paxosd and paxosd.toml have pages, too), or write all of them.

    They are made from what `--help` says. On a terminal with man the page is shown by that; else it
    is printed as roff, for example for `man -l -`.
    """
    from paxosctl.cli.man_pages import all_pages  # noqa: PLC0415 -- it imports all verbs
    from paxosd.cli import cli as paxosd  # noqa: PLC0415 -- the same
    from paxosd.config.settings import nearest  # noqa: PLC0415 -- the same

    pages = all_pages(click.get_current_context().find_root().command, paxosd, __version__)
    if folder is not None:
        for page in pages:
            place = folder / f"man{page.section}"
            place.mkdir(parents=True, exist_ok=True)
            with new_file(place / page.file, force=True) as (file, path):
                file.write(page.text.encode())
                path.chmod(0o644)  # pages are for everybody
        files = [str(folder / f"man{page.section}" / page.file) for page in pages]
        text = f"{len(files)} pages are in {folder}; man -M {folder} paxosctl shows one"
        plain = "".join([f"{each}\n" for each in files]).encode()
        settings.show(View(data={"page": None, "files": files}, plain=plain, text=text))
        return
    by_name = {page.name.removeprefix("paxosctl-"): page for page in pages}
    found = by_name.get(name or "paxosctl")
    if found is None:
        raise click.UsageError(f'there is no page "{name}"; {nearest(name, by_name)}')
    if settings.output == "table" and is_terminal(sys.stdout) and shutil.which("man"):
        subprocess.run(["man", "-l", "-"], input=found.text.encode(), check=False)
        return
    data = {"page": found.file, "text": found.text}
    settings.show(View(data=data, plain=found.text.encode(), text=found.text.rstrip("\n")))
