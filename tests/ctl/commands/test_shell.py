"""The shell: a script of verbs, and a person at a terminal."""

import json
import os
import signal
import stat
from contextlib import contextmanager
from dataclasses import replace

import pytest

from paxosctl.cli.app import Settings
from paxosctl.cli.target import Asked
from paxosctl.client.client import Client
from paxosctl.commands import shell_lines
from paxosctl.commands.shell_client import SharedClient, ShellSettings
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from tests.ctl.fake_daemon import FakeDaemon
from tests.ctl.terminal import paxosctl


@pytest.fixture
def script(ctl, daemon):
    """Runs these lines as a script; the result as ``ctl`` has it."""
    daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)

    def call(text, *options, before=()):
        return ctl(*before, "shell", *options, stdin=os.fsencode(text))

    return call


class TestScript:
    def test_verbs_as_on_the_command_line(self, script, daemon):
        code, out, err = script("put k 'a  b'\n\n# a comment\npaxosctl get k # another\ncas k x\n")
        assert (code, out) == (2, "revision 1\na  b\n")
        assert "Missing argument" in err or "give either" in err
        assert daemon.machine.store.get(b"k").value == b"a  b"

    def test_one_session_for_all_of_them(self, script, daemon):
        assert script("put a 1\nput b 2\ndelete a\nincr n\n")[0] == 0
        assert len({entry.session for entry in daemon.writes if entry.session}) == 1

    def test_any_bytes(self, script, daemon):
        assert script("put $'\\xff' $'a\\x00\\nb'\nput \udcfe $'\\u00e9'\n")[0] == 0
        assert daemon.machine.store.get(b"\xff").value == b"a\0\nb"
        assert daemon.machine.store.get(b"\xfe").value == "é".encode()

    def test_quotes_over_several_lines(self, script, daemon):
        script("put k 'one\ntwo' \\\n  --timeout 5s\n")
        assert daemon.machine.store.get(b"k").value == b"one\ntwo"

    def test_the_first_that_fails_ends_it_and_its_line_is_named(self, script, daemon):
        code, out, err = script("# begin\nput k 'v\nw'\nget nothing\nput k w\n")
        assert (code, out) == (1, "revision 1\n")
        assert err == (
            "paxosctl: no such key: nothing\npaxosctl: line 4 ended with exit code 1: get nothing; "
            "what follows it was not run (see --keep-going)\n"
        )
        assert daemon.machine.store.get(b"k").value == b"v\nw"

    def test_a_command_of_several_lines_is_named_by_its_first(self, script):
        err = script("\nno-such-verb 'a\nb'\nput k v\n")[2]
        assert "paxosctl: line 2 ended with exit code 2: no-such-verb 'a; what" in err
        err = script("put k v\ntxn\nput k v\nnonsense\nend\nput k w\n")[2]
        assert "paxosctl: line 2 ended with exit code 2: txn; what follows" in err

    def test_keep_going_runs_all_and_ends_with_the_first_failure(self, script):
        text = "get nothing\nno-such-verb\nput k v\n"
        code, out, err = script(text, "--keep-going")
        assert (code, out) == (1, "revision 1\n")
        assert "paxosctl: line 1 ended with exit code 1: get nothing\n" in err
        assert err.endswith("paxosctl: line 2 ended with exit code 2: no-such-verb\n")
        assert script("get nothing\nexit\nput k v\n", "--keep-going")[:2] == (1, "")
        assert script("put k v\nexit\nget nothing\n")[0] == 0

    def test_for_programs_the_line_is_named_in_json(self, script):
        err = script("get nothing\nput k v\n", before=["-o", "json"])[2]
        assert json.loads(err.splitlines()[1]) == {
            "line": 1, "command": "get nothing", "exit_code": 1, "ended": True,
        }  # fmt: skip

    def test_a_context_that_is_not_there_lets_nothing_go_to_the_wrong_cluster(self, script, daemon):
        code, _, err = script(":context production\nput k v\n")
        assert (code, daemon.writes) == (2, [])
        assert "paxosctl: line 1 ended with exit code 2" in err

    def test_echo(self, script):
        out = script("put k $'a\\nb'\nget nothing\nleader -o plain\n", "--echo", "--keep-going")[
            1
        ].splitlines()
        assert out[0] == "paxosctl> put k $'a\\nb'"
        assert out[1:4] == ["revision 1", "paxosctl> get nothing", "paxosctl [1]> leader -o plain"]

    def test_what_the_shell_was_begun_with_counts_unless_a_line_says_otherwise(self, script):
        out = script("put k v\nget k -o plain\n", before=["-o", "json"])[1]
        assert json.loads(out.splitlines()[0]) == {"revision": 1}
        assert out.splitlines()[1] == "v"

    def test_a_line_may_name_another_cluster(self, script):
        code, _, err = script("put k v --endpoints tcp://127.0.0.1:1 --timeout 1s\n")
        assert code == 69
        assert "connection refused" in err

    @pytest.mark.parametrize("end", ["", "end"])
    def test_a_transaction_of_several_lines(self, script, daemon, end):
        text = f"txn\nif absent k\nput k v\nbegin\nput n 1\nend\n{end}\nget k\n"
        code, out, _ = script(text)
        assert code == 0
        assert out.splitlines()[0] == "then, revision 1"
        assert out.splitlines()[-1] == "v"
        assert daemon.machine.store.get(b"n").value == b"1"
        code, out, _ = script(text, "--keep-going")
        assert (code, out) == (1, "v\n"), "the conditions do not hold any more"

    def test_one_from_a_file_takes_no_lines(self, script, tmp_path):
        (tmp_path / "t").write_text("put k v\n")
        assert script(f"txn {tmp_path / 't'} -o json\nget k\n")[1].splitlines()[1] == "v"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("put k 'v", "a quote has no end"),
            ("put k 'v\nw\n", "line 1 ended with exit code 2: put k 'v"),
            ("snapshot status $'a\\x00b'", "$'a\\x00b' names no file and no program"),
            ("txn\nput k v\n", "the transaction has no end"),
            ("put k -", "the commands come from it"),
            ("shell", "this is a shell already"),
            (":what", "there is only :context"),
            (":context none", 'there is no context "none"'),
        ],
    )
    def test_what_is_no_command(self, script, daemon, text, words):
        code, out, err = script(text)
        assert (code, out) == (74 if text.endswith("-") else 2, "")
        assert words in err
        assert daemon.writes == []

    def test_a_command_that_cannot_be_named_leaves_no_lock(self, script):
        code, _, err = script(
            "lock l -- $'a\\x00b'\nlock l --wait 0s -- true\nexit\n", "--keep-going"
        )
        assert code == 2
        assert "Error: $'a\\x00b' names no file and no program" in err
        assert err.count("ended with exit code") == 1, "the second one has the lock at once"

    def test_help_and_context(self, script, daemon):
        out = script("help\nhelp get\n:context\n")[1]
        assert "Ctrl-C ends the watch, not the shell" in out
        assert "Usage: paxosctl get" in out
        assert f"endpoints from the command line: {daemon.endpoint}" in out

    def test_a_verb_is_as_it_was_after_others_have_looked_at_it(self, script):
        """click keeps in each command what its help option is called."""
        text = "man put -o plain\ntxn\n\nput -h\ntxn -h\nsnapshot -h\n"
        code, out, err = script(text)
        assert (code, err) == (0, "")
        assert out.count("  -h, --help") == 3

    def test_an_error_that_nobody_foresaw_does_not_end_it(self, script, monkeypatch):
        def broken(*_):
            raise ZeroDivisionError

        monkeypatch.setattr("paxosctl.commands.shell_session.run", broken)
        code, _, err = script("put k v\nput k v\n", "--keep-going")
        assert code == 70
        assert err.count("raise ZeroDivisionError") == 2

    def test_a_client_whose_calls_ended_badly_goes_on(self, script, daemon):
        daemon.silent_writes = True
        before = len(daemon.writes)
        code, out, err = script("put k v --timeout 300ms\nget k\n", "--keep-going")
        assert (code, out) == (75, "")
        assert "line 2 ended with exit code 1: get k" in err
        assert "no such key: k" in err
        assert len(daemon.writes) > before
        assert "outcome" in err or "not submitted" in err


@pytest.fixture
def typed(daemon, tmp_path):
    """A shell on a terminal, that has come to its first prompt."""
    daemon.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)

    @contextmanager
    def call(*options, columns=80):
        variables = {"PAXOSCTL_ENDPOINTS": daemon.endpoint, "XDG_STATE_HOME": str(tmp_path)}
        with paxosctl("shell", *options, columns=columns, **variables) as terminal:
            terminal.wait("paxosctl> ")
            yield terminal

    return call


class TestTerminal:
    def test_the_prompt_has_the_code_and_ctrl_d_ends_it_with_0(self, typed):
        with typed() as terminal:
            terminal.type("get nothing\n")
            terminal.wait("paxosctl [1]> ")
            terminal.type("put k 'v\n")
            terminal.wait("> ")
            terminal.type("w'\n")
            terminal.wait("paxosctl> ")
            terminal.type("nonsense\n")
            terminal.wait("paxosctl [2]> ")
            terminal.type("\x04")
            assert terminal.end()[0] == 0

    def test_tab_completes_verbs_options_and_keys(self, typed, daemon):
        with Client([daemon.endpoint]) as client:
            for key in (b"a b", b"it's", b"twin/one", b"twin/two"):
                client.put(key, b"value of " + key)
        with typed() as terminal:
            terminal.type("ge\ta\t\n")
            terminal.wait("value of a b")
            terminal.type("get 'a\t\n")
            terminal.wait("value of a b")
            terminal.type("get it\t--out\tpl\t\n")
            terminal.wait("value of it's")
            terminal.type("get tw\t\t\t")
            terminal.wait("twin/one  twin/two")
            terminal.wait("paxosctl> get twin/")
            terminal.type("o\t\n")
            terminal.wait("value of twin/one")
            terminal.type("member li\t\n")
            terminal.wait("leader")

    def test_tab_asks_the_cluster_that_the_line_names(self, typed, daemon):
        with FakeDaemon() as other, typed() as terminal:
            for each, key in ((daemon, b"twin/here"), (other, b"twin/there")):
                with Client([each.endpoint]) as client:
                    client.put(key, b"value of " + key)
            terminal.type(f"get --endpoints {other.endpoint} tw\t\n")
            terminal.wait("value of twin/there")
            terminal.type("get tw\t\n")
            terminal.wait("value of twin/here")

    def test_ctrl_c_ends_a_watch_a_line_and_a_transaction_not_the_shell(self, typed, daemon):
        with typed() as terminal, Client([daemon.endpoint]) as client:
            terminal.type("watch k\n")
            terminal.wait("watch k\r\n")
            while b"  put  k  " not in terminal.seen:  # it may not watch yet
                client.put(b"k", b"v")
                terminal.read_what_is_there()
            terminal.interrupt("paxosctl [130]> ")
            terminal.type("put k 'x\n")
            terminal.wait("> ")
            terminal.interrupt("paxosctl [130]> ")
            terminal.type("txn\nput k x\n")
            terminal.wait("put k x\r\n")
            terminal.wait("txn> ")
            terminal.interrupt("paxosctl [130]> ")
            terminal.type("get k\n")
            terminal.wait("v\r\n")
            terminal.wait("paxosctl> ")

    def test_what_is_pasted_may_be_several_lines(self, typed):
        with typed() as terminal:
            terminal.type("\x1b[200~put a 1\nget a\nget a -o json\x1b[201~\n")
            terminal.wait('"value": "1"')

    def test_the_history_is_kept_for_its_owner(self, typed, tmp_path):
        with typed() as terminal:
            terminal.type("put k 'one\ntwo'\n put secret x\n")
            terminal.wait("revision 2")
            terminal.wait("paxosctl> ")
            terminal.type("\x04")
            terminal.end()
        path = tmp_path / "paxosctl" / "history"
        assert path.read_text() == "put k $'one\\ntwo'\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with typed() as terminal:
            terminal.type("\x1b[A\n")  # the line before
            terminal.wait("revision 3")

    def test_a_history_that_cannot_be_kept_is_no_matter(self, typed, tmp_path):
        (tmp_path / "paxosctl").write_text("in the way")
        with typed() as terminal:
            terminal.type("put k v\n")
            terminal.wait("revision 1")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    @pytest.mark.parametrize("line", ["", "watch k\n"])
    def test_a_signal_to_end_ends_it(self, typed, number, line):
        with typed() as terminal:
            terminal.type(line)
            if line:
                terminal.wait("watch k\r\n")
            # Python sees one that comes in the moment before readline waits with the next alone.
            while terminal.process.poll() is None:
                os.kill(terminal.process.pid, number)
                terminal.read_what_is_there()
            assert terminal.end()[0] == -number


def test_a_long_history_is_cut(typed, tmp_path):
    assert shell_lines.HISTORY_LINES_MAX >= 1000
    path = tmp_path / "paxosctl" / "history"
    path.parent.mkdir()
    path.write_text("".join(f"put k {n}\n" for n in range(shell_lines.HISTORY_LINES_MAX + 5)))
    with typed() as terminal:
        terminal.type("get nothing\n")
        terminal.wait("paxosctl [1]> ")
    lines = path.read_text().splitlines()
    assert lines[0] == "put k 5"
    assert lines[-1] == "get nothing"
    assert len(lines) == shell_lines.HISTORY_LINES_MAX + 1


def test_the_history_is_kept_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert shell_lines.history_path() == tmp_path / "paxosctl" / "history"


def test_another_client_is_opened_for_what_the_shared_one_does_not_do(daemon):
    begun = Settings(flags=Asked(endpoints=daemon.endpoint))
    line = ShellSettings.of(begun, SharedClient(begun))
    assert line.shared.serves(line)
    for change in ({"allow_plain": True}, {"client_name": "c"}, {"flags": Asked("tcp://a:1")}):
        assert not line.shared.serves(replace(line, _target=None, **change))


def test_columns():
    assert shell_lines.columns(["a", "bbb", "c"], 80) == ["a  bbb  c"]
    assert shell_lines.columns(["a", "bbb", "c"], 11) == ["a    c", "bbb"]
    assert shell_lines.columns([], 80) == []
