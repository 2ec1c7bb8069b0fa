"""The comparison as a table, for a terminal and in Markdown."""

from tests.bench.compare_figures import advantage, extremes, median_of, metric_of

SYNCLESS_FILESYSTEMS = ("tmpfs", "ramfs")


def number_words(value, metric):
    """A figure with a unit, with as many digits as it deserves."""
    if metric == "per_s":
        return f"{value:,.0f}/s"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def cell_words(runs, metric):
    """``median (least to most)``."""
    median = number_words(median_of(runs, metric), metric)
    if len(runs) == 1:
        return median
    least, most = extremes(runs, metric)
    return f"{median} ({number_words(least, metric)} to {number_words(most, metric)})"


def ratio_words(row, ours, theirs):
    """``2.10``: above 1, ours is so many times better."""
    found = advantage(row, ours, theirs)
    return "" if found is None else f"{found:.2f}"


def main_table(results):
    """(head, rows of cells): the medians, and how many times better ours is than each other."""
    ours, *others = results.systems
    head = ["row", "measured", *[results.systems[name] for name in results.systems]]
    head += [f"to {results.systems[name]}" for name in others]
    rows = []
    for row in results.rows:
        metric = metric_of(row)
        cells = [row.title, {"p50_ms": "median", "gap_ms": "gap", "per_s": "rate"}[metric]]
        cells += [_cell(results, row, name, metric) for name in results.systems]
        mine = results.of(row, ours)
        cells += [ratio_words(row, mine, results.of(row, name)) for name in others]
        rows.append(cells)
    return head, rows


def _cell(results, row, name, metric):
    runs = results.of(row, name)
    if runs:
        return cell_words(runs, metric)
    return "n/a" if (row.name, name) in results.impossible else "failed"


def cost_table(results):
    """(head, rows): tail latency and processor time behind each of those medians."""
    head = ["row", "system", "p99", "most", "CPU leader", "CPU follower", "CPU client", "errors"]
    rows = []
    for row in results.rows:
        for name, title in results.systems.items():
            runs = results.of(row, name)
            if runs:
                rows.append([row.title, title, *_costs(runs)])
    return head, rows


def _costs(runs):
    client_us = [run.generator_cpu_s * 1e6 / run.ops for run in runs if run.ops]
    client = f"{sorted(client_us)[len(client_us) // 2]:,.0f} µs" if any(client_us) else ""
    return [
        number_words(median_of(runs, "p99_ms"), "p99_ms"),
        number_words(median_of(runs, "max_ms"), "max_ms"),
        f"{median_of(runs, 'leader_us'):,.0f} µs",
        f"{median_of(runs, 'follower_us'):,.0f} µs",
        client,
        f"{sum(run.errors for run in runs):,}",
    ]


def syscall_table(results):
    """(head, rows): system calls of a follower for one put of one client."""
    rows = []
    for name, calls in results.syscalls.items():
        most = sorted((calls.keys() - {"total"}), key=lambda call: -calls[call])[:6]
        words = ", ".join(f"{call} {calls[call]:.2f}" for call in most)
        rows.append([results.systems[name], f"{calls.get('total', 0):.1f}", words])
    return ["system", "calls", "the most frequent"], rows


def conditions(results):
    """Sentences on what was measured, how, and what cannot be compared."""
    machine = results.machine
    lines = [
        f"Machine: {machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, Python {machine['python']}; {machine['filesystem']}, a write "
        f"of 4 KiB with fdatasync takes {machine['sync_ms']} ms.",
        f"Load average of one minute before: {machine['load_before']}, after: "
        f"{machine.get('load_after', '?')}. Nodes and clients share the cores.",
        f"{results.pairs} alternating runs of {results.seconds:g} s; median (least to most).",
        "Versions: " + "; ".join(dict.fromkeys(results.versions.values())) + ".",
    ]
    if results.rtt_ms:
        lines.append(f"Round trip between the nodes: {results.rtt_ms:g} ms, by a relay.")
    if machine["filesystem"] in SYNCLESS_FILESYSTEMS:
        lines.append(f"NOT A DISK: {machine['filesystem']} syncs nothing. Use --dir.")
    lines += [f"Skipped: {why}." for why in results.skipped.values()]
    lines += results.remarks
    lines += [
        f"n/a: {results.systems[name]}: {why} ({', '.join(rows)})."
        for (name, why), rows in _impossible_rows(results).items()
    ]
    return lines + [f"A run failed: {words}" for words in results.failures]


def _impossible_rows(results):
    """(system, why) → rows."""
    found = {}
    for (row, name), why in results.impossible.items():
        found.setdefault((name, why), []).append(row)
    return found


def markdown_table(head, rows):
    """A table of Markdown."""
    escape = [[cell.replace("|", "\\|") for cell in line] for line in [head, ["---"] * len(head)]]
    escape += [[cell.replace("|", "\\|") for cell in line] for line in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in escape)


def text_table(head, rows):
    """A table in columns of equal width."""
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *rows]
    )


def report_of(results, table):
    """The whole report; ``table``: one of the two functions above."""
    mark = "- " if table is markdown_table else "* "
    parts = [table(*main_table(results)), table(*cost_table(results))]
    if results.syscalls:
        parts.append(table(*syscall_table(results)))
    parts.append("\n".join(mark + line for line in conditions(results)))
    return "\n\n".join(parts) + "\n"
