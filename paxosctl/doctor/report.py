"""What was found, for people and for programs."""

from collections.abc import Iterator

from paxosctl.cli.render import View
from paxosctl.cli.tables import indented, terminal_width
from paxosctl.doctor.examination import Examination
from paxosctl.doctor.finding import Finding, Severity
from paxosd.host.printable import escape_controls
from paxosd.host.wording import counted

PLAIN_WIDTH = 100
"""Where the lines go to no terminal."""


def report(found: Examination, *, strict: bool) -> View:
    """Every finding with its remedy, then how many checks were made, and why others were not."""
    errors, warnings = found.count(Severity.ERROR), found.count(Severity.WARNING)
    return View(
        data={
            "ok": found.is_well(strict=strict),
            "errors": errors,
            "warnings": warnings,
            "findings": [_public(each) for each in found.findings],
            "made": list(found.made),
            "skipped": [{"check": name, "message": why} for name, why in found.skipped],
        },
        plain="".join(f"{line}\n" for line in map(_plain, found.findings)).encode(),
        text="\n".join(_lines(found)),
    )


def summary(found: Examination) -> str:
    """How many findings there are, in a line."""
    counts = [
        counted(found.count(severity), severity.value)
        for severity in Severity
        if found.count(severity)
    ]
    return ", ".join(counts) or "nothing found"


def _public(finding: Finding) -> dict[str, str | None]:
    return {
        "flaw": finding.flaw,
        "severity": finding.severity.value,
        "node": finding.node or None,
        "message": finding.words,
        "remedy": finding.remedy,
    }


def _plain(finding: Finding) -> str:
    fields = (finding.severity.value, finding.flaw, finding.node, finding.words, finding.remedy)
    return "\t".join(escape_controls(each, "").replace("\t", " ") for each in fields)


def _lines(found: Examination) -> Iterator[str]:
    width = terminal_width() or PLAIN_WIDTH
    for each in found.findings:
        where = "" if not each.node or each.words.startswith(f"{each.node} ") else f"{each.node}: "
        head = f"{each.severity.value.upper():<7}  {each.flaw}"
        yield head
        for line in (f"  {where}{each.words}", f"  → {each.remedy}"):
            yield from indented(escape_controls(line), width)
        yield ""
    yield from indented(f"{counted(len(found.made), 'check')}: {summary(found)}", width)
    if found.skipped:
        reasons: dict[str, list[str]] = {}
        for name, why in found.skipped:
            reasons.setdefault(why, []).append(name)
        for why, names in reasons.items():
            yield from indented(f"not looked at without {why}: {', '.join(names)}", width)
