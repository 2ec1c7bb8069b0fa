"""Explanations and figures as answers, for people and for programs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from paxosctl.cli.render import View
from paxosctl.cli.tables import indented, terminal_width
from paxosctl.inspection.events import event_id, ms
from paxosctl.inspection.explanation import Explanation, Sentence
from paxosctl.inspection.incidents import Incident
from paxosctl.inspection.request_times import STAGES, Times
from paxosctl.inspection.slowness import node_data, node_rows, stage_shares, verdicts
from paxosd.host.printable import escape_controls

IDS_SHOWN = 4


def _line(sentence: Sentence) -> str:
    shown = ", ".join(sentence.evidence[:IDS_SHOWN])
    more = len(sentence.evidence) - IDS_SHOWN
    if more > 0:
        shown += f" and {more} more"
    return f"{sentence.text}{f' [{shown}]' if shown else ''}"


def _wrapped(lines: Sequence[str]) -> str:
    """Each in lines of the terminal's width, the further ones two columns in."""
    width = terminal_width()
    safe = [escape_controls(line, "") for line in lines]
    return "\n".join(safe if width is None else (
        part for line in safe for part in (indented(line, width) if line else ("",))
    ))  # fmt: skip


def sentence_data(sentence: Sentence) -> dict[str, Any]:
    """One sentence for programs."""
    return {"text": sentence.text, "evidence": list(sentence.evidence), "known": sentence.known}


def explanation_view(explanations: Sequence[Explanation]) -> View:
    """Explanations one after the other."""
    notes: list[str] = []
    for each in explanations:
        if notes:
            notes.append("")
        notes.append(f"{each.subject}:")
        notes += [f"- {_line(sentence)}" for sentence in each.sentences]
    data = [
        {
            "subject": each.subject,
            "sentences": [sentence_data(one) for one in each.sentences],
            "causes": [one.data() for one in each.causes],
        }
        for each in explanations
    ]
    plain = "".join(
        f"{each.subject}\t{one.text}\t{','.join(one.evidence)}\n"
        for each in explanations
        for one in each.sentences
    )
    return View(data={"explanations": data}, plain=plain.encode(), text=_wrapped(notes))


@dataclass(slots=True)
class SlowGroup:
    """Slow requests with the same cause. ``longest_us``: of them."""

    cause: str
    longest_us: int = 0
    sentences: list[Sentence] = field(default_factory=list)


def slowest_view(groups: Sequence[SlowGroup], requests: int) -> View:
    """The slowest requests, by cause."""
    notes = [f"The slowest of {requests} answered requests, by cause:"]
    for group in groups:
        notes += ["", f"{group.cause}: {len(group.sentences)}, the longest {ms(group.longest_us)}"]
        notes += [f"- {_line(sentence)}" for sentence in group.sentences]
    causes = [
        {
            "cause": group.cause,
            "longest_us": group.longest_us,
            "sentences": [sentence_data(one) for one in group.sentences],
        }
        for group in groups
    ]
    plain = "".join(
        f"{group.cause}\t{one.text}\t{','.join(one.evidence)}\n"
        for group in groups
        for one in group.sentences
    )
    data = {"requests": requests, "causes": causes}
    return View(data=data, plain=plain.encode(), text=_wrapped(notes))


def _incident_lines(incidents: Sequence[Incident]) -> list[str]:
    """Those that are not among the faults."""
    return [
        _line(Sentence(each.sentence(), tuple(event_id(event) for event in each.evidence)))
        for each in incidents if not each.is_noted
    ]  # fmt: skip


def why_slow_view(times: Times, faults: Sequence[str], incidents: Sequence[Incident]) -> View:
    """Where time goes, by node and stage, with verdicts, and what went wrong meanwhile."""
    said = verdicts(times)
    shares = stage_shares(times)
    rows = node_rows(times)
    columns = ("node", "requests", *STAGES, "fsync", "vote")
    notes = ["", "p50 and p99 in ms; fsync: a group commit; vote: from an accept to its vote"]
    text = _wrapped(
        ["", *(f"- {words}" for words in (*said, *faults, *_incident_lines(incidents)))]
    )
    data = {
        "requests": times.requests,
        "verdicts": said,
        "faults": list(faults),
        "incidents": [each.data() for each in incidents],
        "stages_us": shares,
        "nodes": [node_data(each) for each in times.nodes.values()],
    }
    plain = "".join("\t".join(row) + "\n" for row in rows)
    return View(data=data, plain=plain.encode(), columns=columns, rows=rows, notes=notes,
                text=text,
        optional=("reply", "vote"))  # fmt: skip
