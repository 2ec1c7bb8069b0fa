"""A wall clock that is set while a node runs: what is shown goes on as if nobody had touched it."""

import json
import re

import pytest

from paxosctl.cli.main import run
from paxosctl.inspection.recordings import Window, measure_clocks, opened
from tests.ctl.inspection.made import Made, begin, choose, elect, trio

HOUR_US = 3_600_000_000
SLOTS = 60
STAMP = re.compile(r'\\?"ts\\?": \\?"[^"]*"|"recorded_bytes": [0-9]+')


def record(path, jumps=(), again=(), logs=False):
    """A run of 60 slots, 50 ms apart, in blocks of ten. ``jumps``: (node, before which block, µs);
    ``again``: nodes that start anew in the middle."""
    nodes = trio()
    begin(nodes)
    ballot = elect(nodes, "n1", 100_000)
    lines = {name: [] for name in nodes}
    for block in range(SLOTS // 10):
        for node, when, moved_us in jumps:
            if when == block:
                nodes[node].ahead_us += moved_us
        if block == 3:
            for name in again:
                before = nodes[name]
                node = nodes[name] = Made(name, 2, ahead_us=before.ahead_us, mono_us=before.mono_us)
                node.at(200_000 + 1_490_000).record(132 - 4, x=node.run)
                node.streams = 1000
        for slot in range(block * 10 + 1, block * 10 + 11):
            choose(nodes, ballot, slot, 200_000 + slot * 50_000, seq=slot)
        for name, node in nodes.items():
            node.recorder.directory_id = int(name[1:])
            lines[name].append(node.note("member.up", member="n2", block=block))
            node.write(path, number=node.boot)
    for name, said in lines.items():
        if logs:
            (path / f"{name}.log").write_text("\n".join(said) + "\n")
    return path


def shown(path, *verb):
    with opened([str(path)]) as recordings:
        measure_clocks(recordings, Window())
        return [(e.node, e.boot_count, e.kind, e.seq, e.wall_us) for e in recordings.events()]


def answers(path, capsys):
    found = {}
    for verb in (
        ("log", "timeline", "--last", "1s"), ("log", "timeline", "--since", "08:00:02"),
        ("log", "timeline", "--until", "08:00:01.5"), ("log", "slot", "40"), ("log", "nodes"),
        ("log", "ballot", "1.n1"), ("log", "request", "7/40"), ("log", "tail", "-n", "9"),
        ("explain", "slot", "40"), ("explain", "leader"), ("explain", "slowest", "--last", "1s"),
        ("why-slow", "--last", "1s"), ("log", "diagram", "-o", "shiviz", "--last", "1s"),
    ):  # fmt: skip
        assert run([*verb, str(path), *([] if "diagram" in verb else ["-o", "json"])]) == 0, verb
        out, err = capsys.readouterr()
        assert "passed over" not in err
        found[verb] = STAMP.sub("", out)  # what a line says itself stays as it was written
    return found


CASES = [
    [("n2", 2, HOUR_US)], [("n2", 2, -HOUR_US)], [("n1", 2, HOUR_US)], [("n1", 2, -HOUR_US)],
    [("n3", 1, HOUR_US), ("n3", 4, -HOUR_US)], [("n1", 2, -HOUR_US), ("n2", 4, HOUR_US)],
]  # fmt: skip


@pytest.mark.parametrize("again", [(), ("n2",)])
@pytest.mark.parametrize("jumps", CASES)
def test_every_event_has_the_time_that_it_would_have(tmp_path, jumps, again):
    jumped = shown(record(tmp_path / "jumped", jumps, again, logs=True))
    assert jumped == shown(record(tmp_path / "calm", (), again, logs=True))
    assert len(jumped) > 1400


@pytest.mark.parametrize("jumps", CASES)
def test_every_verb_says_what_it_would_say(tmp_path, capsys, jumps):
    want = answers(record(tmp_path / "calm"), capsys)
    got = answers(record(tmp_path / "jumped", jumps), capsys)
    for verb, answer in want.items():
        if verb[0] == "why-slow":
            calm, jumped = json.loads(answer), json.loads(got[verb])
            clocks = [each for each in jumped.pop("incidents") if each["what"] == "clock"]
            assert {each["node"] for each in clocks} <= {node for node, *_ in jumps}
            calm.pop("incidents")
            assert jumped == calm
        else:
            assert got[verb] == answer, verb


def test_lines_of_a_log_alone(tmp_path):
    calm = record(tmp_path / "calm", logs=True)
    jumped = record(tmp_path / "jumped", [("n2", 3, -HOUR_US)], logs=True)
    times = []
    for path in (calm, jumped):
        logs = sorted(map(str, path.glob("*.log")))
        with opened(logs) as recordings:
            times.append([event.wall_us for event in recordings.events()])
    assert times[0] == times[1]


def test_the_jump_itself_is_named(tmp_path, capsys):
    path = record(tmp_path / "jumped", [("n2", 3, -HOUR_US)])
    assert run(["why-slow", str(path), "-o", "json"]) == 0
    (clock,) = [each for each in json.loads(capsys.readouterr()[0])["incidents"]
                if each["what"] == "clock"]  # fmt: skip
    assert clock["node"] == "n2"
    assert "jumped 3600000 ms back" in clock["text"]


def test_runs_are_in_the_order_of_their_starts_though_the_clock_was_set_back(tmp_path):
    for boot, ahead_us in ((1, 0), (2, -HOUR_US), (3, 0)):
        node = Made("n1", boot, ahead_us=ahead_us)
        node.recorder.directory_id = 77
        node.at(boot * 1_000_000).record(128, x=node.run)
        node.write(tmp_path, number=boot)
    with opened([str(tmp_path)]) as recordings:
        boots = [event.boot_count for event in recordings.node_events("n1")]
    assert boots == [1, 2, 3]


@pytest.mark.parametrize("ahead", [{"n2": HOUR_US}, {"n1": HOUR_US, "n3": -HOUR_US}])
def test_the_last_time_is_the_same_if_the_clocks_are_apart(tmp_path, capsys, ahead):
    found = []
    for place, apart in (("level", {}), ("apart", ahead)):
        path = record(tmp_path / place, jumps=[(node, 0, us) for node, us in apart.items()])
        assert run(["log", "timeline", "--kind", "voted", "-o", "plain", "--last", "1s",
                    str(path)]) == 0  # fmt: skip
        found.append(sorted(line.split("\t")[-1] for line in capsys.readouterr().out.splitlines()))
    assert len(found[0]) > 30
    assert found[0] == found[1]
