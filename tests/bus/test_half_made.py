"""A bus that cannot be made for lack of descriptors leaves nothing behind, whichever is the first
that is not to be had."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("keys", ["", "keys"])
def test_the_nth_descriptor_is_not_to_be_had(keys):
    done = subprocess.run(
        [sys.executable, "-m", "tests.bus.half_made", keys],
        capture_output=True, text=True, check=False, timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", "no thread ended with an error either"
    tries = [line.partition(" ")[2] for line in done.stdout.splitlines()]
    assert tries[0] == "DescriptorsError"
    assert "ZMQError" in tries, "some came as far as the sockets"
    assert tries[-1] == "", "and it was made in the end"
