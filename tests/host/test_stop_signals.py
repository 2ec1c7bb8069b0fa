"""Signals from the first moment on; what real daemons do with them is in
processes/test_start.py."""

import subprocess
import sys

LOST = """
import os, signal
from paxosd.host.stop_signals import SIGNALS, StopRequested

class Dying:
    def __del__(self):  # Python reports what is raised in here, and goes on
        os.kill(os.getpid(), signal.{name})

SIGNALS.catch()
Dying()
print("goes on", flush=True)
try:
    SIGNALS.raise_noted()
except StopRequested as stop:
    print("ends by", stop)
"""


def run_lost(name):
    script = LOST.format(name=name)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines()


def test_a_stop_whose_exception_a_finalizer_lost_ends_the_process_later():
    assert run_lost("SIGTERM") == ["goes on", "ends by SIGTERM"]
    assert run_lost("SIGINT") == ["goes on", "ends by SIGINT"]


def test_a_reload_that_waits_ends_nothing():
    assert run_lost("SIGHUP") == ["goes on"]
