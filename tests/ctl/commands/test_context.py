"""Contexts: kept, used, shown, and named where something goes wrong."""

import json
import os
import stat
import threading

import pytest

from paxosctl.cli.app import Settings, complain
from paxosctl.cli.contexts import Context, Contexts, changing, contexts_path
from paxosctl.cli.main import run
from paxosctl.cli.target import CONTEXT, DEFAULT, ENVIRONMENT, FLAG, Asked, target_of
from paxosctl.client.errors import OutcomeUnknownError
from paxosd.net.key_files import ServerKey, key_file_text, make_key, write_secret
from tests.ctl.fake_daemon import closed_port

A, B = "tcp://127.0.0.1:1", "tcp://127.0.0.1:2"


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "mine" / "contexts.toml"
    monkeypatch.setenv("PAXOSCTL_CONFIG", str(path))
    return path


@pytest.fixture
def do(file, capsys):
    """``do("list") → (exit code, stdout, stderr)`` of a verb of ``context``."""

    def call(*arguments, verb=("context",)):
        code = run([*verb, *arguments])
        return code, *capsys.readouterr()

    return call


class TestFile:
    def test_it_is_written_as_a_whole_for_its_owner_alone(self, do, file):
        assert do("add", "prod", "--endpoints", f"{A},{B}", "--key-file", "k.key")[0] == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert [each.name for each in file.parent.iterdir()] == [file.name]
        found = Contexts.load()
        assert found.named == {"prod": Context((A, B), path_of("k.key"))}
        assert found.current == ""

    def test_the_place_is_that_of_xdg(self, monkeypatch, tmp_path):
        monkeypatch.delenv("PAXOSCTL_CONFIG")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        assert contexts_path() == tmp_path / ".config" / "paxosctl" / "contexts.toml"
        monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
        assert contexts_path() == tmp_path / ".config" / "paxosctl" / "contexts.toml"
        monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/xdg")
        assert str(contexts_path()) == "/etc/xdg/paxosctl/contexts.toml"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("current = ", "this is not TOML"),
            ("\xff", "it is not UTF-8"),
            ("now = 1", 'it has "now"'),
            ("current = 1", "current is no text"),
            ("contexts = 1", "contexts is no table"),
            ("[contexts.'a b']\nendpoints = []", '"a b" is no name of a context'),
            ("[contexts]\na = 1", "context a is no table"),
            ("[contexts.a]\nkeyfile = 'x'", 'context a has "keyfile"'),
            ("[contexts.a]\nendpoints = 'x'", "endpoints of context a is no list"),
            ("[contexts.a]\nendpoints = []", "context a: at least one endpoint is needed"),
            ("[contexts.a]\nendpoints = ['host']", "context a: "),
            (f"[contexts.a]\nendpoints = ['{A}']\nkey_file = 1", "key_file of context a is no"),
            (f"[contexts.a]\nendpoints = ['{A}']\nkey_file = ''", "key_file of context a names"),
            (f'[contexts.a]\nendpoints = ["{A}"]\nkey_file = "\\u0000"', "of context a names no"),
        ],
    )
    def test_one_that_is_damaged_is_74_and_stays_as_it_is(self, do, file, text, words):
        file.parent.mkdir()
        file.write_bytes(text.encode("latin-1"))
        for arguments in (["list"], ["show"], ["add", "x", "--endpoints", A], ["use", "a"]):
            code, out, err = do(*arguments)
            assert (code, out) == (74, "")
            assert words in err
            assert "mend it, or move it away" in err
        assert do("k", verb=["get"])[0] == 74
        assert do("k", "--endpoints", A, verb=["get"])[0] == 69, "it is not needed"
        assert file.read_bytes() == text.encode("latin-1")

    @pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
    def test_one_that_may_not_be_read_is_77(self, do, file):
        file.parent.mkdir()
        file.touch(0o000)
        assert do("list")[0] == 77

    def test_a_file_in_the_place_of_its_folder_is_74(self, do, file):
        file.parent.touch()
        assert do("add", "x", "--endpoints", A)[0] == 74

    def test_one_in_use_that_is_gone_is_named_with_the_way_out(self, do, file):
        do("add", "here", "--endpoints", A)
        file.write_text(f'current = "gone"\n{file.read_text()}')
        assert "gone, the one in use, is not among them" in do("list")[1]
        code, _, err = do("k", verb=["get"])
        assert code == 2
        assert "context use --none" in err
        assert do("use", "--none")[0] == 0
        assert "in use" not in do("list")[1]

    def test_writers_wait_for_each_other(self, file):
        def add(name):
            with changing() as contexts:
                contexts.named[name] = Context((A,))

        threads = [threading.Thread(target=add, args=(f"c{n}",)) for n in range(20)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(Contexts.load().named) == 20


def path_of(name):
    return contexts_path().parent.__class__(os.getcwd()) / name


class TestVerbs:
    def test_add_use_list_show_rename_remove(self, do):
        assert "use it with: paxosctl context use prod" in do("add", "prod", "--endpoints", A)[1]
        do("add", "test", "--endpoints", B)
        assert do("use", "test")[0] == 0
        listed = do("list")[1].splitlines()
        assert [line.split()[0] for line in listed] == ["name", "prod", "*"]
        assert do("rename", "test", "stage")[0] == 0
        shown = json.loads(do("show", "-o", "json")[1])
        assert (shown["context"], shown["from"], shown["in_use"]) == ("stage", "context", True)
        assert "none is in use" in do("remove", "stage")[1]
        assert json.loads(do("show", "-o", "json")[1])["from"] == "default"
        do("use", "prod")
        assert do("use", "--none")[1] == "no context is in use\n"
        assert do("list", "-o", "plain")[1] == "prod\n"

    def test_what_is_there_stays(self, do):
        do("add", "prod", "--endpoints", A)
        assert do("add", "prod", "--endpoints", B)[0] == 1
        do("add", "test", "--endpoints", B)
        assert do("rename", "test", "prod")[0] == 1
        assert Contexts.load().named["prod"].endpoints == (A,)
        assert do("add", "prod", "--endpoints", B, "--force")[0] == 0
        assert Contexts.load().named["prod"].endpoints == (B,)

    @pytest.mark.parametrize("verb", ["use", "show", "remove", "rename"])
    def test_one_that_is_not_there_is_1_and_the_nearest_is_named(self, do, verb):
        do("add", "prod", "--endpoints", A)
        code, _, err = do(verb, "prd", *(["x"] if verb == "rename" else []))
        assert code == 1
        assert 'did you mean "prod"' in err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["add", "x"],
            ["add", "a b", "--endpoints", A],
            ["add", "x", "--endpoints", "host"],
            ["use"],
            ["use", "x", "--none"],
        ],
    )
    def test_usage(self, do, arguments):
        assert do(*arguments)[0] == 2

    def test_use_says_what_counts_more(self, do, monkeypatch):
        do("add", "prod", "--endpoints", A)
        monkeypatch.setenv("PAXOSCTL_ENDPOINTS", B)
        assert "but PAXOSCTL_ENDPOINTS is set in this shell" in do("use", "prod")[1]


class TestPrecedence:
    @pytest.fixture(autouse=True)
    def contexts(self, file):
        with changing() as contexts:
            contexts.named["used"] = Context((A,), path_of("a"))
            contexts.named["other"] = Context((B,), path_of("b"))
            contexts.current = "used"

    @pytest.mark.parametrize(
        ("flags", "environment", "wanted"),
        [
            ((None, None), (None, None), (A, CONTEXT, "used")),
            ((None, None), (None, "other"), (B, ENVIRONMENT, "other")),
            ((None, None), ("tcp://e:1", None), ("tcp://e:1", ENVIRONMENT, "")),
            ((None, None), ("tcp://e:1", "other"), ("tcp://e:1", ENVIRONMENT, "other")),
            ((None, "other"), ("tcp://e:1", None), (B, FLAG, "other")),
            (("tcp://f:1", None), ("tcp://e:1", "other"), ("tcp://f:1", FLAG, "")),
            (("tcp://f:1", "other"), (None, None), ("tcp://f:1", FLAG, "other")),
        ],
    )
    def test_flags_environment_context(self, flags, environment, wanted):
        found = target_of(Asked(*flags), Asked(*environment))
        assert (found.endpoints, found.source, found.context) == wanted
        keys = {"used": path_of("a"), "other": path_of("b"), "": None}
        assert found.key_file == keys[found.context], "a key goes to its own cluster alone"

    def test_and_the_default_is_the_last(self):
        with changing() as contexts:
            contexts.current = ""
        assert target_of(Asked(), Asked()).source == DEFAULT

    def test_a_service_has_its_key_among_its_credentials(self, tmp_path, monkeypatch):
        """And the key says where the nodes are, and in errors that they are from there."""
        key = make_key("backup", "client", "c", {"n1": ServerKey(B, bytes(32))})
        named = tmp_path / "paxosctl.key"
        write_secret(named, key_file_text(key))
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        found = target_of(Asked(), Asked())
        assert (found.endpoints, found.source, found.key_file) == (B, ENVIRONMENT, named)
        assert found.words == f"{named}, the file of the key"
        assert target_of(Asked(), Asked(endpoints=A)).key_file == named
        assert target_of(Asked(), Asked(key_file="other", endpoints=A)).key_file == path_of("other")
        assert target_of(Asked(context="used"), Asked()).key_file == path_of("a")
        named.unlink()
        assert target_of(Asked(), Asked()).source == CONTEXT
        named.write_text("none")
        assert target_of(Asked(), Asked(endpoints=A)).key_file is None
        named.write_text("")
        assert target_of(Asked(), Asked(endpoints=A)).key_file == named, "no key, but meant as one"

    def test_show_says_which_and_why(self, do, monkeypatch):
        assert "endpoints from context used, the one in use" in do("show")[1]
        monkeypatch.setenv("PAXOSCTL_CONTEXT", "other")
        shown = do("show")[1]
        assert "endpoints from context other, by PAXOSCTL_CONTEXT" in shown
        assert "passed over: context used, the one in use" in shown
        shown = do("show", "--endpoints", "tcp://f:1")[1]
        assert "endpoints from the command line" in shown
        assert "passed over: PAXOSCTL_CONTEXT, context used, the one in use" in shown


class TestErrors:
    """They name the context that led there."""

    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ({"flag": True}, "(endpoints from context prod)"),
            ({"variable": True}, "(endpoints from context prod, by PAXOSCTL_CONTEXT)"),
            ({"use": True}, "(endpoints from context prod, the one in use)"),
        ],
    )
    def test_nobody_there(self, do, monkeypatch, how, words):
        do("add", "prod", "--endpoints", closed_port(), *(["--use"] if "use" in how else []))
        if "variable" in how:
            monkeypatch.setenv("PAXOSCTL_CONTEXT", "prod")
        flags = ["--context", "prod"] if "flag" in how else []
        code, _, err = do(*flags, "k", verb=["get"])
        assert code == 69
        assert words in err
        found = json.loads(do(*flags, "k", "-o", "json", verb=["get"])[2])
        assert found["endpoints_from"] == "context prod"

    def test_no_such_context_is_2(self, do, monkeypatch):
        code, _, err = do("k", "--context", "prod", verb=["get"])
        assert code == 2
        assert "add it with: paxosctl context add" in err
        do("add", "prod", "--endpoints", A)
        monkeypatch.setenv("PAXOSCTL_CONTEXT", "prd")
        code, _, err = do("k", verb=["get"])
        assert code == 2
        assert 'there is no context "prd" (PAXOSCTL_CONTEXT)' in err
        assert 'did you mean "prod"' in err

    def test_the_command_to_go_on_with_names_it(self, do, capsys):
        do("add", "prod", "--endpoints", A, "--use")
        complain(Settings(), OutcomeUnknownError(7, 1, "no answer"), [])
        assert "  paxosctl --context prod outcome 7 1\n" in capsys.readouterr().err


def test_a_verb_goes_there(do, daemon):
    do("add", "here", "--endpoints", daemon.endpoint, "--use")
    assert do("k", "v", verb=["put"])[0] == 0
    assert do("k", verb=["get"])[1] == "v\n"
