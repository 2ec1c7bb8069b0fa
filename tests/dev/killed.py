"""Kill a first `paxosd dev --keys` at each of its steps with files, and start it again: a program
of ``test_layout.py``. It says how many steps there were, and fails if a second start does not go
on."""

import os
import sys
import tempfile
from pathlib import Path

from paxosd.daemon.security import read_security
from paxosd.dev.layout import prepare

STEPS = frozenset({"open", "os.link", "os.rename", "os.remove", "os.mkdir"})
STEPS_MAX = 500
KILLED = 9


def killed_at(directory, step):
    """Prepare the directory in a process that ends before that step; whether it came so far."""
    child = os.fork()
    if not child:
        left = step

        def count(event, arguments):
            nonlocal left
            if event in STEPS and arguments and str(directory) in str(arguments[0]):
                left -= 1
                if left < 0:
                    os._exit(KILLED)

        sys.addaudithook(count)
        prepare(directory, 3, None, keys=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == KILLED


def main():
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place) / "warm", 3, None, keys=True)  # all that is imported
        for step in range(STEPS_MAX):
            for again in (True, False):
                directory = Path(place) / f"{step}-{again}"
                reached = killed_at(directory, step)
                before = sorted(directory.glob("n*.toml"))
                cluster = prepare(directory, 3, None, keys=again)
                keyed = {bool(node.config.security.key_file) for node in cluster.nodes}
                assert keyed == {again or bool(before)}, (step, again)
                for node in cluster.nodes:
                    read_security(node.config)  # each has the key of its cluster, or none
                left = [path.name for path in directory.iterdir() if path.suffix == ".tmp"]
                assert not left, (step, left)
            if not reached:
                print(step)
                return
    raise AssertionError("there is no end of steps")


if __name__ == "__main__":
    main()
