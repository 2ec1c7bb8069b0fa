"""A connection that ends while nobody reads from it ends nothing else: see ``full_queue.py``."""

import subprocess
import sys

import pytest

from tests.bus.full_queue import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_survives_a_reset_while_its_queue_is_full(kind):
    command = [sys.executable, "-m", "tests.bus.full_queue", kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "alive\n", f"exit {done.returncode}: {done.stderr}"
    assert done.returncode == 0
