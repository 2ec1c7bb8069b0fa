"""Which daemons got too little of the processors, by what the kernel says of them from outside.

A machine that others use starves a daemon now and then, without a fault that was drawn: then a
verdict that says so is right, and only this can say that it is.
"""

import contextlib
import threading
import time
from pathlib import Path

EVERY_S = 0.25
SHARE = 0.2
"""Of a second that a daemon's first thread was ready to run and waited."""


class StarvationMeter(threading.Thread):
    """Reads the schedstat of all daemons until it is stopped."""

    def __init__(self, daemons):
        super().__init__(daemon=True)
        self._daemons = daemons
        self._over = threading.Event()
        self._samples = {}

    def run(self):
        while not self._over.wait(EVERY_S):
            for name, process in list(self._daemons.processes.items()):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    path = Path(f"/proc/{process.pid}/task/{process.pid}/schedstat")
                    waited_ns = int(path.read_text().split()[1])
                    self._samples.setdefault((name, process.pid), []).append(
                        (time.monotonic_ns(), waited_ns)
                    )

    def stop(self):
        """End it."""
        self._over.set()
        self.join()

    def starved(self):
        """The daemons that were starved for about a second."""
        found = set()
        for (name, _), samples in self._samples.items():
            for place, (at_ns, waited_ns) in enumerate(samples):
                for later_ns, then_ns in samples[place + 1 : place + 8]:
                    took_ns = later_ns - at_ns
                    if took_ns >= 0.6e9 and then_ns - waited_ns >= SHARE * took_ns:
                        found.add(name)
        return sorted(found)
