"""A name server for tests: what it says is set on it, and it can fall silent for a name."""

import threading

from paxosd.net.resolver import NO_HOST, Lookups, ResolveError


class NameServer:
    """``addresses``: name → its addresses; another name has none. ``asked``: every question.
    ``hang(name)``: questions about it wait until :meth:`answer`, which its end does too."""

    def __init__(self, **addresses):
        self.addresses = {name.replace("_", "."): where for name, where in addresses.items()}
        self.asked = []
        self._silent = set()
        self._lock = threading.Condition()
        self.lookups = Lookups(self.look_up)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.answer(*list(self._silent))

    def hang(self, *names):
        with self._lock:
            self._silent |= set(names)

    def answer(self, *names):
        with self._lock:
            self._silent -= set(names)
            self._lock.notify_all()

    def look_up(self, host):
        with self._lock:
            self.asked.append(host)
            assert self._lock.wait_for(lambda: host not in self._silent, timeout=60)
            addresses = self.addresses.get(host, ())
        if not addresses:
            raise ResolveError(NO_HOST)
        return tuple(addresses)
