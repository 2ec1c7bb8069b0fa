"""Run as a process of its own: a socket of ours stops reading, since its queue is full, and then
its connection is reset; libzmq 4.3.5 aborts the process if it has a ZMTP heartbeat to send then
(its issue 4841). ``python -m tests.bus.full_queue KIND``: "alive" on standard output at the end.
"""

import socket
import struct
import sys
import threading
import time

import zmq

from paxosctl.client.transport import Link, Transport
from paxosd.bus.sockets import MIB
from paxosd.core.requests import WriteRequest
from paxosd.wire import encode_client
from tests.bus.harness import World, heartbeat, until

FLOOD = b"x" * 1000
FLOOD_S = 0.5
"""Once nothing could be sent for so long every queue and buffer up to the reader is full."""
HEARTBEAT_S = 1.5
"""A heartbeat that is sent each second is due within this time."""


class Reset:
    """Forwards one port to another, until :meth:`cut` resets every connection that it took."""

    def __init__(self, endpoint):
        host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._taken = []
        self._start(self._accept)

    def _start(self, work, *args):
        threading.Thread(target=work, args=args, daemon=True).start()

    def _accept(self):
        while True:
            one, _ = self._listener.accept()
            other = socket.create_connection(self._target)
            self._taken.append(one)
            self._start(self._forward, one, other)
            self._start(self._forward, other, one)

    def _forward(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass

    def cut(self):
        for each in self._taken:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.shutdown(socket.SHUT_RDWR)  # wakes the threads that use it, and so hold it open
            each.close()


def bind(context, kind):
    made = context.socket(kind)
    made.setsockopt(zmq.LINGER, 0)
    made.setsockopt(zmq.SNDHWM, 100)
    if kind == zmq.XPUB:
        made.setsockopt(zmq.XPUB_NODROP, 1)
        made.setsockopt(zmq.XPUB_VERBOSE, 1)
    else:
        made.setsockopt(zmq.ROUTER_MANDATORY, 1)
    made.bind("tcp://127.0.0.1:0")
    return made, made.getsockopt_string(zmq.LAST_ENDPOINT)


def flood(sender, *head):
    """Send until nothing is taken any more."""
    sent = 0
    while sender.poll(FLOOD_S * 1000, zmq.POLLOUT):
        try:
            sender.send_multipart([*head, FLOOD], zmq.NOBLOCK)
            sent += 1
        except zmq.Again:  # a ROUTER's POLLOUT says nothing of one connection
            if not settle(sender, head):
                break
    print(f"{sent} messages of {len(FLOOD)} bytes", file=sys.stderr)
    assert sent * len(FLOOD) > MIB // 2


def settle(sender, head):
    """Whether one more could be sent within the time that shows that all is full."""
    until_s = time.monotonic() + FLOOD_S
    while time.monotonic() < until_s:
        try:
            sender.send_multipart([*head, FLOOD], zmq.NOBLOCK)
        except zmq.Again:
            time.sleep(0.01)
        else:
            return True
    return False


def outlive(reset):
    """The connection is reset while its input is stopped. What is due each second comes due."""
    reset.cut()
    time.sleep(HEARTBEAT_S)  # nothing can be waited for: nothing is to happen


def watch(context):
    server, endpoint = bind(context, zmq.XPUB)
    reset = Reset(endpoint)
    transport = Transport()
    sub = transport.socket(zmq.SUB)
    sub.setsockopt(zmq.RCVHWM, 16)
    sub.setsockopt(zmq.SUBSCRIBE, b"")
    sub.connect(reset.endpoint)
    server.recv()
    flood(server, b"kv/")
    outlive(reset)
    until(lambda: (sub.poll(10) and sub.recv_multipart(), server.poll(0))[1], "a new subscription")


def call(context):
    server, endpoint = bind(context, zmq.ROUTER)
    reset = Reset(endpoint)
    transport = Transport()
    got = {"up": 0}
    link = Link(
        transport,
        reset.endpoint,
        on_frame=lambda _: None,
        on_up=lambda: got.update(up=got["up"] + 1),
        on_down=lambda _: None,
    )
    until(lambda: (transport.poll(10), got["up"])[1], "a connection")
    assert link.send(b"hello")
    flood(server, server.recv_multipart()[0])
    outlive(reset)
    until(lambda: (transport.poll(10), got["up"] == 2)[1], "a new connection")


def in_a_daemon(context, kind, port, begin):
    """``begin(bus)``: until the other end has something; returns what to send first to it."""
    server, endpoint = bind(context, kind)
    reset = Reset(endpoint)
    world = World()
    world.where["n2"] = world.where["n2"] | {port: reset.endpoint}
    bus = world.start("n1")
    head = begin(bus, server, reset)
    flood(server, *head)
    outlive(reset)
    return bus, server, reset


def votes(context):
    def begin(_, server, __):
        assert server.recv() == b"\x01accepted/"
        return (b"accepted/n2",)

    bus, server, _ = in_a_daemon(context, zmq.XPUB, "events", begin)

    def turn():
        bus.poll(10)
        bus.receive_peers(10_000)
        return server.poll(0)

    until(turn, "a new subscription")


def relay(context):
    request = WriteRequest(7, b"")

    def begin(bus, server, reset):
        bus.relay.aim(reset.endpoint)
        until(lambda: (bus.poll(5), bus.relay.send(request))[1], "a connection")
        routing_id, frame = server.recv_multipart()
        assert frame == encode_client(request, "dev")
        return (routing_id,)

    bus, _, _ = in_a_daemon(context, zmq.ROUTER, "client", begin)
    until(
        lambda: (bus.poll(5), bus.relay.receive(100_000), bus.relay.take_lost())[2],
        "the end of the connection",
    )


def dealer(context):
    """It is never read: here somebody else has a peer's port, and talks."""

    def begin(bus, server, _):
        until(lambda: bus.send("n2", heartbeat()), "a connection")
        return (server.recv_multipart()[0],)

    in_a_daemon(context, zmq.ROUTER, "peer", begin)


KINDS = {each.__name__: each for each in (watch, call, votes, relay, dealer)}

if __name__ == "__main__":
    import os

    KINDS[sys.argv[1]](zmq.Context())
    print("alive", flush=True)
    os._exit(0)
