"""``paxosctl log diagram``: files, forms, limits, and what it answers."""

import json

import pytest

from paxosctl.cli.main import run
from tests.ctl.inspection.made import healthy


@pytest.fixture
def recorded(tmp_path):
    healthy(tmp_path / "data", slots=9)
    return str(tmp_path / "data")


@pytest.mark.parametrize(("name", "begins"), [
    ("run.html", "<!doctype html>"), ("run.svg", "<svg "), ("run.shiviz", "(?<host>"),
    ("run.mmd", "sequenceDiagram"), ("run.msc", "msc {"),
])  # fmt: skip
def test_the_suffix_says_the_form(recorded, tmp_path, capsys, name, begins):
    path = tmp_path / name
    slots = ["--slots", "2..3"]
    assert run(["-o", "json", "log", "diagram", recorded, "-o", str(path), *slots]) == 0
    assert path.read_text().startswith(begins)
    answer = json.loads(capsys.readouterr()[0])
    assert answer["bytes"] == path.stat().st_size
    assert answer["nodes"] == ["n1", "n2", "n3"]
    assert answer["lost"] == 0
    assert answer["left_out"] == []


def test_standard_output_by_the_name_of_a_form(recorded, capsys):
    assert run(["log", "diagram", recorded, "-o", "mermaid", "--slots", "2"]) == 0
    assert capsys.readouterr()[0].startswith("sequenceDiagram")
    assert run(["log", "diagram", recorded, "-o", "-", "--format", "mscgen", "--slots", "2"]) == 0
    assert capsys.readouterr()[0].startswith("msc {")


def test_what_is_left_out_is_said_in_the_file_and_on_the_terminal(recorded, tmp_path, capsys):
    path = tmp_path / "run.html"
    assert run(["log", "diagram", recorded, "-o", str(path), "--limit", "20"]) == 0
    words = "only the last 20 events are drawn"
    assert words in path.read_text()
    assert words in " ".join(capsys.readouterr()[0].split())
    assert run(["log", "diagram", recorded, "-o", "svg", "--limit", "20"]) == 0
    out, err = capsys.readouterr()
    assert words in out
    assert words in err


@pytest.mark.parametrize(("options", "code", "words"), [
    (["-o", "run.png"], 2, "its suffix says no form"),
    (["-o", "no/such/place.html"], 2, "there is no such directory"),
    (["-o", "html", "--kind", "nonsense"], 2, "there is no kind"),
    (["-o", "html", "--node", "n9"], 2, "nothing is recorded of n9"),
    (["-o", "html", "--slots", "99"], 1, "nothing to draw"),
    (["-o", "mermaid", "--limit", "99"], 2, "99 are allowed"),
    (["-o", "html", "--limit", "0"], 2, "limit"),
    ([], 2, "--out"),
])  # fmt: skip
def test_wrong_options(recorded, capsys, options, code, words):
    assert run(["log", "diagram", recorded, *options]) == code
    assert words in " ".join(capsys.readouterr()[1].split())


def test_a_file_that_cannot_be_written(recorded):
    where = ["-o", "/sys/kernel/run.svg"]  # in which nobody can make a file
    assert run(["log", "diagram", recorded, *where]) in (74, 77)


def test_a_device_is_not_replaced(recorded, capsys):
    force = ["-o", "/dev/full", "--format", "svg", "--force"]
    assert run(["log", "diagram", recorded, *force]) == 1
    assert "no regular file" in capsys.readouterr()[1]


def test_a_file_that_exists_is_replaced_by_force_alone(recorded, tmp_path, capsys):
    path = tmp_path / "run.svg"
    path.write_text("mine")
    assert run(["log", "diagram", recorded, "-o", str(path)]) == 1
    assert "use --force" in capsys.readouterr()[1]
    assert path.read_text() == "mine"
    assert run(["log", "diagram", recorded, "-o", str(path), "--force"]) == 0
    assert path.read_text().startswith("<svg")
    assert path.stat().st_mode & 0o777 == 0o600
