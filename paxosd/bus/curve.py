"""CURVE on a node's sockets: each end of a connection proves by a key who it is, and what passes is
encrypted (ZeroMQ RFC 25, 26).

    listens   as a CURVE server, behind a door for each socket (``zap.py``)
    dials     as a CURVE client that expects a certain key of the other end

Which key is expected is an option of a socket that ZeroMQ reads when it is connected, so one socket
may be connected to several ends, and in another way each time.

A cluster is switched over in steps, one restart of each node per step (``[security] rollout``):

    ready       listens without keys     dials either way
    listening   listens with keys        dials either way
    done        listens with keys        dials with keys
"""

import zmq

from paxosd.bus.key_ring import KeyRing
from paxosd.net.key_files import key_text

READY, LISTENING, DONE = "ready", "listening", "done"
ROLLOUTS = (READY, LISTENING, DONE)

PLAIN = b""
"""In the place of the key that is expected: none is, and none is shown."""
MESSAGE_OVERHEAD_BYTES = 64
"""By no more than so much does encryption make a message longer."""

Socket = zmq.Socket[bytes]


class NodeKeys:
    """A node's own key, and whom it trusts."""

    def __init__(self, public: bytes, secret: bytes, ring: KeyRing, rollout: str = DONE) -> None:
        """``public``, ``secret``: 32 bytes each. ``rollout``: see the module."""
        assert rollout in ROLLOUTS
        self.public = public
        self._secret = secret
        self.ring = ring
        self.listens = rollout != READY
        """Whether the bound sockets take holders of keys alone."""
        self.dials_plain = rollout != DONE
        """Whether a node that takes no keys is dialled without."""

    def __repr__(self) -> str:
        return f"NodeKeys({key_text(self.public)!r})"

    def listen(self, socket: Socket, what: str) -> None:
        """To be called before the bind. ``what``: peer, client or events."""
        if not self.listens:
            return
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, f"paxosd-{what}".encode())
        # Else libzmq lets everybody in while nobody answers its questions.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def aim(self, socket: Socket, expected: bytes) -> None:
        """For the next connect: which key the other end must have; PLAIN: none."""
        if expected == PLAIN:
            socket.setsockopt(zmq.CURVE_SERVER, 0)  # back to the mechanism without keys
            return
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._secret)
        socket.setsockopt(zmq.CURVE_SERVERKEY, expected)

    def choices(self, node: str) -> tuple[bytes, ...]:
        """What to expect of a node, the first choice first: its keys, and PLAIN."""
        return self.ring.keys_of(node) + ((PLAIN,) if self.dials_plain else ())
