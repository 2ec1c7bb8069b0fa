r"""Completion in bash, zsh and fish, for both programs: click's machinery with scripts of our own.

    TAB ──► function of the shell ── the line up to the cursor, in the environment ──► program
    proposals  ◄────────────────── a line each: kind, tab, value, tab, help  ◄──────────┘

click's own scripts hand over words that the shell has split, and insert values as they are: a key
with a colon, a comma, a blank or a star comes out broken in one shell or another. Here the program
gets the line as it was typed, splits it by :mod:`paxosd.host.shell_words`, and answers, for bash,
in the quotes that are open there. A kind is plain, nospace (something follows), file or dir.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem, ShellComplete

from paxosd.host.shell_words import Line, backslashed, split_line

_BASH = r"""# bash completion of %(prog_name)s
%(complete_func)s() {
    local kind value
    COMPREPLY=()
    while IFS=$'\t' read -r kind value; do
        case $kind in
        file) compopt -o default ;;
        dir) compopt -o dirnames ;;
        nospace) compopt -o nospace; COMPREPLY+=("$value") ;;
        plain) COMPREPLY+=("$value") ;;
        esac
    done < <(%(complete_var)s=bash_complete %(complete_var)s_LINE="${COMP_LINE:0:COMP_POINT}" \
        %(complete_var)s_BREAKS="$COMP_WORDBREAKS" "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = r"""#compdef %(prog_name)s
%(complete_func)s() {
    local program=%(prog_name)s line kind value help
    local -a plain shown open openshown
    [[ $words[1] == */* ]] && program=${(Q)~words[1]}
    while IFS=$'\t' read -r kind value help; do
        case $kind in
        file) _files ;;
        dir) _files -/ ;;
        nospace) open+=("$value"); openshown+=("$value${help:+  -- $help}") ;;
        plain) plain+=("$value"); shown+=("$value${help:+  -- $help}") ;;
        esac
    done < <(%(complete_var)s=zsh_complete \
        %(complete_var)s_LINE="${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX" $program 2>/dev/null)
    (( $#open )) && compadd -V proposals -S '' -l -d openshown -a open
    if [[ $shown == $plain ]]; then
        (( $#plain )) && compadd -V proposals -a plain
    else
        compadd -V proposals -l -d shown -a plain
    fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = r"""# fish completion of %(prog_name)s
function %(complete_func)s
    set -lx %(complete_var)s fish_complete
    set -lx %(complete_var)s_LINE (commandline -cp | string collect)
    for line in (%(prog_name)s 2>/dev/null)
        set -l parts (string split -m 1 \t -- $line)
        switch $parts[1]
            case file
                __fish_complete_path $parts[2]
            case dir
                __fish_complete_directories (commandline -ct)
            case plain nospace
                echo $parts[2]
        end
    end
end
complete -c %(prog_name)s -f -k -a '(%(complete_func)s)'
"""


class _Completion(ShellComplete):
    """Of the line in the environment."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._line = Line()

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words behind the name of the program, and the one at the cursor."""
        text = os.environ.get(f"{self.complete_var}_LINE", "")
        self._line = split_line(text, breaks=os.environ.get(f"{self.complete_var}_BREAKS", ""))
        words = list(self._line.words)
        last = words.pop() if self._line.touches_end and words else ""
        while words and "=" in words[0] and words[0].partition("=")[0].isidentifier():
            words.pop(0)  # a variable for this one command
        return words[1:], last

    def complete(self) -> str:
        """All proposals, a line each."""
        arguments, last = self.get_completion_args()
        name, equals, _ = last.partition("=")
        # Of an option with its value in one word click proposes the value alone.
        front = name + equals if equals and name.startswith("-") else ""
        lines = []
        for item in self.get_completions(arguments, last):
            value = self.shown_value(front + item.value)
            if value is not None and "\t" not in value and "\n" not in value:
                kind = "nospace" if item.nospace else item.type
                lines.append(self.line_of(kind, value, item))
        return "".join([f"{line}\n" for line in lines])

    def shown_value(self, value: str) -> str | None:
        """What the shell is given for it; None: it cannot be typed there."""
        return value

    def line_of(self, kind: str, value: str, item: CompletionItem[Any]) -> str:
        """Kind, value and help with tabs between them."""
        words = " ".join((item.help or "").split())
        return f"{kind}\t{value}\t{words}" if words else f"{kind}\t{value}"


class _Bash(_Completion):
    """It inserts what it is given as it is, behind the last character that it breaks words at."""

    name = "bash"
    source_template = _BASH

    def shown_value(self, value: str) -> str | None:
        """What is still to be inserted, in the quotes that are open."""
        rest, quote = value[self._line.kept :], self._line.open_quote
        if quote == '"':
            return "".join([f"\\{char}" if char in '"\\$`' else char for char in rest])
        if quote == "'":
            return None if "'" in rest else rest
        return None if quote else backslashed(rest)

    def line_of(self, kind: str, value: str, item: CompletionItem[Any]) -> str:
        """Bash shows no help."""
        return f"{kind}\t{value}"


class _Zsh(_Completion):
    name = "zsh"
    source_template = _ZSH


class _Fish(_Completion):
    name = "fish"
    source_template = _FISH


SHELLS: dict[str, type[_Completion]] = {each.name: each for each in (_Bash, _Zsh, _Fish)}


class Program(NamedTuple):
    """What completes: the command, its name in a shell, and click's object of it (or None)."""

    command: click.Command
    name: str
    made_object: Callable[[], Any]

    @property
    def variable(self) -> str:
        """Set by the scripts: what they want, as click calls it."""
        return f"_{self.name.upper()}_COMPLETE"

    def script(self, shell: str) -> str:
        """For one of SHELLS to read."""
        return SHELLS[shell](self.command, {}, self.name, self.variable).source()

    def proposals(self) -> str | None:
        """If a script asks in the environment: what to print for it, "" if that fails, whatever the
        reason: a person who types a command is not to be disturbed. None: no script asks."""
        shell, _, instruction = os.environ.get(self.variable, "").partition("_")
        if instruction != "complete" or shell not in SHELLS:
            return None
        completion = SHELLS[shell]
        try:
            given = {"obj": self.made_object()}
            return completion(self.command, given, self.name, self.variable).complete()
        except Exception:  # noqa: BLE001 -- see above
            return ""
