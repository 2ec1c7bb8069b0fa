"""Manual pages, made from what the command line says of itself: no page can say anything else.

    paxosctl(1)                       all verbs, each with its sentence; exit codes
    paxosctl-VERB(1)                  a verb, or a family of verbs with all that are in it
    paxosd(8)                         the daemon
    paxosd.toml(5)                    every setting: name, type, limits, default

The pages are roff with the macros of man(7), for man, mandoc and groff.
"""

import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import click

from paxosctl.cli.app import SUMMARY_MAX

_ESCAPES = {"\\": "\\e", "-": "\\-", "^": "\\(ha", "~": "\\(ti", "`": "\\(ga"}
_KINDS: dict[Any, str] = {int: "Whole number", bool: "True or false", float: "Number", Path: "Path"}
_SECTION = re.compile(r"\[([\w.]+)\]")
_SETTING = re.compile(r"#? ?([a-z0-9_]+) = ")
_SPAN = re.compile(r"`([^`\n]+)`")


class Page(NamedTuple):
    """``name`` and ``section`` make the name of its file; ``text``: roff."""

    name: str
    section: int
    text: str

    @property
    def file(self) -> str:
        """Such as ``paxosctl.1``."""
        return f"{self.name}.{self.section}"


def all_pages(paxosctl: click.Command, paxosd: click.Command, version: str) -> list[Page]:
    """Every page. ``paxosctl``, ``paxosd``: the command lines; ``version``: of both."""
    context = _context(paxosctl, "paxosctl")
    pages = [
        command_page(context, 1, version),
        command_page(_context(paxosd, "paxosd"), 8, version),
    ]
    assert isinstance(paxosctl, click.Group)
    for name in paxosctl.list_commands(context):
        command = paxosctl.get_command(context, name)
        assert command is not None
        pages.append(command_page(_context(command, name, context), 1, version))
    return [*pages, config_page(version)]


def command_page(context: click.Context, section: int, version: str) -> Page:
    """The page of a command. A family has its verbs in it; all of paxosctl names them alone."""
    command = context.command
    name = context.command_path.replace(" ", "-")
    is_all = context.parent is None
    lines = _head(name, section, version, _plain(command.get_short_help_str(SUMMARY_MAX)))
    lines += [".SH SYNOPSIS", *_synopsis(context)]
    lines += [".SH DESCRIPTION", *_prose(command.help or "")]
    if options := _options(context):
        lines += [".SH OPTIONS", *options]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for verb in command.list_commands(context):
            found = command.get_command(context, verb)
            assert found is not None
            if is_all and section == 1:
                summary = _roff(_plain(found.get_short_help_str(SUMMARY_MAX)))
                lines += [".TP", f"\\fB{_roff(f'paxosctl-{verb}')}\\fR(1)", summary]
            else:
                lines += _verb(_context(found, verb, context))
    return Page(name, section, "\n".join([*lines, *_see_also(name)]) + "\n")


def config_page(version: str) -> Page:
    """Every setting of a node, by the schema."""
    from paxosd.config.schema import SECTIONS  # noqa: PLC0415 -- for this page alone
    from paxosd.config.settings import section_fields  # noqa: PLC0415 -- the same

    known = {name: section_fields(section) for name, section in SECTIONS.items()}
    file = resources.files("paxosd.config") / "paxosd.toml"
    explained = explanations(file.read_text(encoding="utf-8"), known)
    lines = _head("paxosd.toml", 5, version, "configuration of one paxosd daemon")
    lines += [
        ".SH DESCRIPTION",
        *_prose(
            "A file in TOML, named by `paxosd --config FILE`. Every setting can come from the "
            "environment, too (PAXOSD_SECTION_KEY), or from the command line (--set "
            "SECTION.KEY=VALUE), which counts most. An unknown key is an error. Times are "
            "milliseconds (_ms), sizes are bytes (_bytes). `paxosd --config FILE --check-config` "
            "prints what is in effect, and where each value is from.\n\nThe members of the cluster "
            "are tables [cluster.members.NAME] with peer, client and events, each tcp://HOST:PORT, "
            "and voter."
        ),
    ]
    for name, section in SECTIONS.items():
        lines += [f'.SH "[{_roff(name)}]"', *_prose(inspect.getdoc(section) or "")]
        said = explained.get(name, {})
        for key, (each, kind) in section_fields(section).items():
            words = said.get(key, "")
            about = f"{words}{'' if words.endswith('.') or not words else '.'} "
            lines += [".TP", f"\\fB{_roff(key)}\\fR"]
            lines.append(_roff(about.lstrip() + _setting_words(each, kind)))
    return Page("paxosd.toml", 5, "\n".join([*lines, *_see_also("paxosd.toml")]) + "\n")


def explanations(text: str, known: Mapping[str, Collection[str]]) -> dict[str, dict[str, str]]:
    """Section → key → the comment in front of it in a configuration file with all settings, which
    may be commented out. ``known``: the keys of each section."""
    found: dict[str, dict[str, str]] = {}
    section, comment = "", list[str]()
    for line in text.splitlines():
        head, setting = _SECTION.match(line), _SETTING.match(line)
        if head:
            section, comment = head[1], []
        elif setting and setting[1] in known.get(section, ()):
            found.setdefault(section, {})[setting[1]] = _plain(" ".join(comment))
            comment = []
        elif line.startswith("#"):
            comment = [*comment, line[1:]] if line[1:].strip() else []
        else:
            comment = []
    return found


def _setting_words(each: Any, kind: type) -> str:
    rules = each.metadata
    words = [_KINDS.get(kind, "Text")]
    low, high = rules.get("minimum"), rules.get("maximum")
    if low is not None or high is not None:
        words.append(f"from {low} to {high}" if high is not None else f"at least {low}")
    if rules.get("choices"):
        words.append("one of " + ", ".join(map(str, rules["choices"])))
    if rules.get("allowed"):
        words.append(rules["allowed"])
    default = each.default
    if default is MISSING:
        words.append("required" if each.default_factory is MISSING else "see above")
    else:
        shown = str(default).lower() if isinstance(default, bool) else default
        words.append(f"default {shown if shown != '' else 'empty'}")
    return "; ".join(words) + "."


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> Any:
    # With its settings: a command keeps for ever what it found its help option to be called.
    return click.Context(command, parent=parent, info_name=name, **command.context_settings)


def _head(name: str, section: int, version: str, summary: str) -> list[str]:
    """``summary``: in the line that whatis and apropos search, without a full stop."""
    title = f'.TH "{_roff(name.upper())}" {section} "" "paxosd {_roff(version)}" "paxosd"'
    return [title, ".SH NAME", f"{_roff(name)} \\- {_roff(summary.rstrip('.'))}"]


def _synopsis(context: click.Context) -> list[str]:
    pieces = context.command.collect_usage_pieces(context)
    words = " ".join(map(_roff, pieces))
    return [f"\\fB{_roff(context.command_path)}\\fR {words}"]


def _verb(context: click.Context) -> Iterator[str]:
    """Of a family, on the page of the family."""
    yield f".SS {_quoted_heading(context.command_path)}"
    yield from _synopsis(context)
    yield ".PP"
    yield from _prose(context.command.help or "")
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _verb(_context(found, name, context))
        return
    shared = {each.name for each in context.find_root().command.params}
    yield from _options(context, without=shared)


def _options(context: click.Context, without: frozenset[str] | set[Any] = frozenset()) -> list[str]:
    lines = []
    for each in context.command.get_params(context):
        record = each.get_help_record(context)
        if record is not None and each.name not in without:
            names, words = record
            lines += [".TP", f"\\fB{_roff(names)}\\fR", _roff(_plain(words)) or "\\&"]
    return lines


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; one that begins with ``\\b``, as click has it, keeps its lines."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        lines = paragraph.split("\n")
        if number:
            yield ".PP"
        if lines[0].strip() == "\b":
            yield ".nf"
            yield from [_roff(line) or "\\&" for line in lines[1:]]
            yield ".fi"
        else:
            yield _roff(" ".join(" ".join(lines).split()))


def _see_also(name: str) -> list[str]:
    others = {"paxosctl": 1, "paxosd": 8, "paxosd.toml": 5}
    return [
        ".SH SEE ALSO",
        ",\n".join([f"\\fB{_roff(each)}\\fR({n})" for each, n in others.items() if each != name]),
    ]


def _quoted_heading(words: str) -> str:
    return f'"{_roff(words)}"'


def _plain(text: str) -> str:
    return " ".join(text.split())


def _roff(text: str) -> str:
    """Text that roff shows as it is, code spans in bold."""
    parts = []
    for number, piece in enumerate(_SPAN.split(text)):
        shown = "".join([_ESCAPES.get(char, char) for char in piece]).replace('"', "\\(dq")
        parts.append(f"\\fB{shown}\\fR" if number % 2 else shown)
    line = "".join(parts)
    return f"\\&{line}" if line[:1] in (".", "'") else line
