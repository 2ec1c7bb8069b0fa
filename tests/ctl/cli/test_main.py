"""How a call of paxosctl ends: exit codes, what it prints, and its help."""

import json
import re
import subprocess
import sys

import click
import pytest

from paxosctl.cli.app import SUMMARY_MAX, Settings, complain
from paxosctl.cli.main import cli, run
from paxosctl.cli.verbs import SECTIONS, VERBS
from paxosctl.client.client import Client
from paxosctl.client.errors import NotSubmittedError, RefusedError
from tests.ctl.fake_daemon import FakeDaemon, closed_port


class TestEndings:
    """Each failure has its exit code and says what to do."""

    def test_nobody_listens_is_69(self, ctl):
        code, _, err = ctl("get", "k", endpoints=closed_port())
        assert code == 69
        assert "connection refused" in err
        assert "start it" in err

    def test_a_node_that_is_down_is_passed_over(self, ctl, daemon):
        assert ctl("put", "k", "v", endpoints=f"{closed_port()},{daemon.endpoint}")[0] == 0

    def test_a_redirect_is_followed(self, ctl, daemon):
        with FakeDaemon("n2") as follower:
            follower.refusal, follower.hint = "not_leader", daemon.endpoint
            assert ctl("put", "k", "v", endpoints=follower.endpoint)[0] == 0
        assert daemon.machine.store.get(b"k").value == b"v"

    @pytest.mark.parametrize(
        ("code", "words"), [("no_leader", "no leader"), ("busy", "busy"), ("stopping", "stopping")]
    )
    def test_not_submitted_is_75(self, ctl, daemon, code, words):
        daemon.refusal = code
        exit_code, _, err = ctl("put", "k", "v", "--timeout", "300ms")
        assert exit_code == 75
        assert words in err
        assert "safe to try again" in err

    def test_no_quorum_is_told_from_no_leader(self, ctl):
        gone = {name: {"client": closed_port(), "events": closed_port()} for name in ("n2", "n3")}
        with FakeDaemon(members=gone) as lone:
            lone.refusal = "no_leader"
            code, _, err = ctl("put", "k", "v", "--timeout", "300ms", endpoints=lone.endpoint)
        assert code == 75
        assert "no quorum; not submitted" in err
        assert "counts 1 of 3 voters and needs 2; start or reconnect n2 and n3" in err

    def test_a_silent_node(self, ctl, daemon):
        daemon.silent = True
        code, _, err = ctl("get", "k", "--timeout", "200ms")
        assert code == 75
        assert "connected, but it does not answer" in err

    def test_an_unknown_outcome_is_124_and_the_command_it_prints_answers(self, ctl, daemon):
        assert ctl("put", "k", "0")[0] == 0
        with Client([daemon.endpoint], timeout_s=0.3) as client:
            client.put(b"k", b"1")  # the session is open
            daemon.silent_writes = True
            with pytest.raises(Exception, match="unknown") as caught:
                client.put(b"k", b"2")
            daemon.silent_writes = False
            session, seq = caught.value.session, caught.value.seq
            assert client.outcome(session, seq).state == "committed"
            assert client.put(b"k", b"3") == 4  # in a new session
        assert len({entry.first_seq for entry in daemon.writes if entry.session == session}) == 2

    def test_the_message_of_124(self, ctl, daemon, monkeypatch):
        real = daemon._answer

        def lose_puts(request):
            before = len(daemon.writes)
            answer = real(request)
            lost = len(daemon.writes) > before and daemon.writes[-1].session
            return None if lost else answer

        monkeypatch.setattr(daemon, "_answer", lose_puts)
        code, _, err = ctl("put", "k", "v", "--timeout", "300ms")
        assert code == 124
        ask = f"paxosctl --endpoints {daemon.endpoint} outcome 1 1"
        assert ask in err
        code, _, err = ctl("put", "k", "v", "--timeout", "300ms", "-o", "json")
        body = json.loads(err)
        assert (code, body["error"], body["session"], body["seq"]) == (124, "outcome_unknown", 2, 1)

    def test_usage_is_2(self, ctl):
        for arguments in (
            ["nonsense"],
            ["get"],
            ["get", "k", "--limit", "3"],
            ["get", "k", "--bogus"],
            ["get", "k", "-o", "yaml"],
            ["get", "k", "--timeout", "soon"],
            ["get", "k", "--timeout", "0s"],
            ["get", "k", "--endpoints", "localhost"],
        ):
            assert ctl(*arguments)[0] == 2, arguments

    def test_the_nearest_verb_is_named(self, ctl):
        assert 'did you mean "put"' in ctl("pit", "k", "v")[2]

    def test_help_of_every_verb(self, ctl):
        assert ctl("--help")[0] == 0
        for verb in VERBS:
            assert ctl(verb, "--help")[0] == 0
        assert ctl("--version")[0] == 0

    def test_two_clusters_in_one_list_are_not_mixed(self, ctl, daemon):
        """The first answer decides; the other one refuses what is addressed to the first."""
        with Client([daemon.endpoint]) as client:
            client.put(b"k", b"v")
            assert client.cluster == "test"

    def test_the_list_of_verbs_imports_none_of_them(self):
        words = (
            "import sys; from paxosctl.cli.main import run; code = run(['--help']); "
            "bad = [each for each in sys.modules if each.startswith('paxosctl.commands.')]; "
            "sys.exit(code or bad and str(bad) or 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", words], capture_output=True, timeout=30, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")

    def test_a_short_verb_starts_without_rich(self, daemon):
        words = (
            "import sys; from paxosctl.cli.main import run; "
            f"code = run(['--endpoints', {daemon.endpoint!r}, 'put', 'k', 'v']); "
            "bad = {'rich', 'structlog', 'asyncio'} & set(sys.modules); "
            "sys.exit(code or str(bad) if bad else 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", words], capture_output=True, timeout=30, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")


class TestWords:
    def test_every_summary_is_a_whole_sentence(self, capsys):
        """In the list of verbs of each group; nothing is cut off."""
        for group in ([], ["member"], ["cluster"], ["fault"], ["snapshot"], ["bench"], ["sim"]):
            assert run([*group, "-h"]) == 0
            told = capsys.readouterr().out
            heading = "Commands" if group else next(iter(SECTIONS))
            listed = re.sub(r"\n\n\S.*:(?=\n)", "", told[told.index(f"{heading}:") :])
            assert "..." not in listed
            summaries = re.split(r"\n  (?=\S)", listed)[1:]
            assert summaries
            assert all(each.rstrip().endswith((".", "?")) for each in summaries), listed

    def test_the_list_of_verbs_says_what_each_says_of_itself(self):
        context = click.Context(cli)
        for name, verb in VERBS.items():
            command = cli.get_command(context, name)
            assert verb.summary == command.get_short_help_str(SUMMARY_MAX), name

    def test_a_history_that_is_gone_names_its_first_revision(self, capsys):
        error = RefusedError("compacted", "it is gone", detail=17)
        complain(Settings(output="json"), error, [])
        assert json.loads(capsys.readouterr().err)["first_revision"] == 17

    def test_a_read_without_an_answer_says_how_to_ask_for_it(self, capsys):
        error = NotSubmittedError("no_answer", "no answer in time", (), (70, 71))
        complain(Settings(output="json"), error, [])
        assert json.loads(capsys.readouterr().err)["reads"] == ["0/70", "0/71"]
        complain(Settings(), error, [])
        assert capsys.readouterr().err.endswith("\n  paxosctl log request 0/71\n")


def test_every_verb_is_in_one_section_of_the_list(ctl):
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(VERBS)
    out = ctl("--help")[1]
    assert all(f"\n{heading}:\n" in out for heading in SECTIONS)


@pytest.mark.parametrize(
    ("words", "hint"),
    [(("fault", "lst"), 'did you mean "list"?'), (("fault", "pause"), "known: add, clear, crash")],
)
def test_a_verb_of_a_group_that_does_not_exist(ctl, words, hint):
    code, _, err = ctl(*words)
    assert (code, hint in err) == (2, True), err


def test_files_that_cannot_be_read_are_74(ctl):
    for words in (("txn", "/no/such"), ("import", "/no/such"), ("export", "-o", "/no/such/file")):
        code, _, err = ctl(*words)
        assert code == 74, words
        assert "No such file or directory" in err


@pytest.mark.parametrize(
    ("line", "words"),
    [(b'{"key"', "line 1 is no JSON: Expecting ':' delimiter at character 7"),
     (b"{\x99", "line 1 is no text in UTF-8")],
)  # fmt: skip
def test_a_line_of_an_import_that_is_none_is_named_once(ctl, line, words):
    assert words in " ".join(ctl("import", "-", stdin=line)[2].split())


def options_of(command, context, path):
    """Every option of a command and of those below it, with the words that lead there."""
    yield from ((path, each) for each in command.params if isinstance(each, click.Option))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            inner = click.Context(below, info_name=name, parent=context, obj=Settings())
            yield from options_of(below, inner, (*path, name))


def test_every_option_says_what_it_does():
    found = list(options_of(cli, click.Context(cli, obj=Settings()), ()))
    assert len(found) > 500
    assert [(*path, option.opts[0]) for path, option in found if not option.help] == []
