"""paxosd whose flight recorder, or whose times of requests for /metrics, a signal switches off and
on (``recorder_cost.py``).

    python -m tests.bench.switched_daemon --config … → as paxosd

SIGUSR1: record; SIGUSR2: do as a daemon with ``[recorder] enabled = false`` does; or, with the
variable SWITCHED=metrics, note the times, and do as one without ``[http]``. To switch it in
the same process is the only way to see a few percent: two processes that do the same differ by
more, by where their memory lies and what else their core does.
"""

import os
import signal

from paxosd.__main__ import main
from paxosd.replica import replica as module


class Switch:
    """The replica of this process, with and without what its recorder adds."""

    def __init__(self):
        self._replica = None
        self._recording = None
        self._times = None

    def made(self, replica, observer):
        """The replica that the daemon made, and what looks on it."""
        self._replica, self._recording = replica, observer
        self._times = observer._slow._times

    def set(self, on):
        """From the next turn on. A signal's handler runs between two bytecodes of the loop: what is
        half done then goes on with the observer that it began with."""
        if self._replica is None:
            return
        observer = self._recording if on else self._recording._slow
        if os.environ.get("SWITCHED") == "metrics":
            self._recording._slow._times = self._times if on else None
            return
        observer.now_ms = self._recording.now_ms
        self._replica._observer = observer
        self._replica._wants_applied = on
        self._replica.node.want_applied = self._replica.events.wants_learned or on
        for part in (self._replica.service, self._replica.commits):
            part._observer = observer


def watched(switch):
    """Replica.__init__, noticed."""
    plain = module.Replica.__init__

    def init(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        switch.made(self, self._observer)

    return init


if __name__ == "__main__":
    switch = Switch()
    module.Replica.__init__ = watched(switch)
    signal.signal(signal.SIGUSR1, lambda *_: switch.set(True))
    signal.signal(signal.SIGUSR2, lambda *_: switch.set(False))
    main()
