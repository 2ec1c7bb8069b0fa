"""The exit code of every verb, when it works and when it fails: none says 0 for a failure."""

import json

import click
import pytest

from paxosctl.cli import survey
from paxosctl.cli.main import cli
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from tests.ctl.fake_daemon import closed_port

BAD_PLAN = "/nonexistent/plan.toml"
NEW_MEMBER = [
    "--peer", "tcp://127.0.0.1:1", "--client", "tcp://127.0.0.1:2", "--events", "tcp://127.0.0.1:3",
]  # fmt: skip
NEW_NODE = ["--data-dir", "/nonexistent/n1", "--cluster-id", "new", "--node", "n1"]

LEAVES = {
    # verb: (arguments that work, arguments that mean "no" or None, and what that exits with)
    "put": (["k", "v"], None, 0),
    "get": (["k"], ["missing"], 1),
    "delete": (["k"], ["missing"], 1),
    "cas": (["k", "w", "--expect-value", "v"], ["k", "w", "--expect-value", "not this"], 1),
    "incr": (["n", "--by", "-2"], ["k"], 77),  # that is no number
    "txn": (["/dev/null"], ["/proc/self/mounts"], 2),  # that is no transaction
    "outcome": (None, ["99", "1"], 1),
    "export": (["--prefix", "no such key"], ["-o", "/dev/null", "--force"], 1),  # it is no file
    "import": (["/dev/null"], ["/proc/self/status"], 1),  # it is no JSON
    "watch": (None, None, 0),  # ends with Ctrl-C alone
    "lease grant": (["10s"], ["10ms"], 2),
    "lease keepalive": (None, ["7"], 1),
    "lease revoke": (None, ["7"], 1),
    "lease ttl": (None, ["7"], 1),
    "lease list": ([], None, 0),
    "lock": (["jobs", "--", "true"], ["jobs", "--", "false"], 1),
    "elect": (["head", "me", "--", "true"], ["head"], 1),  # nobody leads
    "status": ([], None, 0),
    "health": ([], None, 0),
    "leader": ([], None, 0),
    "hash": ([], None, 0),
    "top": (["--once", "--interval", "10ms"], ["--interval", "none"], 2),
    "doctor": (None, [], 1),  # there is a fault rule
    "auth init": (None, [], 77),  # without a key
    "auth new": (None, ["app1", "-o", "-"], 77),  # the same
    "auth list": ([], None, 0),
    "auth show": (None, ["nobody"], 1),
    "auth rotate": (None, ["nobody"], 1),
    "auth revoke": (None, ["nobody"], 1),
    "auth set": (None, ["nobody", "--read", "a/"], 1),
    "auth require": (None, ["on"], 1),  # there is no admin
    "auth can-i": (["put", "k"], ["put", "k", "--as", "nobody"], 1),
    "member list": ([], None, 0),
    "member add": (["n4", *NEW_MEMBER], ["n1", *NEW_MEMBER], 2),
    "member config": (["n1"], ["n7"], 2),
    "member promote": (None, ["n7"], 2),
    "member demote": (None, ["n7"], 2),
    "member remove": (None, ["n7"], 2),
    "member replace": (None, ["n7", "n1"], 2),
    "member rejoin": (None, ["n1"], 1),  # its memory is whole
    "member update": (None, ["n7", "--peer", "tcp://127.0.0.1:1"], 2),
    "member quorum": (["--majority"], ["--phase1", "3", "--phase2", "1"], 2),
    "member transfer-leader": (["n1"], ["n7"], 2),
    "cluster show": ([], None, 0),
    "cluster set": (None, ["sessions_max=5"], 77),  # at feature level 0
    "node log-level": (["debug", "--for", "1s"], ["debug", "--for", "1441m"], 77),
    "fault add": (["f", "--kind", "drop"], ["f", "--kind", "dropp"], 2),
    "fault list": ([], None, 0),
    "fault rm": (["f"], ["no such rule"], 1),
    "fault clear": ([], None, 0),
    "fault crash": (["n1"], ["n7"], 2),
    "fault run": (None, [BAD_PLAN], 2),
    "snapshot save": (None, ["/dev/null"], 1),  # it exists
    "snapshot status": (None, ["/dev/null"], 1),
    "snapshot restore": (None, ["/dev/null", *NEW_NODE], 1),
    "snapshot salvage": (None, ["/nonexistent", "/nonexistent/file"], 1),
    "backup take": (None, ["/nonexistent"], 1),
    "backup list": (None, ["/dev"], 1),  # there is none
    "backup verify": (None, ["/dev"], 1),
    "shell": ([], ["--no"], 2),
    "man": (["put"], ["none such"], 2),
    "context add": (["c"], ["c d"], 2),
    "context use": (["--none"], ["none such"], 1),
    "context list": ([], None, 0),
    "context show": ([], ["none such"], 1),
    "context rename": (None, ["none such", "new"], 1),
    "context remove": (None, ["none such"], 1),
    "completion": (["bash"], ["csh"], 2),
    "bench put": (["--count", "3"], ["--count", "none"], 2),
    "bench get": (["--count", "3", "--keys", "5"], ["--count", "none"], 2),
    "bench mixed": (["--count", "3", "--keys", "5"], ["--read-ratio", "2"], 2),
    "bench watch": (
        ["--watchers", "2", "--duration", "100ms"],
        ["--watchers", "none"],
        2,
    ),
    "check history": (None, ["/dev/null/none"], 2),
    "check perf": (None, ["--load", "huge"], 2),  # what it finds depends on the machine
    "log nodes": (None, ["/dev/null"], 74),  # there is nothing in it
    "log timeline": (None, ["/dev/null"], 74),
    "log tail": (None, ["/dev/null"], 74),
    "log diagram": (None, ["-o", "html", "/dev/null"], 74),
    "log slot": (None, ["7", "/dev/null"], 74),
    "log ballot": (None, ["1.n1", "/dev/null"], 74),
    "log request": (None, ["7/1", "/dev/null"], 74),
    "log key": (None, ["k", "/dev/null"], 74),
    "explain put": (None, ["k", "/dev/null"], 74),
    "explain request": (None, ["7/1", "/dev/null"], 74),
    "explain slot": (None, ["7", "/dev/null"], 74),
    "explain leader": (None, ["/dev/null"], 74),
    "explain slowest": (None, ["/dev/null"], 74),
    "why-slow": (None, ["/dev/null"], 74),
    "blame": (None, ["k", "/dev/null"], 74),
    "audit": (None, ["/dev/null"], 74),
    "trace replay": (None, ["/dev/null"], 74),
    "trace to-test": (None, ["/dev/null", "-o", "test_x.py"], 74),
    "debug bundle": (None, ["--inspect", "/dev/null"], 1),  # that is none
    "sim run": (["--seed", "1", "--duration", "2s"], ["--seed", "x"], 2),
    "sim teach": (["happy-path"], ["no such lesson"], 2),
}
NEEDS_NO_CLUSTER = {
    "sim run", "sim teach", "snapshot status", "snapshot restore", "audit", "debug bundle", "blame",
    "check history", "backup list", "backup verify", "snapshot salvage",
    "import",  # of a file without keys, as here
    "auth init",  # without a key
    "completion", "shell", "man",
    *(verb for verb in LEAVES if verb.startswith(("context ", "log ", "explain ", "why-slow"))),
    *(verb for verb in LEAVES if verb.startswith("trace ")),
}  # fmt: skip
COORDINATION = {verb for verb in LEAVES if verb.startswith(("lease ", "lock", "elect"))}
COORDINATION |= {"incr", "txn"}
"""They work at a feature level that a new cluster does not start with here."""
WAITING = {"lock", "elect"}
"""They wait for a cluster as they do for a lock."""
FAILING = {"doctor": [], "watch": ["k"], "outcome": ["1", "1"], "check perf": []}
"""Arguments for the verbs that have none that work here."""


@pytest.fixture(autouse=True)
def contexts(tmp_path, monkeypatch):
    """Each test has its own."""
    monkeypatch.setenv("PAXOSCTL_CONFIG", str(tmp_path / "contexts.toml"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-verb", "-o", "json"],
        ["--no-such-option", "-o", "json", "put", "k", "v"],
        ["-o", "json", "--timeout", "x", "put", "k", "v"],
        ["put", "k", "v", "--timeout", "x", "-ojson"],
        ["-o", "table", "put", "--output=json"],
        ["member", "no-such-verb", "--output", "json"],
    ],
)
def test_a_mistake_is_told_in_json_wherever_that_is_asked_for(ctl, arguments):
    code, out, err = ctl(*arguments)
    assert (code, out) == (2, "")
    assert json.loads(err)["error"] == "usage"


@pytest.mark.parametrize(
    "arguments",
    [
        ["put", "-o", "json", "-o"],
        ["put", "-o", "json", "-o", "table"],
        ["put", "--timeout", "x", "--", "-ojson"],
    ],
)
def test_and_in_words_where_it_is_not(ctl, arguments):
    code, _, err = ctl(*arguments)
    assert code == 2
    assert not err.startswith("{")


def test_one_endpoint_that_cannot_be_reached_is_not_all_of_them(ctl, tmp_path):
    asked = ["snapshot", "save", str(tmp_path / "s"), "--endpoint", "tcp://127.0.0.1:1"]
    code, _, err = ctl(*asked)
    assert code == 69
    assert "paxosctl: the endpoint that was asked for cannot be reached; not submitted" in err
    assert "tcp://127.0.0.1:1  connection refused" in err
    code, _, err = ctl("get", "k", endpoints="tcp://127.0.0.1:1")
    assert code == 69
    assert "paxosctl: no endpoint can be reached; not submitted" in err


def leaves(command, path=()):
    """The names of all verbs that do something, as one types them."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from leaves(command.get_command(context, name), (*path, name))
    else:
        yield " ".join(path)


def test_every_verb_is_here():
    assert set(leaves(cli)) == set(LEAVES)


@pytest.mark.parametrize("verb", LEAVES)
def test_done_is_0_and_no_is_not(verb, ctl, daemon, monkeypatch):
    # A look at all nodes waits a second for each: on a busy machine that is too short at times.
    monkeypatch.setattr(survey, "PROBE_S", 30.0)
    if verb in COORDINATION:
        daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)
    works, negative, code = LEAVES[verb]
    for arguments in (["put", "k", "v"], ["fault", "add", "f", "--kind", "drop"]):
        if verb != "fault add":
            assert ctl(*arguments)[0] == 0
    if negative is not None:
        found, out, err = ctl(*verb.split(), *negative)
        assert found == code != 0
        assert out == "" or code == 1
        assert err or code == 1
    if works is not None:
        assert ctl(*verb.split(), *works)[0] == 0


@pytest.mark.parametrize("verb", sorted(set(LEAVES) - NEEDS_NO_CLUSTER - WAITING))
def test_nobody_there_is_69_or_usage_before_it(verb, ctl, monkeypatch):
    monkeypatch.setattr(survey, "PROBE_S", 30.0)  # as above
    works, negative, _ = LEAVES[verb]
    arguments = works if works is not None else FAILING.get(verb, negative)
    code, out, err = ctl(*verb.split(), *arguments, endpoints=closed_port())
    assert code == (2 if verb == "fault run" else 1 if verb in ("health", "doctor") else 69)
    if verb == "doctor":  # that nobody is there is what it finds
        out, err = "", out
    assert out == ""
    assert "connection refused" in err or BAD_PLAN in err


@pytest.mark.parametrize("verb", sorted(WAITING))
def test_nobody_there_is_72_where_one_can_wait(verb, ctl):
    words = [*verb.split(), "name", *(["me"] if verb == "elect" else [])]
    code, out, err = ctl(*words, "--wait", "0s", "--", "true", endpoints=closed_port())
    assert (code, out) == (72, "")
    assert "not acquired: whether others hold it is not known: the cluster has not answered" in err


@pytest.mark.parametrize("verb", sorted(set(LEAVES) - NEEDS_NO_CLUSTER))
def test_a_wrong_option_is_2(verb, ctl):
    assert ctl(*verb.split(), "--no-such-option")[0] == 2
