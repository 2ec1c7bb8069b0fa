"""The comparison as a picture: one SVG file that needs nothing else.

A group of bars for each row, each as long as its system's median is to the largest of the row; a
thin line goes from the least to the most of the runs.
"""

from html import escape

from tests.bench import svg
from tests.bench.compare_figures import extremes, median_of, metric_of
from tests.bench.compare_report import number_words

WIDTH, LEFT, RIGHT = 900, 150, 110
BAR, GAP, GROUP_GAP, HEAD = 14, 3, 34, 30


def bars_of(results, row):
    """(title, colour, median, least, most) of each system that has runs in this row."""
    metric = metric_of(row)
    found = []
    for (name, title), colour in zip(results.systems.items(), svg.COLOURS, strict=False):
        runs = results.of(row, name)
        if runs:
            found.append((title, colour, median_of(runs, metric), *extremes(runs, metric)))
    return found


def svg_of(results):
    """The picture as text."""
    parts, y = [], HEAD
    for row in results.rows:
        bars = bars_of(results, row)
        if not bars:
            continue
        metric = metric_of(row)
        better = "more is better" if metric == "per_s" else "less is better"
        parts.append(
            f'<text x="8" y="{y}" font-weight="bold">{escape(row.title)}'
            f'<tspan font-weight="normal" fill="#777"> · {better}</tspan></text>'
        )
        y += 8
        longest = max(most for *_, most in bars) or 1.0
        for bar in bars:
            parts.append(_bar(bar, metric, longest, y))
            y += BAR + GAP
        y += GROUP_GAP - 8
    return svg.document(parts, WIDTH, y)


def _bar(bar, metric, longest, y):
    title, colour, median, least, most = bar
    scale = (WIDTH - LEFT - RIGHT) / longest
    middle = y + BAR / 2
    return (
        f'<text x="{LEFT - 6}" y="{y + BAR - 3}" text-anchor="end">{escape(title)}</text>'
        f'<rect x="{LEFT}" y="{y}" width="{median * scale:.1f}" height="{BAR}" fill="{colour}"/>'
        f'<path d="M{LEFT + least * scale:.1f} {middle}H{LEFT + most * scale:.1f}" '
        f'stroke="black"/>'
        f'<text x="{LEFT + most * scale + 6:.1f}" y="{y + BAR - 3}">'
        f"{escape(number_words(median, metric))}</text>"
    )
