"""docs/DOCTOR.md, made of the catalogue of checks: ``python -m tests.doctor_page``."""

from pathlib import Path

from paxosctl.doctor.catalogue import SECTIONS

PAGE = Path(__file__).parents[1] / "docs" / "DOCTOR.md"
HEAD = """\
# What is wrong: `paxosctl doctor`

`paxosctl doctor` looks at a machine and at a cluster, and names what is wrong, each with its
remedy:

```sh
paxosctl doctor --config n1.toml           # on the machine of a node: before its first start, while
                                           # it runs, or when it does not start any more
paxosctl doctor --endpoints tcp://127.0.0.1:7410   # the cluster, from anywhere
```

It changes nothing, but for at most a second of small writes to a file without a name in the data
directory of a node that does not run. Ask as root, or as the user of the node (`sudo -u paxosd …`):
others may not look into its directory, or at its keys. Where the file names no key, it is read with
what the service hands the node (the credentials and `PAXOSD_` variables of its process, or the
credentials that its unit loads); before them come the `PAXOSD_` variables of the shell that asks.

In a cluster with keys the nodes are asked with your key (`--key-file` and so on), if you name one,
else with that of the node: a node's key may look at all that is asked here, but cannot have other
nodes try their connections (`reach`). Where the file cannot be used and no endpoints are given, no
node is asked.

Exit code 1 if an error was found; 0 for warnings alone, or 1 with `--strict`. With `-o json` it
prints what was found by the ids below (docs/JSON.md), and which checks could not be made; `-o
plain` has a line for each finding, with tabs between severity, id, node, words and remedy. What it
looks at takes about a second, and some seconds where nodes are down.

This page is made of `paxosctl/doctor/catalogue.py` by `python -m tests.doctor_page`; a test
compares the two. Words in capitals stand for a name that the report fills in.
"""


def page():
    parts = [HEAD]
    for title, checks in SECTIONS.items():
        parts.append(f"## {title}\n")
        for check in checks:
            rows = [
                f"| `{flaw.id}` | {flaw.severity.value} | {flaw.what} | {flaw.remedy} |"
                for flaw in check.flaws
            ]
            table = "\n".join(["| finding | | means | remedy |", "|---|---|---|---|", *rows])
            parts.append(f"### {check.id}\n\n{_filled(check.about)}\n\n{table}\n")
    return "\n".join(parts)


def _filled(words, width=120):
    lines, line = [], ""
    for word in words.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
