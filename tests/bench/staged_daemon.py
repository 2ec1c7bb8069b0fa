"""paxosd with timers around the stages of a put (``stages.py``).

    python -m tests.bench.staged_daemon FILE --config … → as paxosd

Each SIGUSR1 has the totals written to FILE.
"""

import signal
import sys

from paxosd.__main__ import main
from tests.bench.stages import Stages

if __name__ == "__main__":
    path = sys.argv.pop(1)
    stages = Stages()
    signal.signal(signal.SIGUSR1, lambda *_: stages.write(path))
    main()
