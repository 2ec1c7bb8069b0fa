"""Completion in real shells on a terminal: what TAB puts there is what the command then gets."""

import shutil
import sys

import pytest

from paxosctl.client.client import Client
from tests.ctl.fake_daemon import FakeDaemon
from tests.ctl.terminal import Terminal

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
LOAD = {
    "bash": "source <(paxosctl completion bash); source <(paxosd completion bash)",
    "zsh": "autoload -Uz compinit; compinit -D; source <(paxosctl completion zsh); "
    "source <(paxosd completion zsh)",
    "fish": "paxosctl completion fish | source; paxosd completion fish | source",
}
KEYS = {
    "colon": "co:l:on",
    "blank": "bl an  k",
    "comma": "cm,ma",
    "star": "st*ar",
    "quote": "qu'o\"te",
    "dollar": "do$HOME`x`",
    "equals": "eq=ua=ls",
    "letters": "größe/日本",
    "more": "mo;r&e|(x)<y>",
    "backslash": "ba\\ck#",
}
"""Each begins with two letters of its own."""


@pytest.fixture(scope="module")
def daemon():
    with FakeDaemon() as fake:
        with Client([fake.endpoint]) as client:
            for name, key in KEYS.items():
                client.put(key.encode(), f"value-of-{name}".encode())
            client.put(b"twin/one", b"first")
            client.put(b"twin/two", b"second")
        yield fake


@pytest.fixture(scope="module", params=SHELLS)
def shell(request, daemon, tmp_path_factory):
    """One of each, with the programs in its PATH and the scripts loaded."""
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    home = tmp_path_factory.mktemp(name)
    for program in ("paxosctl", "paxosd"):
        path = home / program
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -m {program} "$@"\n')
        path.chmod(0o755)
    (home / "contexts.toml").write_text(
        f'current = "here"\n[contexts.here]\nendpoints = ["{daemon.endpoint}"]\n'
        '[contexts.elsewhere]\nendpoints = ["tcp://127.0.0.1:1"]\n'
    )
    (home / "a file.json").write_text("")
    path = f"{home}:/usr/local/bin:/usr/bin:/bin"
    with Terminal(
        SHELLS[name], columns=200, HOME=str(home), PATH=path, PS1="$ ",
        PAXOSCTL_CONFIG=str(home / "contexts.toml"),
    ) as terminal:  # fmt: skip
        terminal.type(f"cd; {LOAD[name]}; echo load''ed\n")
        terminal.wait("loaded")
        yield terminal


def after(shell, typed, words):
    """Type this line, with a TAB in it, and wait for what the command answers."""
    shell.type(f"{typed}\n")
    return shell.wait(words)


@pytest.mark.parametrize("name", KEYS)
def test_a_key_of_any_characters(shell, name):
    after(shell, f"paxosctl get {KEYS[name][:2]}\t", f"value-of-{name}\r")


@pytest.mark.parametrize(
    "typed", ["co:l:\t", "'co:\t", '"bl a\t', "bl\\ a\t", "'bl an\t", "eq=u\t"]
)
def test_a_key_that_is_begun(shell, typed):
    name = {"c": "colon", "b": "blank", "e": "equals"}[typed.strip("'\"")[0]]
    shell.type(f"paxosctl get {typed}")
    after(shell, "", f"value-of-{name}\r")


def test_what_several_keys_share_and_the_next_tab(shell):
    after(shell, "paxosctl get tw\tone", "first\r")


def test_verbs_options_and_values(shell):
    after(shell, "paxosctl del\tco\t", "revision ")  # delete co:l:on
    after(shell, "paxosctl put co:l:on value-of-colon --ti\t5s", "revision ")
    after(shell, "paxosctl get co:l:on -o js\t", '"value": "value-of-colon"')
    after(shell, "paxosctl get co:l:on --output=js\t", '"value": "value-of-colon"')
    after(shell, "paxosctl member li\t", "leader")


def test_contexts_and_nodes(shell):
    after(shell, "paxosctl context show else\t", "tcp://127.0.0.1:1\r")
    after(shell, "paxosctl --context else\tget k", "(endpoints from context elsewhere)")
    after(shell, "paxosctl member config n\t", "[cluster.members.n1]")


def test_files_are_the_shells_own_matter(shell):
    after(shell, "paxosctl import --dry-run a\\ f\t", "nothing was written")


def test_nothing_is_said_where_the_cluster_is_gone(shell):
    seen = after(shell, "paxosctl --context elsewhere get x\ty; echo e''nd", "end\r\n")
    assert seen.count(b"127.0.0.1:1") == 1, "by get alone"


@pytest.mark.parametrize(
    "target",
    [
        "--endpoints non:sense",
        "--endpoints tcp://127.0.0.1:1",
        "--context nowhere",
        "--key-file no",
    ],
)
def test_behind_what_leads_nowhere_verbs_and_options_are_completed_all_the_same(shell, target):
    typed = f"paxosctl {target} ge\tx\ty --he\t"
    # At the beginning of the line, by Ctrl-A: what stands there is printed, and not run.
    after(shell, f"{typed}\x01echo it is ", f"it is paxosctl {target} get xy --help\r")


def test_paxosd(shell):
    after(shell, "paxosd de\t--help", "Run a whole cluster in this terminal")
