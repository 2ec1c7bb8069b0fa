"""A question to traces, put to the simulator, and its answer in words."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from paxosctl.cli.render import View
from paxosctl.tracing.trace_files import read_file
from paxosd.sim.what_if.question import parse_question
from paxosd.sim.what_if.run import WhatIf, WhatIfReport
from paxosd.trace.blocks import TraceError
from paxosd.trace.reader import TraceFile, read_trace


def ask_what_if(paths: list[Path], text: str, seed: int, duration_ms: int) -> WhatIfReport:
    """Carry it out. Raises QuestionError, TraceError, Difference, StreamError, RefusedError."""
    question = parse_question(text)
    traces: list[TraceFile] = []
    for path in paths:
        try:
            traces.append(read_trace(read_file(path)))
        except TraceError as error:
            raise TraceError(f"{path}: {error}") from error
    return WhatIf(traces, question, text, seed).run(duration_ms)


def what_if_view(report: WhatIfReport, sources: str) -> View:
    """The answer in each format. ``sources``: as they were given, for the command to repeat it."""
    data: dict[str, Any] = asdict(report)
    again = f'paxosctl trace replay {sources} --what-if "{report.question}" --seed {report.seed}'
    led = ", ".join(f"{name} ({ballot})" for ballot, name in report.leaders)
    rows = [
        ("the run is left", f"at {report.point}; {report.leader_before or 'nobody'} leads"),
        ("what if", report.question),
        ("leaders since", led or "no other"),
        ("who leads in the end", report.leader or "nobody"),
        ("slots chosen since", f"{report.chosen:,}"),
        ("writes acknowledged", f"{report.acknowledged:,}"),
        ("longest gap", f"{report.longest_gap_ms:,.0f} ms"),
        ("simulated time", f"{report.simulated_ms / 1000:,.1f} s"),
        ("checkers", report.violation or "hold"),
    ]
    rows += [
        (name, ", ".join(f"{key} {value}" for key, value in state.items()))
        for name, state in report.nodes.items()
    ]
    return View(
        data={"runs": [], "what_if": {**data, "again": again}},
        plain="".join(f"{name}\t{value}\n" for name, value in rows).encode(),
        columns=("", ""),
        rows=rows,
        text=f"\nThe same again: {again}",
    )
