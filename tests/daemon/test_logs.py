import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from paxosd.config.settings import ConfigError
from paxosd.daemon.logs import VOCABULARY, Logs, UnknownEventError

SOURCE = Path(__file__).parents[2] / "paxosd"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def written():
    """A strict logger on a text buffer, and a function that reads its lines."""

    def make(**options):
        stream = io.StringIO()
        logs = Logs(node="n1", stream=stream, strict=True, **options)
        return logs, lambda: [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]

    return make


class TestJsonLines:
    def test_the_first_fields_are_always_there_in_order(self, written):
        logs, lines = written()
        logs.boot_count = 7
        logs.logger.info("leader.elected", ballot="3.n1", **{"from": "n2"})
        logs.logger.warning("storage.slow", dur_ms=1.5)
        first, second = lines()
        assert list(first) == [
            *("ts", "level", "event", "node", "boot_count", "seq", "mono_ns"),
            *("ballot", "from"),
        ]
        assert first["level"] == "info"
        assert first["event"] == "leader.elected"
        assert (first["node"], first["boot_count"], first["seq"]) == ("n1", 7, 1)
        assert first["ballot"] == "3.n1"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["ts"])
        assert second["seq"] == 2
        assert second["mono_ns"] >= first["mono_ns"]

    def test_a_boot_count_that_is_not_known_is_null(self, written):
        logs, lines = written()
        logs.logger.info("node.starting")
        assert lines()[0]["boot_count"] is None

    def test_what_is_bound_is_on_every_line(self, written):
        logs, lines = written()
        bound = logs.logger.bind(role="leader")
        bound.info("leader.elected")
        assert lines()[0]["role"] == "leader"

    def test_bytes_are_text_where_they_are_text(self, written):
        logs, lines = written()
        logs.logger.info("client.request", key="é".encode(), value=b"\xff", nodes={"b", "a"})
        line = lines()[0]
        assert line["key"] == "é"
        assert line["value"] == {"b64": "/w=="}
        assert line["nodes"] == ["a", "b"]

    def test_a_line_stays_one_line(self, written):
        logs, lines = written()
        logs.logger.info("client.request", key="a\nb\u2028c", table={b"k": 1}, thing=object())
        assert lines()[0]["key"] == "a\nb\u2028c"

    def test_an_exception_is_an_error_with_its_traceback(self, written):
        logs, lines = written()
        try:
            raise KeyError("gone")
        except KeyError:
            logs.logger.exception("node.failed")
        assert lines()[0]["level"] == "error"
        assert "KeyError: 'gone'" in lines()[0]["exception"]


class TestLevels:
    def test_below_the_level_nothing_is_written_or_counted(self, written):
        logs, lines = written(level="warning")
        logs.logger.debug("chosen")
        logs.logger.info("leader.elected")
        logs.logger.error("storage.failed")
        assert [(line["event"], line["seq"]) for line in lines()] == [("storage.failed", 1)]

    def test_a_debug_call_that_is_off_does_not_look_at_its_fields(self, written):
        class Costly:
            def __repr__(self):
                raise AssertionError("looked at")

        logs, lines = written()
        logs.logger.debug("no.such.event", thing=Costly())
        assert lines() == []
        assert not logs.debug

    def test_debug_is_known_to_those_who_would_do_work_for_it(self, written):
        logs, lines = written(level="debug")
        logs.logger.debug("chosen", slot=1)
        assert logs.debug
        assert lines()[0]["slot"] == 1


class TestVocabulary:
    def test_a_strict_logger_refuses_an_unknown_event(self, written):
        logs, _ = written()
        with pytest.raises(UnknownEventError, match=r"no\.such\.event"):
            logs.logger.info("no.such.event")

    def test_a_daemons_logger_writes_it_all_the_same(self):
        stream = io.StringIO()
        Logs(node="n1", stream=stream).logger.info("no.such.event")
        assert json.loads(stream.getvalue())["event"] == "no.such.event"

    def test_every_event_named_in_the_source_is_in_it(self):
        call = re.compile(
            r"\b(?:debug|info|warning|error|exception|critical|notice|note|trace|Notice|Trace)"
            r'\(\s*"([a-z_]+(?:\.[a-z_]+)*)"'
        )
        used = {
            (path.name, event)
            for path in SOURCE.rglob("*.py")
            if "sim" not in path.parts  # a trace of the simulator is no daemon's log
            for event in call.findall(path.read_text(encoding="utf-8"))
        }
        unknown = sorted(pair for pair in used if pair[1] not in VOCABULARY)
        assert not unknown, "add these to paxosd.daemon.logs.VOCABULARY"

    def test_every_event_in_it_is_logged_somewhere(self):
        source = "".join(
            path.read_text(encoding="utf-8")
            for path in SOURCE.rglob("*.py")
            if path.name != "logs.py"
        )
        silent = [event for event in VOCABULARY if f'"{event}"' not in source]
        assert not silent, "the vocabulary promises what nothing logs"

    def test_names_and_words_are_well_formed(self):
        for event, words in VOCABULARY.items():
            assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", event), event
            assert words, event
            assert words == words.strip(), event


class TestConsole:
    def test_a_terminal_gets_colour_and_a_pipe_json(self, monkeypatch):
        monkeypatch.delenv("NO_COLOR", raising=False)
        terminal, pipe = Terminal(), io.StringIO()
        Logs(node="n1", stream=terminal).logger.info("leader.elected", slot=4)
        Logs(node="n1", stream=pipe).logger.info("leader.elected", slot=4)
        assert "\x1b[" in terminal.getvalue()
        assert "leader.elected" in terminal.getvalue()
        assert "mono_ns" not in terminal.getvalue()
        assert json.loads(pipe.getvalue())["slot"] == 4

    def test_no_color(self, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        terminal = Terminal()
        Logs(node="n1", stream=terminal).logger.info("leader.elected", slot=4)
        assert "\x1b[" not in terminal.getvalue()
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3} ", terminal.getvalue())

    def test_the_format_may_be_forced(self):
        terminal, pipe = Terminal(), io.StringIO()
        Logs(node="n1", stream=terminal, format="json").logger.info("leader.elected")
        Logs(node="n1", stream=pipe, format="console").logger.info("leader.elected")
        assert json.loads(terminal.getvalue())
        assert not pipe.getvalue().startswith("{")


class TestControls:
    """Nothing that others send acts on a terminal."""

    NASTY = ("a\rb", "\x1b[2J", "bell\x07", "\x9b1m", "del\x7f", "\u202edlrow", "a\nb")

    @pytest.mark.parametrize("format", ["console", "json"])
    @pytest.mark.parametrize("text", NASTY)
    def test_a_field_is_escaped(self, format, text, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        terminal = Terminal()
        logs = Logs(node="n1", stream=terminal, format=format)
        logs.logger.info("client.request", key=text, keys=[text], raw=text.encode())
        assert terminal.getvalue().rstrip("\n").isprintable(), repr(terminal.getvalue())
        if format == "json":
            assert json.loads(terminal.getvalue())["key"] == text

    def test_so_is_a_traceback_but_for_its_lines(self, monkeypatch):
        monkeypatch.setenv("NO_COLOR", "1")
        terminal = Terminal()
        logs = Logs(node="n1", stream=terminal)
        try:
            raise KeyError("x") from ValueError("a\rb\x1b[2J")
        except KeyError:
            logs.logger.exception("node.failed")
        assert all(line.isprintable() for line in terminal.getvalue().split("\n"))
        assert "ValueError: a\\rb\\x1b[2J" in terminal.getvalue()


class TestFile:
    def test_it_appends_and_reopens_after_rotation(self, tmp_path):
        path = tmp_path / "n1.log"
        path.write_text("before\n")
        logs = Logs(node="n1", file=path)
        logs.logger.info("node.ready")
        assert logs.flush(30)
        path.rename(tmp_path / "n1.log.1")
        logs.logger.info("node.signal")
        logs.reopen()
        logs.logger.info("node.stopping")
        logs.close(30)
        old, new = (tmp_path / "n1.log.1").read_text(), path.read_text()
        assert old.startswith("before\n")
        assert [json.loads(line)["event"] for line in old.splitlines()[1:]] == [
            "node.ready",
            "node.signal",
        ]
        assert [json.loads(line)["event"] for line in new.splitlines()] == [
            "log.reopened",
            "node.stopping",
        ]

    def test_a_reopen_that_fails_keeps_the_old_file(self, tmp_path):
        directory = tmp_path / "logs"
        directory.mkdir()
        logs = Logs(node="n1", file=directory / "n1.log")
        directory.rename(tmp_path / "moved")
        logs.reopen()
        logs.logger.info("node.ready")
        logs.close(30)
        lines = (tmp_path / "moved" / "n1.log").read_text().splitlines()
        assert [json.loads(line)["event"] for line in lines] == ["log.reopen_failed", "node.ready"]

    def test_one_that_cannot_be_opened_is_a_matter_of_configuration(self, tmp_path):
        with pytest.raises(ConfigError, match=r"log\.file: .*/n1\.log cannot be opened: No such"):
            Logs(node="n1", file=tmp_path / "none" / "n1.log")

    def test_a_line_that_cannot_be_written_is_counted_and_forgotten(self, tmp_path):
        logs = Logs(node="n1", file="/dev/full") if os.path.exists("/dev/full") else None
        if logs is None:
            pytest.skip("no /dev/full here")
        logs.logger.info("node.ready")
        logs.logger.info("node.ready")
        logs.close()
        assert logs.dropped == 2

    def test_so_is_one_to_a_closed_stream(self):
        stream = io.StringIO()
        logs = Logs(node="n1", stream=stream)
        stream.close()
        logs.logger.info("node.ready")
        assert logs.dropped == 1

    def test_a_broken_pipe_does_not_end_the_process(self):
        script = (
            "import sys, os\nfrom paxosd.daemon.logs import Logs\n"
            "r, w = os.pipe(); os.close(r); os.dup2(w, 2)\n"
            "logs = Logs(node='n1'); logs.logger.info('node.ready'); logs.close(30)\n"
            "sys.exit(40 + logs.dropped)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
        assert done.returncode == 41


class TestCopies:
    """The flight recorder takes what is said at level info and above."""

    def test_the_first_lines_and_later_ones_whatever_the_level(self, written):
        logs, lines = written(level="warning")
        logs.logger.info("node.starting", version="1")
        copied = []
        logs.copy_to(copied.append)
        logs.logger.debug("chosen", slot=1)
        logs.logger.info("leader.elected", leader="n2")
        logs.logger.warning("leader.lost", leader="n2")
        assert [json.loads(line)["event"] for line in copied] == [
            "node.starting", "leader.elected", "leader.lost",
        ]  # fmt: skip
        assert json.loads(copied[1])["leader"] == "n2"
        assert [(line["event"], line["seq"]) for line in lines()] == [("leader.lost", 1)]

    def test_a_level_that_changes_changes_no_copy(self, written):
        logs, lines = written()
        copied = []
        logs.copy_to(copied.append)
        for level in ("error", "debug", "info"):
            logs.level = level
            logs.logger.info("node.ready", at=level)
        assert len(copied) == 3
        assert [line["at"] for line in lines()] == ["debug", "info"]

    def test_nobody_wants_them(self, written):
        logs, lines = written(level="warning")
        logs.logger.info("node.starting")
        logs.copy_to(None)
        logs.logger.info("node.ready")
        logs.logger.warning("leader.lost")
        assert [line["event"] for line in lines()] == ["leader.lost"]
