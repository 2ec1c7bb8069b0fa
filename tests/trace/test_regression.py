"""The test that a trace becomes: it passes now, and fails for a program that does otherwise."""

import subprocess
import sys
from pathlib import Path

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
