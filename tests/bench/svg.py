"""Pictures of the benchmarks: SVG files that need nothing else, alike in colours and type."""

import itertools
import math
from html import escape

COLOURS = ("#1b6ca8", "#d1495b", "#e09f3e", "#66a182", "#8d6a9f", "#5c6b73")
LEFT, RIGHT, TOP, BOTTOM = 64, 130, 34, 46
BAR_LEFT, BAR_RIGHT = 240, 90
DASH = "M{:.1f} {:.1f}H{:.1f}"


def document(parts, width, height):
    """The file's text: these elements on white."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def log_ticks(values):
    """Powers of ten around these values, which are above 0."""
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values))))
    return [10.0**power for power in range(low, high + 1)]


def tick_words(value):
    """A number on an axis: 0.1, 10, 1 k, 10 M."""
    for factor, unit in ((1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def line_chart(title, x_label, series, box, *, x_words=None):
    """Lines on logarithmic axes, as elements. ``series``: name → ascending (x, y), all above 0.
    ``box``: (left, top, width, height). ``x_words``: x → its words on the axis; None: powers of
    ten."""
    left, top, width, height = box
    points = [point for line in series.values() for point in line]
    xs = sorted({x for x, _ in points})
    y_ticks = log_ticks([y for _, y in points])
    x_low, x_high = math.log10(xs[0]), math.log10(xs[-1]) if xs[-1] > xs[0] else 1.0
    inner_width, inner_height = width - LEFT - RIGHT, height - TOP - BOTTOM

    def at(x, y):
        across = (math.log10(x) - x_low) / ((x_high - x_low) or 1.0)
        up = (math.log10(y) - math.log10(y_ticks[0])) / math.log10(y_ticks[-1] / y_ticks[0])
        return left + LEFT + across * inner_width, top + TOP + (1 - up) * inner_height

    parts = [f'<text x="{left + 8}" y="{top + 18}" font-weight="bold">{escape(title)}</text>']
    for tick in y_ticks:
        x, y = at(xs[0], tick)
        parts.append(f'<path d="{DASH.format(x, y, x + inner_width)}" stroke="#ddd"/>'
                     f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">'
                     f"{tick_words(tick)}</text>")  # fmt: skip
    for x_value in xs:
        x, y = at(x_value, y_ticks[0])
        words = x_words[x_value] if x_words else tick_words(x_value)
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">'
                     f"{escape(words)}</text>")  # fmt: skip
    parts.append(f'<text x="{left + LEFT + inner_width / 2:.1f}" y="{top + height - 10}" '
                 f'text-anchor="middle" fill="#555">{escape(x_label)}</text>')  # fmt: skip
    below = math.inf
    for (name, line), colour in sorted(
        zip(series.items(), COLOURS, strict=False), key=lambda each: -at(*each[0][1][-1])[1]
    ):
        path = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in line)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" '
                     f'points="{path}"/>')  # fmt: skip
        x, y = at(*line[-1])
        below = y = min(y, below - 14)  # the names beside the ends do not overlap
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{colour}">'
                     f"{escape(name)}</text>")  # fmt: skip
    return parts


def stacked_bars(title, bars, box, *, unit):
    """One bar for each of ``bars``: (name, [(part, value), …]), each scaled to its own whole, so
    that the shares can be compared; the whole stands behind it. Narrow parts have no words."""
    left, top, width, height = box
    parts = [f'<text x="{left + 8}" y="{top + 18}" font-weight="bold">{escape(title)}</text>']
    row = (height - TOP) / max(1, len(bars))
    begin, room = left + BAR_LEFT, width - BAR_LEFT - BAR_RIGHT
    for number, (name, cells) in enumerate(bars):
        y = top + TOP + number * row
        middle = y + row / 2
        whole = sum(value for _, value in cells) or 1.0
        parts.append(_text(begin - 8, middle, name, 'text-anchor="end"'))
        x = begin
        for (part, value), colour in zip(cells, itertools.cycle(COLOURS)):
            wide = value / whole * room
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" '
                         f'height="{row * 0.72:.1f}" fill="{colour}" stroke="white"/>')  # fmt: skip
            if wide > 8 * len(part):
                parts.append(_text(x + wide / 2, middle, part, 'fill="white" text-anchor="middle"'))
            x += wide
        parts.append(_text(x + 8, middle, f"{whole:,.0f} {unit}"))
    return parts


def _text(x, y, words, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'
