"""The commands of a page, to be run as they stand there.

    <!-- run: db1 db2 -->               the block that follows, on each of these hosts
    <!-- run: db1; exit code 1 -->      … which ends with that exit code
    <!-- not run: why -->               the block is for people alone

Every shell block of such a page has one of these lines before it: what nobody runs is not true for
long. A block is one script of ``bash -e``; its variables are gone at its end, but for those that
``export`` sets: they are there in the later blocks of that host, as in a terminal.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"(?:^<!-- (?P<how>(?:not )?run: [^\n]*?) -->\n)?^```sh\n(?P<text>.*?)^```$",
                    re.M | re.S)  # fmt: skip
_HEADING = re.compile(r"^(#+) (.*)$", re.M)
ENVIRONMENT = "/run/page-environment"
"""Where a host keeps what its blocks have exported."""
HOME = "/run/home"
"""Of a host's own; the others are this machine's."""


class PageError(Exception):
    """A block of the page says nothing of how it is run, or did not end as the page says."""


class Block(NamedTuple):
    """``hosts``: none for a block that is not run."""

    text: str
    hosts: tuple[str, ...]
    exit_code: int


def section_of(page, heading):
    """The text below a heading, up to the next one of its rank or a higher one. Raises KeyError."""
    text = Path(ROOT / page).read_text(encoding="utf-8")
    found = list(_HEADING.finditer(_without_code(text)))
    for number, each in enumerate(found):
        if each[2] == heading:
            rank = len(each[1])
            ends = [other.start() for other in found[number + 1 :] if len(other[1]) <= rank]
            return text[each.end() : ends[0] if ends else len(text)]
    raise KeyError(f"{page} has no heading {heading!r}")


def _without_code(text):
    """The same length, with nothing in fenced blocks that looks like a heading."""
    return re.sub(r"^```.*?^```$", lambda m: re.sub("#", "-", m[0]), text, flags=re.M | re.S)


def blocks_of(text):
    """The shell blocks of a text, in order. Raises PageError."""
    found = []
    for each in _BLOCK.finditer(text):
        how = each["how"]
        if how is None:
            raise PageError(f"how is this block run?\n{each['text']}")
        what, _, rest = how.partition(": ")
        hosts, _, ending = rest.partition("; exit code ")
        names = tuple(hosts.split()) if what == "run" else ()
        found.append(Block(each["text"], names, int(ending or 0)))
    return found


def run_section(page, heading, hosts, *, timeout_s=120.0):
    """Run all blocks of a section; ``hosts``: name → host. What was written, block by block and
    host by host. Raises PageError, KeyError."""
    written = []
    for block in blocks_of(section_of(page, heading)):
        for name in block.hosts:
            written.append(run_block(block, hosts[name], timeout_s))
    return written


def run_block(block, host, timeout_s=120.0):
    """What it wrote. Raises PageError if it does not end as the page says."""
    script = f"""
        set -e
        export HOME={HOME}; mkdir -p $HOME
        test ! -e {ENVIRONMENT} || . {ENVIRONMENT}
        trap 'code=$?; export -p > {ENVIRONMENT}; exit $code' EXIT
        cd {ROOT}
        {{\n{block.text}\n}}
    """
    done = host.run("bash", "-c", script, check=False, timeout_s=timeout_s)
    said = done.stdout + done.stderr
    if done.returncode != block.exit_code:
        journal = host.run("journalctl", "--no-pager", "-n", "60", "-o", "cat", check=False)
        said = f"{said}{journal.stdout}"
        raise PageError(
            f"on {host.name}, exit code {done.returncode} and not {block.exit_code}:\n"
            f"{block.text}\n{said}"
        )
    return said
