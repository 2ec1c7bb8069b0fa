"""The arithmetic of the cost model: two samples of a cluster, and what lies between them, for one
put; and medians over the rounds of a point."""

import statistics

OTHER_THREADS = "other threads"
"""Of a daemon: ZeroMQ's, above all."""
GROWING = ("cpu_s", "slots", "syncs", "turns", "revision")
"""What nodes count since their start."""


def figures_of(output, before, after, leader):
    """What a load cost between two samples, for one put. ``output``: the generator's figures, of
    all of the load. Each put is one revision, so a node's revisions are the puts that it has done
    for what it has spent in between. Raises ValueError if there are none."""
    followers = [name for name in after if name != leader]
    grown = {
        name: {what: after[name][what] - before[name][what] for what in GROWING} for name in after
    }
    if not all(each["revision"] for each in grown.values()):
        raise ValueError("a node did nothing between the samples: the load was over before them")
    a_put = {
        name: {what: each[what] / each["revision"] for what in GROWING}
        for name, each in grown.items()
    }
    own = a_put[leader]
    return {
        "puts": grown[leader]["revision"],
        "errors": output["errors"],
        "per_s": output["ops"] / output["elapsed_s"],
        "p50_ms": output["p50_ms"],
        "p99_ms": output["p99_ms"],
        "leader_us": 1e6 * own["cpu_s"],
        "follower_us": 1e6 * mean([a_put[name]["cpu_s"] for name in followers]),
        "client_us": 1e6 * output["generator_cpu_s"] / max(1, output["ops"]),
        "puts_a_slot": 1 / own["slots"] if own["slots"] else 0.0,
        "leader_syncs": own["syncs"],
        "follower_syncs": mean([a_put[name]["syncs"] for name in followers]),
        "leader_turns": own["turns"],
        "follower_turns": mean([a_put[name]["turns"] for name in followers]),
        "rss_mib": max(each["rss"] for each in after.values()) / (1 << 20),
    }


def mean(values):
    """0 without values."""
    return sum(values) / len(values) if values else 0.0


def stages_of(before, after, leader):
    """role → stage → [calls, processor us, wall us] for one put; of the followers the mean."""
    by_node = {name: _stages(before[name], after[name]) for name in after}
    followers = [stages for name, stages in by_node.items() if name != leader]
    names = by_node[leader]
    return {
        "leader_stages": names,
        "follower_stages": {
            stage: [mean([each[stage][i] for each in followers]) for i in range(3)]
            for stage in names
        },
        "missing": after[leader]["stages"]["missing"],
    }


def _stages(before, after):
    found = {}
    puts = max(1, after["revision"] - before["revision"])
    for stage, totals in after["stages"]["totals"].items():
        calls, cpu_ns, wall_ns = (
            now - then for now, then in zip(totals, before["stages"]["totals"][stage], strict=True)
        )
        found[stage] = [calls / puts, cpu_ns / 1000 / puts, wall_ns / 1000 / puts]
    timed_us = sum(cpu_us for _, cpu_us, _ in found.values())
    spent_us = 1e6 * (after["cpu_s"] - before["cpu_s"]) / puts
    found[OTHER_THREADS] = [0.0, max(0.0, spent_us - timed_us), 0.0]
    return found


def median_point(points):
    """The medians of all numbers of these measurements of one point, at any depth."""
    first = points[0]
    if isinstance(first, dict):
        return {
            name: median_point([each[name] for each in points if name in each]) for name in first
        }
    if isinstance(first, list) and all(isinstance(each, list) for each in points):
        return [median_point(list(each)) for each in zip(*points, strict=False)]
    if isinstance(first, int | float):
        return statistics.median(points)
    return first


def medians(found, group):
    """x → the medians of its rounds, in ascending order; only what was measured."""
    by_x = {}
    for point in found["points"]:
        if point["group"] == group:
            by_x.setdefault(point["x"], []).append(point)
    return {x: median_point(by_x[x]) for x in sorted(by_x)}
