"""A shell: one line after another becomes a verb, all of them with one client.

    line ──► words ──► the command line of ``paxosctl``, with the shared client ──► exit code
                └────► :context, help, exit

Whatever a verb does, an error included, leads to the next prompt.
"""

import os
import sys
import traceback
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete

from paxosctl.cli.app import Settings
from paxosctl.cli.interruption import is_ending
from paxosctl.cli.main import cli, run
from paxosctl.cli.render import to_json
from paxosctl.cli.streams import BrokenOutputError, StreamError, lost_output, say, say_json, write
from paxosctl.cli.target import NOTHING
from paxosctl.cli.verbs import VERBS
from paxosctl.client.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from paxosctl.commands.shell_client import SharedClient, ShellSettings
from paxosctl.commands.shell_lines import Lines, stdin_of_a_verb
from paxosd.host.shell_words import Splitter, backslashed, quoted, split_line

EXIT_UNEXPECTED = 70
"""An error that nobody foresaw, with a traceback."""
SHOWN_MAX = 60
"""Characters of a line that is named in an error."""
GREETING = "TAB completes, help lists the verbs, Ctrl-C ends one, Ctrl-D ends the shell."
HELP = """
In this shell:
  help [VERB]      this, or what `paxosctl VERB --help` says
  txn              the lines that follow, up to an empty one or `end`, are the transaction
  watch KEY        Ctrl-C ends the watch, not the shell
  :context [NAME]  which cluster this shell is at; go to another one
  exit             end the shell, as Ctrl-D does
Words are quoted as in bash: 'a b', "a b", a\\ b, $'any byte: \\xff'. Nothing else is special."""


class ShellError(Exception):
    """What was typed is no command; the text says why."""


class Session:
    """One shell. ``settings``: as it was begun; ``echo``: each command is printed before it runs;
    ``keep_going``: a script goes on where one has failed."""

    def __init__(self, settings: Settings, lines: Lines, *, echo: bool, keep_going: bool) -> None:
        self._settings = settings
        self._lines = lines
        self._echo = echo
        self._keep_going = keep_going
        self._shared = SharedClient(settings)
        self._code = EXIT_OK
        """Of the last command."""
        self._failed = EXIT_OK
        """Of the first one in a script that did not end with 0."""
        self._begun = 0, ""
        """The number of the line that the last command begins with, and that line."""

    def run(self) -> int:
        """All lines; the exit code of the first command that failed, of a person who leaves 0.
        Raises KeyboardInterrupt for a signal that is to end the process, StreamError where standard
        output has failed and there are commands left."""
        try:
            while True:
                try:
                    command = self._read(self.prompt)
                    if command is None:
                        break
                    words, text = command
                    if not words:
                        continue
                    if why := lost_output():  # nobody would see what becomes of it
                        lost = f"standard output cannot be written: {why}"
                        raise StreamError(f"{lost}; this, and what follows, was not run: {text}")
                    if words[0] in ("exit", "quit") and len(words) == 1:
                        return self._failed
                    self._code = self._execute(words, text)
                except KeyboardInterrupt:
                    if is_ending() or not self._lines.interactive:
                        raise
                    write("")
                    self._code = EXIT_INTERRUPTED
                except BrokenOutputError:
                    self._code = EXIT_OK  # as of a verb; the next command is not run
                except ShellError as error:
                    say(f"paxosctl: {error}")
                    self._code = EXIT_USAGE
                if self._code == EXIT_INTERRUPTED and (is_ending() or not self._lines.interactive):
                    raise KeyboardInterrupt
                if self._code and not self._lines.interactive:
                    self._failed = self._failed or self._code
                    self._name_line()
                    if not self._keep_going:
                        break
            if self._lines.interactive:
                write("")
            return self._failed
        finally:
            self._shared.close()

    @property
    def prompt(self) -> str:
        """The context, and the exit code of the last command unless it is 0."""
        name = self._shared.target.context or "paxosctl"
        return f"{name} [{self._code}]> " if self._code else f"{name}> "

    def propose(self, text: str) -> list[tuple[str, str]]:
        """What a line up to the cursor could become, each with the word for it. Never fails."""
        try:
            return self._proposals(text)
        except Exception:  # noqa: BLE001 -- a person who types is not to be disturbed
            return []

    # -- inside -------------------------------------------------------------------------------

    def _name_line(self) -> None:
        """Say which line of a script has failed, behind what the command has said itself."""
        number, line = self._begun
        if self._settings.output == "json":
            data = {"line": number, "command": line, "exit_code": self._code}
            say_json(to_json(data | {"ended": not self._keep_going}))
            return
        rest = "" if self._keep_going else "; what follows it was not run (see --keep-going)"
        say(f"paxosctl: line {number} ended with exit code {self._code}: {_shortened(line)}{rest}")

    def _read(self, prompt: str) -> tuple[list[str], str] | None:
        """The words of a command, and its text: as many lines as its quotes need. None: there is
        no more. Raises ShellError."""
        text = self._lines.next(prompt)
        if text is None:
            return None
        self._begun = self._lines.number, text
        lines = [text]
        splitter = Splitter(comments=True)
        splitter.feed(text)
        while not splitter.complete:
            more = self._lines.next("> ")
            if more is None:
                raise ShellError("a quote has no end")
            lines.append(more)
            splitter.feed(more)
        return splitter.end().words, "\n".join(lines)

    def _execute(self, words: list[str], text: str) -> int:
        one_line = text if "\n" not in text else " ".join(map(quoted, words))
        self._lines.remember(one_line)
        if self._echo:
            write(f"{self.prompt}{one_line}")
        if words[0] == "paxosctl":
            words = words[1:] or ["help"]
        if words[0].startswith(":"):
            return self._own(words)
        if words[0] in ("help", "?"):
            return self._help(words[1:])
        if words[0] == "shell":
            raise ShellError("this is a shell already")
        content = self._transaction() if _takes_lines(words) else None
        with stdin_of_a_verb(content, interactive=self._lines.interactive):
            return self._run(words)

    def _run(self, words: list[str]) -> int:
        try:
            return run(words, ShellSettings.of(self._settings, self._shared))
        except BrokenOutputError:
            raise
        except Exception:  # noqa: BLE001 -- an error in one verb does not end the session
            say(traceback.format_exc())
            return EXIT_UNEXPECTED
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()

    def _transaction(self) -> bytes:
        """The lines up to an empty one, or ``end``, outside of nested transactions."""
        lines: list[str] = []
        depth = 0
        while True:
            line = self._lines.next(f"txn{'  ' * depth}> ")
            if line is None:
                raise ShellError("the transaction has no end: an empty line, or end")
            first = line.strip()
            if not depth and first in ("", "end"):
                return os.fsencode("\n".join(lines))
            depth += (first == "begin") - (first == "end")
            lines.append(line)
            self._lines.remember(line)
            if self._echo:
                write(f"txn> {line}")

    def _help(self, words: list[str]) -> int:
        if words:
            return self._run([*words, "--help"])
        from paxosctl.cli.tables import layout, terminal_width  # noqa: PLC0415 -- only here

        rows = [[f"  {name}", verb.summary] for name, verb in VERBS.items() if name != "shell"]
        write("\n".join(["Verbs:", *layout(["", ""], rows, width=terminal_width()), HELP]))
        return EXIT_OK

    def _own(self, words: list[str]) -> int:
        """``:context``: show it, or go elsewhere."""
        if words[0] != ":context" or len(words) > 2:
            raise ShellError(f"{words[0]}: there is only :context [NAME]; see help")
        if len(words) == 2:
            settings = ShellSettings.of(self._settings, self._shared)
            settings.flags, settings.environment = NOTHING, NOTHING
            settings.ask_for("context", words[1])
            try:
                settings.target  # noqa: B018 -- whether there is one
            except click.UsageError as error:
                raise ShellError(error.format_message()) from None
            self._shared.close()
            self._settings = Settings(
                flags=settings.flags, output=settings.output, timeout=settings.timeout,
                client_name=settings.client_name, quiet=settings.quiet,
            )  # fmt: skip
            self._shared = SharedClient(self._settings)
        target = self._shared.target
        write(f"endpoints from {target.words or 'the command line'}: {target.endpoints}")
        return EXIT_OK

    def _proposals(self, text: str) -> list[tuple[str, str]]:
        line = split_line(text)
        words = list(line.words)
        last = words.pop() if line.touches_end else ""
        front, equals, _ = last.partition("=")
        front = front + equals if equals and last.startswith("-") else ""
        found: list[CompletionItem[Any]] = []
        if not words:
            own = [*VERBS, "help", "exit", ":context"]
            found = [CompletionItem(each) for each in own if each != "shell"]
        else:
            if words[0] in ("help", "?"):
                words = words[1:]
            settings = ShellSettings.of(self._settings, self._shared)
            completion = ShellComplete(cli, {"obj": settings}, "paxosctl", "")
            if words and words[0] == ":context":
                words = ["context", "show"]
            found = completion.get_completions(words, last)
        wanted = [each for each in found if f"{front}{each.value}".startswith(last)]
        return [
            (f"{text[: line.begin]}{_typed(front + each.value, each, line.open_quote)}", each.value)
            for each in wanted
            if each.type == "plain"
        ]


def _shortened(line: str) -> str:
    """As much of a line as says which one it is."""
    return line if len(line) <= SHOWN_MAX else f"{line[:SHOWN_MAX]}…"


def _typed(value: str, item: CompletionItem[Any], open_quote: str) -> str:
    """As it stands in the line, with what follows."""
    plain = open_quote in ("'", '"') and open_quote not in value and "\\" not in value
    word = f"{open_quote}{value}{open_quote}" if plain else backslashed(value)
    return word if item.nospace else f"{word} "


def _takes_lines(words: list[str]) -> bool:
    """Whether it is a ``txn`` without a file."""
    if words[0] != "txn" or {"-h", "--help"} & set(words):
        return False
    # With the settings of paxosctl: a command keeps for ever what its help option is called.
    above = click.Context(cli, info_name="paxosctl", obj=Settings(), **cli.context_settings)
    command = cli.get_command(above, "txn")
    assert command is not None
    given = command.make_context("txn", words[1:], parent=above, resilient_parsing=True)
    return given.params.get("file") == "-"
