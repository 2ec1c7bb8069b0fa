"""docs/METRICS.md, made of the catalogue: ``python -m tests.metrics_page``."""

from pathlib import Path

from paxosd.metrics.catalogue import SECTIONS

PAGE = Path(__file__).parents[1] / "docs" / "METRICS.md"
HEAD = """\
# Metrics

What a node shows under `/metrics` once `[http] listen` is set (`conf/paxosd.toml`): Prometheus'
text format, or OpenMetrics where the request accepts it. This page is made of
`paxosd/metrics/catalogue.py` by `python -m tests.metrics_page`; a test compares the two.
`docs/ALERTS.md` has the alerts, `docs/OPERATING.md` how to set it up.

A scrape shows the node at one moment, at most about 0.2 s ago: the loop makes an observation when
one was asked for, at most ten a second, and another thread writes the text. If the loop is stuck,
the last observation is shown, and `/livez` fails. Counters and histograms count since the start of
the process. Histograms are in seconds; their buckets end at 64 µs and at each power of two of it
up to 33.6 s, and count whole microseconds below the bound.
"""


def page():
    parts = [HEAD]
    for title, metrics in SECTIONS.items():
        rows = [
            f"| `{each.name}` | {each.kind} | {', '.join(f'`{x}`' for x in each.labels)} "
            f"| {each.meaning} |"
            for each in metrics
        ]
        table = "\n".join(["| name | type | labels | meaning |", "|---|---|---|---|", *rows])
        parts.append(f"## {title}\n\n{table}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
