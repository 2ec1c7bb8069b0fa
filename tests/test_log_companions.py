"""What docs/LOGS.md says about other programs works: every line of it is run on real logs."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from paxosd.daemon.logs import VOCABULARY
from tests.log_events import ON_EVERY_LINE, OPENTELEMETRY, SEVERITY, collect

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "tests" / "fixtures" / "logs"
"""Of three daemons, the leader of which was killed; made with ``log.level = "info"``."""
FORMAT = ROOT / "conf" / "lnav" / "paxosd.json"


def commands():
    """The command lines of the section on other programs."""
    text = (ROOT / "docs" / "LOGS.md").read_text(encoding="utf-8")
    section = text.partition("## With other programs\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [each for block in blocks for each in block.splitlines() if not each.startswith("#")]


@pytest.fixture
def logs(tmp_path):
    """A directory with ``paxos-data`` and ``conf`` in it, and what journalctl would print."""
    shutil.copytree(LOGS, tmp_path / "paxos-data")
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    lines = [line for path in sorted(LOGS.glob("*.log")) for line in path.read_text().splitlines()]
    (tmp_path / "cat.txt").write_text("".join(f"{line}\n" for line in ["no JSON at all", *lines]))
    entries = [{"_HOSTNAME": "host1", "MESSAGE": line} for line in [*lines, "no JSON"]]
    (tmp_path / "json.txt").write_text("".join(json.dumps(each) + "\n" for each in entries))
    return tmp_path


def run(command, logs):
    """What it prints. Of journalctl's lines the part behind the pipe."""
    journal = re.match(r"journalctl .* -o (cat|json) \|", command)
    if journal:
        command = f"cat {journal[1]}.txt |{command[journal.end() :]}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=logs, env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(logs)},
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stderr}"
    assert "error" not in done.stderr, f"{command}: {done.stderr}"
    return done.stdout.splitlines()


def test_the_logs_are_those_of_this_version():
    for path in LOGS.glob("*.log"):
        for line in path.read_text().splitlines():
            fields = json.loads(line)
            assert tuple(fields)[:7] == ON_EVERY_LINE
            assert fields["event"] in VOCABULARY


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_lines_with_jq(logs):
    found = [run(each, logs) for each in commands() if not each.startswith("lnav")]
    led, ended, slow, trouble, together, journal, hosts = found
    assert [line.split("\t")[1:] for line in led] == [["n2", "1.n2"], ["n3", "2.n3"]]
    assert {line.split("\t")[1] for line in ended} == {"n1", "n3"}
    assert slow == ["n1\t1\t412.5"]
    assert "2\tleader.lost" in trouble
    assert len(together) == sum(len(p.read_text().splitlines()) for p in LOGS.glob("*.log"))
    times = [json.loads(line)["ts"] for line in together]
    assert times == sorted(times)
    assert len(journal) == len(hosts) == 7
    assert {json.loads(line)["host"] for line in hosts} == {"host1"}


@pytest.mark.skipif(shutil.which("lnav") is None, reason="lnav is not installed")
def test_the_lines_with_lnav(logs):
    install, ask = (each for each in commands() if each.startswith("lnav"))
    run(install, logs)
    answer = "\n".join(run(ask, logs))
    assert answer.count("leader.elected") == 5
    assert "its connection broke" in answer
    shown = "\n".join(run("lnav -n paxos-data/n2.log", logs))
    assert re.search(r"16:26:08\.584 n2 +INFO +leader\.elected +1\.n2 ", shown)


def test_the_format_of_lnav_names_fields_that_there_are():
    form = json.loads(FORMAT.read_text(encoding="utf-8"))["paxosd_log"]
    known = {f for _, always, more in collect().values() for f in (*always, *more)}
    fields = [each["field"] for each in form["line-format"] if isinstance(each, dict)]
    names = {*form["value"], *fields} - {"__timestamp__"}
    assert names <= known | set(ON_EVERY_LINE)
    assert set(form["level"]) == set(SEVERITY)


def test_the_names_of_opentelemetry_are_of_fields_that_there_are():
    known = {f for _, always, more in collect().values() for f in (*always, *more)}
    assert set(OPENTELEMETRY) <= known | set(ON_EVERY_LINE)
