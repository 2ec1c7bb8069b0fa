"""What a run of the tests costs: nothing here changes what a test sees."""

import compileall
import gc
from pathlib import Path

ROOT = Path(__file__).parent.parent


def pytest_configure(config):
    """The package is compiled once. Hundreds of daemons and clients are started, each of them two
    and a half times as long if it must compile what it imports: so it is in a clean checkout where
    PYTHONDONTWRITEBYTECODE is set."""
    if not hasattr(config, "workerinput"):
        for package in ("paxosd", "paxosctl"):
            compileall.compile_dir(ROOT / package, quiet=2)


def pytest_collection_finish():
    """The garbage collector does not look at thousands of collected tests again and again, which
    takes a fifth of a simulation's time: they live until the end."""
    gc.collect()
    gc.freeze()
