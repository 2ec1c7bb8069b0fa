"""What paxosd's commands say on standard output does not get lost in silence, and how they end."""

import signal
import subprocess
import sys

import pytest

CHECK = ["--config", "conf/paxosd.toml", "--check-config"]


def paxosd(*arguments, **named):
    command = [sys.executable, "-m", "paxosd", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **named)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["dev", "--help"], CHECK])
def test_a_full_one(arguments):
    with open("/dev/full", "w") as full:
        done = paxosd(*arguments, stdout=full)
    assert done.returncode == 74
    assert done.stderr == "paxosd: standard output cannot be written: No space left on device\n"


def test_a_closed_one():
    command = f'exec "{sys.executable}" -m paxosd {" ".join(CHECK)} >&-'
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 74
    assert "standard output is closed" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], CHECK])
def test_a_reader_that_has_enough(arguments):
    command = [sys.executable, "-m", "paxosd", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    _, told = process.communicate()
    assert (process.returncode, told) == (0, b"")


@pytest.mark.parametrize("module", ["paxosctl", "paxosd"])
def test_an_interrupt_during_the_imports_leaves_no_traceback(module):
    """The interrupt comes when the program says that its main function has begun."""
    late = {"paxosctl": "paxosctl.cli.main", "paxosd": "paxosd.cli"}[module]
    program = (
        f"import os, signal, sys, threading; import {module}.__main__ as m\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == '{late}':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "sys.argv = ['x', '--help']\n"
        "m.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == (130 if module == "paxosctl" else -signal.SIGINT)
    assert done.stderr == ""
