"""Draws what a load found as one HTML page: inline SVG, no scripts, nothing from the network."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from paxosctl.load.load import VERB_WATCH
from paxosctl.load.report import LoadReport

WIDTH, HEIGHT = 880, 260
LEFT, RIGHT, TOP, BOTTOM = 70, 36, 16, 40
TICKS = 5
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)
COLOURS = ("#2563eb", "#16a34a", "#dc2626", "#9333ea")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 920px; margin: 2em auto; padding: 0 1em;
       color: #1f2937; background: #fff }
h1 { font-size: 1.4em } h2 { font-size: 1.05em; margin: 1.6em 0 .2em }
svg { width: 100%; height: auto } text { font: 12px system-ui, sans-serif; fill: #4b5563 }
.grid { stroke: #e5e7eb } .axis { stroke: #9ca3af }
"""


class Series(NamedTuple):
    """A line: its points, ascending in x."""

    name: str
    points: Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """One drawing. ``x_ticks``: where the axis has which words; empty: whole numbers."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    logarithmic: bool = False
    x_ticks: Sequence[tuple[float, str]] = ()


def page(title: str, notes: Sequence[str], report: LoadReport) -> str:
    """The whole page as text. ``notes``: sentences below the title."""
    charts = [_throughput(report), _latencies(report), _percentiles(report)]
    body = "".join(f"<p>{escape(note)}</p>\n" for note in notes)
    body += "".join(draw(chart) for chart in charts if any(each.points for each in chart.series))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f"</title><style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}"
        "</body></html>\n"
    )


def _throughput(report: LoadReport) -> Chart:
    whole = int(report.elapsed_ns / 1e9)  # a second that was not over would look like a collapse
    points = [(w.at_s, float(w.operations)) for w in report.windows if w.at_s < max(1, whole)]
    failed = [(w.at_s, float(w.failed)) for w in report.windows if w.at_s < max(1, whole)]
    is_watch = report.load.verb == VERB_WATCH
    series = [Series("received" if is_watch else "acknowledged", points)]
    if report.failed:
        series.append(Series("failed", failed))
    if report.refused:
        refused = [(w.at_s, float(w.refused)) for w in report.windows if w.at_s < max(1, whole)]
        series.append(Series("refused", refused))
    noun = "events" if is_watch else "commands"
    return Chart("Throughput", "second", f"{noun} in this second", series)


def _latencies(report: LoadReport) -> Chart:
    found = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    series = [
        Series(name, [(w.at_s, w.latencies.quantile_ms(share)) for w in report.windows
                      if w.operations])
        for name, share in found.items()
    ]  # fmt: skip
    return Chart("Latency over time", "second", "milliseconds", series, logarithmic=True)


def _percentiles(report: LoadReport) -> Chart:
    shares = [share for share in SHARES if report.operations * (1 - share) >= 1]
    ticks = [(_nines(share), f"{100 * share:g} %") for share in shares if share != 0.25]
    series = [
        Series(verb, [(_nines(share), value)
                      for share, value in zip(shares, each.quantiles_ms(shares), strict=True)])
        for verb, each in sorted(report.latencies.items())
    ]  # fmt: skip
    return Chart(
        "Latency by percentile", "percentile", "milliseconds", series,
        logarithmic=True, x_ticks=ticks,
    )  # fmt: skip


def _nines(share: float) -> float:
    """The axis of HdrHistogram's own plots: each nine more is as wide as the one before."""
    return -math.log10(1 - share)


def draw(chart: Chart) -> str:
    """The chart as a heading and an SVG."""
    points = [point for each in chart.series for point in each.points]
    x_low, x_high = _range([x for x, _ in points])
    values = [y for _, y in points]
    place_y, y_ticks = _logarithmic(values) if chart.logarithmic else _linear(values)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - place_y(y) * (HEIGHT - TOP - BOTTOM),
        )

    parts = []
    for tick in y_ticks:
        _, y = at(x_low, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
                     f'y2="{y:.1f}"/><text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
                     f"{tick:g}</text>")  # fmt: skip
    for tick, words in chart.x_ticks or _whole_ticks(x_low, x_high):
        x, _ = at(tick, y_ticks[0])
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">'
                     f"{escape(words)}</text>")  # fmt: skip
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">'
                 f"{escape(chart.x_label)}</text>")  # fmt: skip
    for number, each in enumerate(chart.series):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in each.points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" '
                     f'points="{line}"/>')  # fmt: skip
        if len(each.points) == 1:
            parts.append('<circle r="3" fill="{}" cx="{:.1f}" cy="{:.1f}"/>'.format(
                colour, *at(*each.points[0])))  # fmt: skip
        parts.append(f'<text x="{LEFT + 90 * number + 10}" y="{TOP - 4}" style="fill:{colour}">'
                     f"{escape(each.name)}</text>")  # fmt: skip
    return (
        f"<h2>{escape(chart.title)} ({escape(chart.y_label)})</h2>\n"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>\n'
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low, low + 1)


def _linear(values: Sequence[float]) -> tuple[Callable[[float], float], list[float]]:
    """From 0 to a round number above all values."""
    highest = max([*values, 1.0])
    unit = 10 ** math.floor(math.log10(highest / TICKS))
    step = next(unit * factor for factor in (1, 2, 5, 10, 20) if unit * factor * TICKS >= highest)
    top = step * math.ceil(highest / step)
    return lambda y: y / top, [step * number for number in range(math.ceil(top / step) + 1)]


def _logarithmic(values: Sequence[float]) -> tuple[Callable[[float], float], list[float]]:
    """Between powers of ten."""
    smallest = min([value for value in values if value > 0], default=1.0)
    low = math.floor(math.log10(smallest))
    high = max(low + 1, math.ceil(math.log10(max([*values, smallest]))))
    ticks = [10.0**power for power in range(low, high + 1)]
    return lambda y: (math.log10(max(y, ticks[0])) - low) / (high - low), ticks


def _whole_ticks(low: float, high: float) -> list[tuple[float, str]]:
    step = max(1, math.ceil((high - low) / 10))
    return [(x, f"{x:g}") for x in range(math.floor(low), math.floor(high) + 1, step)]
