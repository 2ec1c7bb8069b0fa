"""How the verbs of bench show what they measured."""

from collections.abc import Sequence
from typing import Any

from paxosctl.cli.render import View
from paxosctl.load.fanout import FanOut
from paxosctl.load.latencies import Latencies
from paxosctl.load.load import VERB_MIXED, Load
from paxosctl.load.nodes import NodeCost, cost_rows
from paxosctl.load.report import LoadReport

SHARES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}
WINDOW_SHARES = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
NESTED = frozenset({"errors", "refusals", "windows", "nodes", "generator", "by_verb", "histogram"})
"""What the format plain leaves out."""


def view_of(report: LoadReport, nodes: Sequence[NodeCost]) -> View:
    """The answer of ``bench put``, ``get`` and ``mixed``."""
    load = report.load
    noun = "operations" if load.verb == VERB_MIXED else f"{load.verb}s"
    data = {
        noun: report.operations,
        f"{noun}_per_s": round(report.per_s, 1),
        "elapsed_s": round(report.elapsed_ns / 1e9, 3),
        **figures(report.total),
        **asked(load),
        **({"stale": load.stale} if load.reads else {}),
        "unsent": report.unsent,
        "errors": dict(report.failed),
        "refusals": dict(report.refused),
        "windows": windows(report),
        "nodes": [each._asdict() for each in nodes],
        "generator": generator(report),
        "histogram": report.total.pack().histogram.decode(),
    }  # fmt: skip
    if load.verb == VERB_MIXED:
        data["read_ratio"] = load.read_ratio
        data["by_verb"] = {
            verb: {"operations": each.count, **figures(each)}
            for verb, each in sorted(report.latencies.items())
        }
    lines = [f"{name}\t{value}\n" for name, value in data.items() if name not in NESTED]
    return View(data=data, plain="".join(lines).encode(), notes=_notes(report, noun, nodes))


def fan_out_view(found: FanOut, nodes: Sequence[NodeCost]) -> View:
    """The answer of ``bench watch``."""
    report, load = found.report, found.report.load
    data = {
        "events": report.operations,
        "events_per_s": round(report.per_s, 1),
        "elapsed_s": round(report.elapsed_ns / 1e9, 3),
        **figures(report.total),
        "watchers": load.connections,
        "puts": found.puts,
        "rate": load.rate,
        "size": load.size,
        "warmup_s": load.warmup_ms / 1000,
        "missed": found.missed,
        "errors": dict(report.failed),
        "windows": windows(report),
        "nodes": [each._asdict() for each in nodes],
        "generator": generator(report),
        "histogram": report.total.pack().histogram.decode(),
    }
    lines = [f"{name}\t{value}\n" for name, value in data.items() if name not in NESTED]
    notes = [
        f"{found.puts} puts, {report.operations} events at {load.connections} watchers in "
        f"{data['elapsed_s']} s, {found.missed} missed",
        f"{report.per_s:,.0f} events/s   from put to event: p50 {data['p50_ms']} ms   "
        f"p90 {data['p90_ms']} ms   p99 {data['p99_ms']} ms   p99.9 {data['p999_ms']} ms   "
        f"max {data['max_ms']} ms",
        *cost_rows(nodes),
        *generator_words(report),
    ]
    return View(data=data, plain="".join(lines).encode(), notes=notes)


def windows(report: LoadReport) -> list[dict[str, Any]]:
    """A row for each second."""
    return [
        {"at_s": each.at_s, "operations": each.operations, "failed": each.failed,
         "refused": each.refused, **quantiles(each.latencies, WINDOW_SHARES)}
        for each in report.windows
    ]  # fmt: skip


def figures(latencies: Latencies) -> dict[str, float]:
    """Quantiles, mean and standard deviation in milliseconds."""
    return {
        **quantiles(latencies, SHARES),
        "mean_ms": round(latencies.mean_ms, 3),
        "deviation_ms": round(latencies.deviation_ms, 3),
    }


def quantiles(latencies: Latencies, shares: dict[str, float]) -> dict[str, float]:
    """By name, in milliseconds."""
    found = latencies.quantiles_ms(shares.values())
    return dict(zip(shares, [round(each, 3) for each in found], strict=True))


def asked(load: Load) -> dict[str, Any]:
    """The load, as the options name its parts."""
    return {
        "clients": load.sessions,
        "connections": load.connections,
        "outstanding": load.outstanding,
        "per_frame": load.per_frame or None,
        "rate": load.rate or None,
        "size": load.size,
        "keys": load.keys,
        "distribution": load.distribution,
        "warmup_s": load.warmup_ms / 1000,
        "seed": load.seed,
    }


def generator(report: LoadReport) -> dict[str, Any]:
    """How busy the generators were themselves."""
    return {
        "processes": report.processes,
        "cpu_percent": [round(100 * share, 1) for share in report.cpu_shares],
        "delayed_percent": [round(100 * share, 1) for share in report.delay_shares],
        "bound": report.generator_bound,
    }


def generator_words(report: LoadReport) -> list[str]:
    """A warning, if the generator was the bottleneck."""
    if not report.generator_bound:
        return []
    cpu, delay = report.busiest
    words = (
        f"The generator was the bottleneck: its busiest thread ran for {cpu:.0%} of the time, and "
        f"waited for a free core for {delay:.0%}. The cluster may be faster: use "
    )
    advice = "another machine for the load" if delay > cpu else "more --processes"
    return [f"{words}{advice}."]


def refusal_words(report: LoadReport) -> list[str]:
    """What was refused meanwhile, and sent again."""
    if not report.refused:
        return []
    codes = ", ".join(f"{count} as {code}" for code, count in report.refused.items())
    return [
        f"The cluster refused {codes}: more than its queues hold. They were sent again after a "
        "pause; their latency counts from the first time."
    ]


def _notes(report: LoadReport, noun: str, nodes: Sequence[NodeCost]) -> list[str]:
    load, total = report.load, report.total
    how = f"{load.outstanding} outstanding on {load.connections} connections"
    if load.per_frame:
        how = f"{load.sessions} clients on {load.connections} connections, {load.per_frame} a frame"
    if load.rate:
        how += f", {load.rate:,.0f} a second asked for"
    elapsed_s = round(report.elapsed_ns / 1e9, 3)
    shown = quantiles(total, SHARES)
    notes = [
        f"{report.operations} {noun} of {load.size} bytes in {elapsed_s} s, {how}",
        f"{report.per_s:,.0f} {noun}/s   p50 {shown['p50_ms']} ms   p90 {shown['p90_ms']} ms   "
        f"p99 {shown['p99_ms']} ms   p99.9 {shown['p999_ms']} ms   max {shown['max_ms']} ms",
    ]
    if load.verb == VERB_MIXED:
        for verb, each in sorted(report.latencies.items()):
            part = quantiles(each, WINDOW_SHARES)
            notes.append(f"{verb}s: {each.count}   p50 {part['p50_ms']} ms   "
                         f"p99 {part['p99_ms']} ms   max {part['max_ms']} ms")  # fmt: skip
    if report.unsent:
        notes.append(
            f"{report.unsent} commands were due and not sent, for no client was free: the rate was "
            "not reached, and the latencies above leave them out."
        )
    return notes + refusal_words(report) + cost_rows(nodes) + generator_words(report)
