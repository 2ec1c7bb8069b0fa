"""What all tests share: what a run costs, and that neither the load of the machine nor the shell
that began it decides how it ends."""

import compileall
import gc
import signal
from pathlib import Path

from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent

# How long an example takes says how busy the machine is.
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")


LONG = (
    "processes/test_kill.py",
    "processes/test_member.py",
    "processes/test_member_campaign.py",
    "processes/test_json.py",
    "processes/test_kill_campaign.py",
    "sim/test_crash_points.py",
    "core/test_membership_chaos.py",
    "sim/cluster/test_watchers.py",
)
"""Files with single tests that take long."""


def pytest_addoption(parser):
    """``--record``: tests that compare with recorded files write these anew instead."""
    parser.addoption("--record", action="store_true", help="write the recorded files anew")


def pytest_collection_modifyitems(items):
    """The longest first, lest a worker begins one when the others are done."""
    items.sort(key=lambda item: not item.nodeid.endswith(LONG, 0, item.nodeid.find("::")))


def pytest_configure(config):
    """The package is compiled once. Hundreds of daemons and clients are started, each of them two
    and a half times as long if it must compile what it imports: so it is in a clean checkout where
    PYTHONDONTWRITEBYTECODE is set."""
    if not hasattr(config, "workerinput"):
        for package in ("paxosd", "paxosctl"):
            compileall.compile_dir(ROOT / package, quiet=2)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores it, and so would each command that a test interrupts.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """The garbage collector does not look at thousands of collected tests again and again, which
    takes a fifth of a simulation's time: they live until the end."""
    gc.collect()
    gc.freeze()
