"""What a shell that completes is answered; in real shells: ``tests/ctl/cli/test_shells.py``."""

import click
import pytest

from paxosd.host.shell_completion import SHELLS, Program


def things(_context, _parameter, begun):
    return [each for each in ("a b", "a:c", "tab\tbed") if each.startswith(begun)]


@click.command()
@click.option("--size", type=click.Choice(["big:one", "big two"]))
@click.argument("thing", shell_complete=things)
def command(size, thing):
    """One command."""


@pytest.fixture
def propose(monkeypatch):
    def call(line, shell="bash", made=lambda: None):
        monkeypatch.setenv("_X_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("_X_COMPLETE_LINE", line)
        monkeypatch.setenv("_X_COMPLETE_BREAKS", " \t\n\"'><=;|&(:")
        return Program(command, "x", made).proposals()

    return call


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("x ", ["a\\ b", "a:c"]),
        ("VARIABLE=1 x a", ["a\\ b", "a:c"]),
        ("x 'a", ["a b", "a:c"]),
        ("x a:", ["c"]),
        ("x --size big:", ["one"]),
        ("x --size=big", ["big:one", "big\\ two"]),
        ("x --size=big:", ["one"]),
        ("x --si", ["--size"]),
    ],
)
def test_bash_gets_what_is_still_to_be_inserted(propose, line, wanted):
    found = [each.split("\t")[1] for each in propose(line).splitlines()]
    assert found == wanted


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_others_get_whole_values(propose, shell):
    assert propose("x --size=big", shell) == "plain\t--size=big:one\nplain\t--size=big two\n"


def test_whatever_fails_is_no_proposal(propose):
    assert propose("x ", made=lambda: 1 / 0) == ""
    assert propose("", "zsh") != ""


@pytest.mark.parametrize("value", ["", "bash_source", "csh_complete", "nonsense"])
def test_nobody_asks(monkeypatch, value):
    monkeypatch.setenv("_X_COMPLETE", value)
    assert Program(command, "x", lambda: None).proposals() is None


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_names_its_program(shell):
    script = Program(command, "x", lambda: None).script(shell)
    assert "_x_completion" in script
    assert "%(" not in script
