"""Manual pages: one for each verb, all that --help says, and sound to man."""

import os
import re
import shutil
import stat
import subprocess

import click
import pytest

from paxosctl.cli.main import cli
from paxosctl.cli.man_pages import all_pages, explanations
from paxosctl.cli.verbs import VERBS
from paxosd.cli import cli as paxosd
from paxosd.config.schema import SECTIONS
from paxosd.config.settings import section_fields
from tests.ctl.terminal import paxosctl

NEEDS_MAN = pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")


@pytest.fixture(scope="module")
def pages():
    return {page.file: page for page in all_pages(cli, paxosd, "0.1.0")}


def words_of(text):
    """What a reader sees, on one line."""
    text = re.sub(r"^\.(PP|nf|fi)$", "", text, flags=re.M)
    for roff, char in (("\\-", "-"), ("\\(dq", '"'), ("\\e", "\\"), ("\\fB", ""), ("\\fR", ""),
                       ("\\(ga", "`"), ("\\(ti", "~"), ("\\(ha", "^"), ("\\&", "")):  # fmt: skip
        text = text.replace(roff, char)
    return " ".join(text.split())


def test_every_verb_has_a_page_and_so_have_the_daemon_and_its_file(pages):
    wanted = {f"paxosctl-{verb}.1" for verb in VERBS}
    assert set(pages) == wanted | {"paxosctl.1", "paxosd.8", "paxosd.toml.5"}


def leaves(command, context):
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            yield from leaves(found, click.Context(found, parent=context, info_name=name))


def test_it_says_all_that_help_says(pages):
    root = click.Context(cli, info_name="paxosctl", **cli.context_settings)
    for context in leaves(cli, root):
        path = context.command_path.split(" ")
        page = words_of(pages["-".join(path[:2]) + ".1"].text)
        for sentence in " ".join((context.command.help or "").replace("\b", "").split()).split(
            ". "
        ):
            assert words_of(sentence.replace("`", "")) in page, context.command_path
        for option in context.command.params:
            if isinstance(option, click.Option) and len(path) > 2 and option.name not in GLOBAL:
                assert option.opts[0] in page, (context.command_path, option.opts)


GLOBAL = {each.name for each in cli.params}


def test_every_setting_is_explained(pages):
    page = words_of(pages["paxosd.toml.5"].text)
    known = {name: section_fields(section) for name, section in SECTIONS.items()}
    for name, keys in known.items():
        assert f'"[{name}]"' in page
        for key in keys:
            assert f" {key} " in page, f"{name}.{key}"
    said = explanations('[log]\n# How much\n# it is.\n# level = "x"\n', {"log": {"level"}})
    assert said == {"log": {"level": "How much it is."}}


@NEEDS_MAN
def test_man_has_nothing_to_complain_of(pages, tmp_path):
    assert complaints(pages.values(), tmp_path) == b""


@NEEDS_MAN
def test_the_check_bites(pages, tmp_path):
    page = pages["paxosctl.1"]
    assert complaints([page._replace(text=page.text + ".NOSUCH x\n")], tmp_path)


def complaints(pages, tmp_path):
    found = b""
    for page in pages:
        (tmp_path / page.file).write_text(page.text)
        command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", tmp_path / page.file]
        done = subprocess.run(
            command, capture_output=True, timeout=60, check=False,
            env=os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
        )  # fmt: skip
        found += done.stderr
    return found


def test_all_are_written(ctl, tmp_path):
    code, out, _ = ctl("man", "--write", str(tmp_path / "share"), "-o", "plain")
    assert code == 0
    assert str(tmp_path / "share" / "man5" / "paxosd.toml.5") in out.splitlines()
    page = tmp_path / "share" / "man1" / "paxosctl-put.1"
    assert page.read_text().startswith('.TH "PAXOSCTL\\-PUT" 1')
    assert stat.S_IMODE(page.stat().st_mode) == 0o644
    assert ctl("man", "--write", str(tmp_path / "share"))[0] == 0, "again"


def test_one_is_printed_and_the_nearest_named(ctl):
    assert '.TH "PAXOSD.TOML" 5' in ctl("man", "paxosd.toml")[1]
    assert '.TH "PAXOSCTL" 1' in ctl("man")[1]
    code, _, err = ctl("man", "ptu")
    assert (code, 'did you mean "put"' in err) == (2, True)


@NEEDS_MAN
def test_on_a_terminal_man_shows_it():
    with paxosctl("man", "leader", MANPAGER="cat") as terminal:
        code, seen = terminal.end()
    assert code == 0
    assert b"Print the name and client endpoint of the leader" in seen
    assert b".SH" not in seen
