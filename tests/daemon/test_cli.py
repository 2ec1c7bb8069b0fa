import importlib
import json
import os
import shutil
import sys
import tempfile
import types

import pytest
from click.testing import CliRunner

from paxosd.cli import cli
from paxosd.config.settings import ConfigError
from paxosd.daemon import exits

MINIMAL = """
[cluster]
id = "c1"
[cluster.members.n1]
peer = "tcp://127.0.0.1:7411"
client = "tcp://127.0.0.1:7410"
events = "tcp://127.0.0.1:7412"
[node]
name = "n1"
data_dir = "data"
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    for name in list(__import__("os").environ):
        if name.startswith("PAXOSD_"):
            monkeypatch.delenv(name)
    path = tmp_path / "n1.toml"
    path.write_text(MINIMAL)
    return str(path)


@pytest.fixture
def daemon(monkeypatch):
    """A stand-in for paxosd.daemon.daemon; ``outcome`` is returned or raised by its run."""
    module = types.ModuleType("paxosd.daemon.daemon")
    module.seen = []
    module.outcome = 0

    def run(config, read):
        module.seen.append(config)
        module.read = read
        if isinstance(module.outcome, BaseException):
            raise module.outcome
        return module.outcome

    module.run = run
    monkeypatch.setitem(sys.modules, "paxosd.daemon.daemon", module)
    return module


def call(*args):
    return CliRunner().invoke(cli, args)


class StorageError(Exception):
    pass


class CorruptionError(StorageError):
    pass


class BindError(Exception):
    pass


class DataDirLocked(Exception):  # noqa: N818 - named as the daemon's is
    pass


class IdentityError(Exception):
    pass


class TestNode:
    def test_it_runs_with_the_effective_configuration(self, file, daemon):
        result = call("--config", file, "--set", "log.level=debug")
        assert result.exit_code == 0
        assert daemon.seen[0].log.level == "debug"

    def test_the_file_may_come_from_the_environment(self, file, daemon, monkeypatch):
        monkeypatch.setenv("PAXOSD_CONFIG", file)
        assert call().exit_code == 0
        assert daemon.seen[0].node.name == "n1"

    def test_the_daemons_code_is_the_exit_code(self, file, daemon):
        daemon.outcome = 74
        assert call("--config", file).exit_code == 74

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (ConfigError(["bad"]), 78),
            (IdentityError("bad"), 78),
            (BindError("bad"), 69),
            (DataDirLocked("bad"), 69),
            (StorageError("bad"), 74),
            (CorruptionError("bad"), 74),
            (PermissionError("bad"), 77),
        ],
    )
    def test_a_foreseen_error_is_one_line_and_its_code(self, file, daemon, error, code):
        daemon.outcome = error
        result = call("--config", file, "--set", "log.format=console")
        assert result.exit_code == code
        assert result.stderr == "paxosd: bad\n"

    @pytest.mark.parametrize("how", [(), ("--set", "log.format=json"), ("--set", "log.file=x")])
    @pytest.mark.parametrize(
        ("error", "code"), [(BindError("bad"), 69), (PermissionError("bad"), 77)]
    )
    def test_it_is_json_where_the_log_is(self, file, daemon, error, code, how):
        daemon.outcome = error
        result = call("--config", file, *how)
        assert result.exit_code == code
        line = json.loads(result.stderr)
        assert (line["event"], line["level"], line["node"]) == ("node.failed", "error", "n1")
        assert (line["message"], line["exit_code"]) == ("bad", code)
        assert line["error"] == type(error).__name__
        assert line["boot_count"] is None, "not known here"

    def test_so_it_is_for_a_configuration_that_cannot_be_used(self, file, daemon):
        result = call("--config", file, "--set", "a.b=1", "--set", "log.level=x")
        assert result.exit_code == 78
        line = json.loads(result.stderr)
        assert len(line["problems"]) == 2
        assert "log.level" in line["message"]
        with open(file, "a") as more:
            more.write('[log]\nformat = "console"\nlevel = "x"\n')
        result = call("--config", file)
        assert result.stderr.startswith("paxosd: ")
        result = call("--config", file, "--set", "log.format=json")
        assert json.loads(result.stderr)["exit_code"] == 78

    def test_words_from_others_do_not_act_on_a_terminal(self, file, daemon):
        daemon.outcome = BindError("a\rb\x1b[2J\nc")
        result = call("--config", file, "--set", "log.format=console")
        assert result.stderr == "paxosd: a\\rb\\x1b[2J\nc\n"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    @pytest.mark.parametrize("verb", [[], ["init"]])
    def test_a_configuration_that_this_user_may_not_read_is_77(self, file, daemon, verb):
        """By the table, as the daemon's own reading of it; not wrong usage."""
        importlib.import_module("paxosd.daemon.init")  # that user may not read the modules
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            closed = shutil.copy(file, f"{directory}/n1.toml")
            os.chmod(closed, 0)
            os.setresuid(65534, 65534, 0)
            try:
                result = call(*verb, "--config", closed)
            finally:
                os.setresuid(0, 0, 0)
        assert result.exit_code == 77, result.output
        assert "this user may not read it" in result.stderr

    def test_an_unforeseen_error_keeps_its_traceback(self, file, daemon):
        daemon.outcome = ZeroDivisionError("what")
        result = call("--config", file, "--set", "log.format=console")
        assert result.exit_code == 1
        assert result.exception is daemon.outcome
        result = call("--config", file)
        assert result.exit_code == 1
        assert "ZeroDivisionError: what" in json.loads(result.stderr)["exception"]

    @pytest.mark.parametrize(
        ("module", "name", "code"),
        [
            ("bus.binding", "BindError", 69),
            ("storage.datadir", "DataDirLocked", 69),
            ("storage.identity", "IdentityError", 78),
            ("storage.disk", "StorageError", 74),
            ("storage.disk", "NewerVersionError", 78),
            ("storage.disk", "CorruptionError", 74),
            ("dev.ports", "PortsTakenError", 69),
        ],
    )
    def test_the_names_that_codes_go_by_are_the_real_ones(self, module, name, code):
        error = getattr(importlib.import_module(f"paxosd.{module}"), name)
        assert exits.code_of(error.__new__(error)) == code


class TestUsage:
    def test_nothing_to_do_is_a_usage_error_that_says_what_to_do(self, monkeypatch):
        monkeypatch.delenv("PAXOSD_CONFIG", raising=False)
        result = call()
        assert result.exit_code == 2
        assert "paxosd dev" in result.stderr

    @pytest.mark.parametrize(
        "args",
        [["--no-such"], ["nonsense"], ["dev", "--nodes", "8"], ["dev", "--restart-after", "soon"]],
    )
    def test_wrong_usage(self, args):
        assert call(*args).exit_code == 2

    def test_version(self):
        result = call("--version")
        assert result.exit_code == 0
        assert result.stdout.startswith("paxosd ")

    @pytest.mark.parametrize("args", [["--help"], ["-h"], ["dev", "--help"], ["init", "-h"]])
    def test_help(self, args):
        assert call(*args).exit_code == 0

    @pytest.mark.parametrize("columns", [40, 60, 78, 120])
    def test_the_summary_of_a_verb_is_a_full_sentence(self, columns):
        text = CliRunner().invoke(cli, ["-h"], terminal_width=columns).stdout
        summaries = " ".join(text.split("Commands:")[1].split("Start with")[0].split())
        assert ".." not in summaries
        for command in cli.commands.values():
            assert f"{command.name} {command.short_help}" in summaries
            assert command.short_help.endswith(".")

    @pytest.mark.parametrize("option", ["--config", "--set", "--insecure", "--check-config"])
    def test_an_option_that_a_command_would_not_see_is_refused(self, file, option):
        given = {"--config": [file], "--set": ["log.level=debug"]}.get(option, [])
        result = call(option, *given, "dev", "--data-dir", file)
        assert result.exit_code == 2
        assert f"{option} before dev is for running one node" in " ".join(result.stderr.split())

    def test_a_configuration_in_the_environment_is_not(self, file, monkeypatch):
        monkeypatch.setenv("PAXOSD_CONFIG", str(file))
        assert call("dev", "--help").exit_code == 0
        assert call("completion", "bash").exit_code == 0


class TestCheckConfig:
    def test_a_good_one_is_printed_and_nothing_runs(self, file, daemon):
        result = call("--config", file, "--check-config")
        assert result.exit_code == 0
        assert 'name = "n1"' in result.stdout
        assert not daemon.seen

    def test_a_bad_one_is_78_with_every_problem(self, file, daemon):
        result = call("--config", file, "--check-config", "--set", "a.b=1", "--set", "log.level=x")
        assert result.exit_code == 78
        assert len(result.stderr.splitlines()) == 3
        assert not result.stdout

    def test_no_such_file_is_78(self, tmp_path):
        result = call("--config", str(tmp_path / "none.toml"))
        assert result.exit_code == 78
        assert "there is no such file" in result.stderr
