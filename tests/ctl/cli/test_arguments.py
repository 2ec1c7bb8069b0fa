"""What people put on the command line: no number is too large for a clear word, and nothing that
is named back to a terminal moves its cursor."""

import json

import click
import pytest

from paxosctl.__main__ import EXIT_INTERRUPTED as EARLY
from paxosctl.cli import tables
from paxosctl.cli.main import cli, run
from paxosctl.client.client import Client
from paxosctl.client.errors import EXIT_INTERRUPTED
from paxosd.host.file_path import FilePath

HUGE = str(10**30)


def commands(command=cli, path=()):
    """Every verb, with the words that lead to it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))
    else:
        yield path, command


def test_an_early_interrupt_ends_as_a_late_one():
    assert EARLY == EXIT_INTERRUPTED


def test_no_number_is_read_by_click_alone():
    """Its numbers have no bounds that fit, and know more digits than those of ASCII."""
    plain = (click.types.IntParamType, click.IntRange)
    found = [
        (path, each.name)
        for path, command in commands()
        for each in command.params
        if isinstance(each.type, plain)
    ]
    assert found == []


def test_no_path_is_read_by_click_alone():
    """An empty one would be the current directory."""
    found = [
        (path, each.name)
        for path, command in commands()
        for each in command.params
        if isinstance(each.type, click.Path) and not isinstance(each.type, FilePath)
    ]
    assert found == []


@pytest.mark.parametrize("verb", [("take",), ("list",), ("verify",)])
def test_an_empty_path_is_none(verb, capsys):
    assert run(["backup", *verb, ""]) == 2
    assert "an empty path is not allowed" in capsys.readouterr().err


def nul_lines():
    """Of each verb that takes a file, a line with one whose name holds a NUL byte."""
    name = "a\0b"
    yield from (("txn", name), ("log", "timeline", name), ("member", "list", "--key-file", name))
    for path, command in commands():
        if path[0] != "man":  # it makes the directory's name longer first
            files = [each for each in command.params if isinstance(each.type, click.Path)]
            files = [each for each in files if each.name != "key_file"]
            for each in files:
                given = (name,) if isinstance(each, click.Argument) else (each.opts[0], name)
                yield (*path, *given)


@pytest.mark.parametrize("words", list(nul_lines()), ids=" ".join)
def test_a_nul_byte_in_a_name_is_a_wrong_argument(words, capsys):
    """A shell of paxosctl can be given one."""
    assert run([*words, "--endpoints", "tcp://127.0.0.1:1", "--timeout", "100ms"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("cas", "k", "v", "--expect-revision", HUGE),
        ("incr", "k", "--by", HUGE),
        ("incr", "k", "--by", f"-{HUGE}"),
        ("incr", "k", "--by", "1_0"),
        ("get", "", "--prefix", "--limit", HUGE),
        ("node", "log-level", "debug", "--for", f"{HUGE}h"),
        ("bench", "put", "--size", HUGE),
        ("bench", "put", "--outstanding", "100000000000"),
        ("watch", "k", "--from-revision", HUGE),
        ("watch", "k", "--count", "1_0"),
        ("outcome", HUGE, "1"),
        ("fault", "add", "x", "--kind", "delay", "--ms", HUGE),
        ("sim", "run", "--seeds", f"0..{HUGE}"),
        ("sim", "run", "--seeds", "0..9223372036854775807"),
        ("--timeout", f"{HUGE}s", "get", "k"),
        ("cluster", "set", "sessions_max=\u0663"),
        ("cluster", "set", "sessions_max=10_0"),
        ("watch", "k", "--history", "zz"),
        ("snapshot", "save", ""),
        ("snapshot", "status", "-"),
        ("snapshot", "restore", "-"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(words, capfd):
    assert run(words) == 2
    told = capfd.readouterr().err
    assert told.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    "words",
    [
        ("snapshot", "status", "/none\x1b[31mX\rY"),
        ("z\x1b[31mX",),
        ("--endpoints", "tcp://x\x1b[31mX:1", "get", "k"),
        ("fault", "run", "/none\x1b[31mX"),
        ("sim", "teach", "z\x1b[31m"),
        ("watch", "k", "--from-revision", "\x1b[31m"),
    ],
)
def test_nothing_that_was_named_reaches_a_terminal_raw(words, capfd):
    assert run(words) != 0
    told = capfd.readouterr()
    assert "\x1b" not in told.out + told.err
    assert "\r" not in told.out + told.err


def test_json_stays_json_whatever_was_named(capfd):

    assert run(("-o", "json", "snapshot", "status", "/none\x7f\x1b\u202e")) == 74
    told = capfd.readouterr().err
    assert json.loads(told)["message"].startswith("/none\x7f\x1b\u202e cannot be read")
    assert told.strip().isprintable()


def test_a_table_with_one_huge_value_costs_no_more_than_its_size():
    """Each row was filled up to the width of the widest: rows times a megabyte."""
    rows = [("key", "short")] * 2000 + [("key", "v" * 1_000_000)]
    lines = tables.table_lines(("key", "value"), rows)
    assert sum(map(len, lines)) < 1_200_000
    assert tables._line(["a", "b"], [3, 1_000_000]) == "a    b"


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_no_deadline_is_no_deadline(timeout_s):
    with pytest.raises(ValueError, match="timeout_s"):
        Client(["tcp://127.0.0.1:1"], timeout_s=timeout_s)
