"""A TCP forwarder whose connections can be made half open: alive at both ends, dead between."""

import select
import socket
import threading


class BlackHole:
    """Listens on a port of its own and forwards to another one. After :meth:`swallow` nothing of
    the connections there are passes any more, though they stay open, as after a router lost its
    tables; new ones are forwarded again after :meth:`heal`."""

    def __init__(self, endpoint):
        host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs = []
        self._dead = []
        self._blocked = False
        self._over = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def swallow(self):
        """From now on nothing passes, on old connections and on new ones."""
        with self._lock:
            self._blocked = True
            self._dead += self._pairs
            self._pairs = []

    def heal(self):
        """New connections work; the old ones stay as dead as they are."""
        with self._lock:
            self._blocked = False

    def cut(self):
        """The connections there are end; new ones work."""
        with self._lock:
            for one, _ in self._pairs:
                one.shutdown(socket.SHUT_RDWR)  # which the thread reads as its end

    @property
    def live(self):
        """How many connections are forwarded."""
        return len(self._pairs)

    @property
    def dead(self):
        """How many were swallowed."""
        return len(self._dead)

    def _work(self):
        while not self._over:
            with self._lock:
                ends = {one: other for pair in self._pairs for one, other in (pair, pair[::-1])}
            ready, _, _ = select.select([self._listener, *ends], [], [], 0.02)
            for each in ready:
                if each is self._listener:
                    self._accept()
                else:
                    self._forward(each, ends[each])

    def _accept(self):
        one, _ = self._listener.accept()
        with self._lock:
            if self._blocked:
                self._dead.append((one, one))
            else:
                self._pairs.append((one, socket.create_connection(self._target)))

    def _forward(self, one, other):
        try:
            data = one.recv(65536)
            if data:
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            with self._lock:
                self._pairs = [pair for pair in self._pairs if one not in pair]
            one.close()
            other.close()

    def close(self):
        self._over = True
        self._thread.join()
        for one, other in (*self._pairs, *self._dead):
            one.close()
            other.close()
        self._listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
