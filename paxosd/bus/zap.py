"""The door of a node's bound sockets: who is let in, by the key that he proved (ZeroMQ RFC 27).

libzmq asks for each new connection, after its CURVE handshake, over an inproc socket; a thread of
pyzmq's answers by the key ring. While nobody answers, nobody is let in. What was decided is left
for the loop: whom it refused, for the log, and who subscribes, for when he loses that right.
"""

from collections import deque
from typing import NamedTuple

from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from paxosd.bus.key_ring import SOCKETS, KeyRing
from paxosd.bus.socket_set import Context

REFUSED_MAX = 256
"""So many refusals wait for the loop; of more, the oldest are dropped."""


class DoorError(Exception):
    """The thread that answers libzmq's questions has ended."""


class Turned(NamedTuple):
    """A connection that was turned away: to which socket it was, by which key, from which IP."""

    socket: str
    key: bytes
    address: str


class Door:
    """The thread behind the bound sockets of one context. Start it before the first bind, and close
    it after the sockets."""

    def __init__(self, context: Context, ring: KeyRing) -> None:
        self.ring = ring
        self._turned: deque[Turned] = deque(maxlen=REFUSED_MAX)
        self._subscribers: set[bytes] = set()
        """No more than the ring knows keys: those that lost the right are taken out."""
        self._authenticator = _Authenticator(context)
        for socket in SOCKETS:
            self._authenticator.configure_curve_callback(
                domain=f"paxosd-{socket}", credentials_provider=_Provider(self, socket)
            )
        try:
            self._authenticator.start()
            self._authenticator.thread.name = "paxosd-zap"
        except BaseException as error:
            self.close()
            if isinstance(error, RuntimeError):
                raise DoorError("the thread that checks keys (paxosd-zap) did not start") from error
            raise

    def let_in(self, socket: str, key: bytes) -> bool:
        """Whether the holder of a key may connect to a socket. Called by the thread."""
        admitted = self.ring.admits(socket, key)
        if admitted and socket == "events":
            self._subscribers.add(key)
            # The loop may have looked for former subscribers since the ring was asked: too early.
            admitted = self.ring.admits(socket, key)
        if admitted:
            return True
        self._turned.append(Turned(socket, key, self._authenticator.address))
        return False

    def take_turned(self) -> list[Turned]:
        """Who was turned away since the last call."""
        taken = []
        while self._turned:
            taken.append(self._turned.popleft())
        return taken

    def take_former_subscribers(self) -> bool:
        """Whether anybody who was let in to the events socket may not be there any more."""
        former = {key for key in list(self._subscribers) if not self.ring.admits("events", key)}
        self._subscribers -= former
        return bool(former)

    @property
    def is_alive(self) -> bool:
        """Whether the thread goes on."""
        return self._authenticator.is_alive()

    def check(self) -> None:
        """Raises DoorError if the thread has ended: nobody is let in any more."""
        if not self.is_alive:
            raise DoorError(
                "the thread that checks keys (paxosd-zap) has ended, so nobody is let in any "
                "more: start the node again, and report this with its log"
            )

    def close(self) -> None:
        """End the thread."""
        authenticator = self._authenticator
        if not self.is_alive and authenticator.pipe is not None:
            # Nobody reads it any more: to write that the thread shall end would take for ever.
            authenticator.pipe.close(0)
            authenticator.pipe = None  # type: ignore[assignment]  # as its own stop() does
        authenticator.stop()


class _Authenticator(ThreadAuthenticator):
    """Remembers from which address the connection in question comes."""

    address = ""

    async def handle_zap_message(self, msg: list[bytes]) -> None:
        self.address = msg[3].decode("ascii", "replace") if len(msg) > 3 else ""
        await super().handle_zap_message(msg)


class _Provider:
    """Answers for one socket, in the form that pyzmq asks."""

    def __init__(self, door: Door, socket: str) -> None:
        self._door = door
        self._socket = socket

    def callback(self, domain: str, key: bytes) -> bool:
        """``key``: in Z85."""
        return self._door.let_in(self._socket, z85.decode(key))
