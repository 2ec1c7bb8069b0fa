"""The test that a trace becomes: it passes now, and fails for a program that does otherwise."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import pytest

from paxosctl.cli.main import run
from paxosctl.tracing import regression
from paxosctl.tracing.trace_files import find_traces
from paxosd.core.election import Election

MUTATION = """
from paxosd.core.acceptor import Acceptor
receive_prepare = Acceptor.receive_prepare
Acceptor.receive_prepare = lambda self, *given: receive_prepare(self, *given[:-1], [])
"""
"""A plug-in of pytest: an acceptor that does not write its promises down."""


def run_test(path, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null",
               *arguments, str(path)]  # fmt: skip
    root = Path(__file__).parents[2]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=path.parent, timeout=120,
        env={"PYTHONPATH": f"{root}:{path.parent}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


@pytest.mark.parametrize("inline_bytes_max", [0, 1 << 30], ids=["beside it", "in it"])
def test_it_passes_now_and_fails_for_a_mutated_program(
    recorded, tmp_path, monkeypatch, inline_bytes_max
):
    monkeypatch.setattr(regression, "INLINE_BYTES_MAX", inline_bytes_max)
    path = tmp_path / "test_made.py"
    (source, *_) = find_traces([recorded])
    assert run(["trace", "to-test", str(source), "-o", str(path), "--until", "slot 30"]) == 0
    assert len(list(tmp_path.glob("*.trc"))) == (0 if inline_bytes_max else 1)
    done = run_test(path)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    (tmp_path / "mutation.py").write_text(MUTATION)
    done = run_test(path, "-p", "mutation")
    assert done.returncode == 1, done.stdout
    assert "different" in done.stdout


def test_what_does_not_replay_makes_no_test(recorded, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Election, "tick", lambda self: None)
    path = tmp_path / "test_made.py"
    assert run(["trace", "to-test", str(recorded), "-o", str(path)]) == 1
    assert "goes another way" in capsys.readouterr().err
    assert not path.exists()


def test_two_runs_of_one_name_are_both_in_it(recorded, tmp_path, capsys):
    (source, *_) = find_traces([recorded])
    copy = tmp_path / "copy.trc"
    copy.write_bytes(source.read_bytes())
    path = tmp_path / "test_made.py"
    command = ["trace", "to-test", str(source), str(copy), "-o", str(path), "--until", "slot 3"]
    assert run(command) == 0
    found = dict(run_path(str(path)))["RUNS"]
    assert (len(found), len(list(tmp_path.glob("test_made*.trc")))) in ((2, 0), (2, 2))

    assert run(command) == 1
    assert "exists" in capsys.readouterr().err
    assert run([*command, "--force"]) == 0


@pytest.mark.parametrize("name", ['x": print(), "y', "../../n1", "n1\n"])
def test_the_name_in_a_trace_is_no_program_and_no_path(recorded, tmp_path, monkeypatch, name):
    (source, *_) = find_traces([recorded])
    real = regression.replay_bytes
    monkeypatch.setattr(regression, "replay_bytes", lambda *given: replace(real(*given), node=name))
    path = tmp_path / "test_made.py"
    assert run(["trace", "to-test", str(source), "-o", str(path), "--until", "slot 3"]) == 74
    assert list(tmp_path.iterdir()) == []


def test_what_it_is_written_to_is_a_program(recorded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (source, *_) = find_traces([recorded])
    assert run(["trace", "to-test", str(source), "-o", "-"]) == 2
