"""Hosts in this machine, joined by a switch in a process of its own that can lose packets.

    switch = LossySwitch({"n1": "10.77.0.1", …})      # namespaces with a TUN device each
    switch.lose(1.0, "n1")                            # from and to n1, whoever the other end is
    switch.lose(0.3, *switch.hosts)                   # between hosts only; switch.heal()
    switch.impair("n1", "n2", share=0.3)              # only what n1 sends to n2
    switch.impair("n1", "n2", delay_ms=20)            # comes later, and in order

Nothing is reset by a loss: to TCP it is a bad cable, or a host that lost its power. This process
itself is host ``""`` of the network. It needs root, /dev/net/tun and ``ip``.
"""

import fcntl
import json
import multiprocessing
import os
import random
import select
import socket
import struct
import subprocess
import time
from bisect import insort
from collections import deque

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
PACKET_BYTES_MAX = 70_000
_DESTINATION = slice(16, 20)
_SOURCE = slice(12, 16)


def ip(*arguments):
    """Run ``ip``; raises CalledProcessError."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _open_tun(device):
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN_NO_PI))
    return descriptor


class LossySwitch:
    """``hosts``: name → its IPv4 address, in one network with ``own``, this process's address."""

    def __init__(self, hosts, own, seed=0):
        self.hosts = list(hosts)
        self._spaces = {name: f"paxosd{os.getpid()}{name}" for name in hosts}
        ports = {own: _open_tun("tun-own")}
        ip("addr", "add", f"{own}/24", "dev", "tun-own")
        ip("link", "set", "tun-own", "up")
        for name, address in hosts.items():
            space, device = self._spaces[name], f"tun-{name}"
            ports[address] = _open_tun(device)
            ip("netns", "add", space)
            ip("link", "set", device, "netns", space)
            inside = ("netns", "exec", space, "ip")
            ip(*inside, "addr", "add", f"{address}/24", "dev", device)
            ip(*inside, "link", "set", device, "up")
            ip(*inside, "link", "set", "lo", "up")
        self._control, theirs = socket.socketpair()
        work = ports, hosts | {"": own}, theirs, self._control, random.Random(seed)
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=_forward, args=work, daemon=True)
        self._process.start()
        theirs.close()
        for descriptor in ports.values():
            os.close(descriptor)

    def command(self, name):
        """What begins a command that is to run on this host."""
        return ["ip", "netns", "exec", self._spaces[name]]

    def lose(self, share, *hosts):
        """Lose this share of the packets: of one host, from and to anybody; of several, between
        them."""
        self._say({"share": share, "hosts": hosts})

    def impair(self, sender, receiver, *, share=0.0, delay_ms=0.0):
        """Lose this share of what one host sends to another, and deliver the rest later; what goes
        the other way is not touched."""
        self._say({"way": [sender, receiver], "share": share, "delay_ms": delay_ms})

    def heal(self):
        """Lose and delay nothing more."""
        self._say({"heal": True})

    def _say(self, order):
        self._control.sendall(json.dumps(order).encode() + b"\n")
        assert self._control.recv(1) == b"."

    def close(self):
        """The end of the network; whatever runs in it has ended before."""
        self._control.close()
        self._process.join()
        for space in self._spaces.values():
            ip("netns", "del", space)


class _Ways:
    """What happens to packets, and those that are on their way."""

    def __init__(self, rng):
        self._rng = rng
        self._share, self._hosts = 0.0, set()
        self._ways = {}
        self._late = deque()

    def obey(self, order):
        """Do as the owner says."""
        if order.get("heal"):
            self._share, self._hosts = 0.0, set()
            self._ways.clear()
        elif "way" in order:
            self._ways[tuple(order["way"])] = order["share"], order["delay_ms"] / 1000
        else:
            self._share, self._hosts = order["share"], set(order["hosts"])

    def take(self, sender, receiver, port, packet):
        """Deliver a packet, now or later, or lose it."""
        ends = {sender, receiver}
        hit = ends <= self._hosts if len(self._hosts) > 1 else bool(ends & self._hosts)
        if hit and self._rng.random() < self._share:
            return
        share, delay_s = self._ways.get((sender, receiver), (0.0, 0.0))
        if share and self._rng.random() < share:
            return
        if delay_s:
            insort(self._late, (time.monotonic() + delay_s, len(packet), port, packet))
        else:
            os.write(port, packet)

    def wait_s(self):
        """Until the next is due; None: there is none."""
        return max(0.0, self._late[0][0] - time.monotonic()) if self._late else None

    def deliver(self):
        """Those that are due."""
        while self._late and self._late[0][0] <= time.monotonic():
            _, _, port, packet = self._late.popleft()
            os.write(port, packet)


def _forward(ports, addresses, control, others, rng):
    """The switch: each packet to the port of its destination, or to nobody. ``others``: the other
    end of ``control``, which only its owner may keep open, for its end is the end of this."""
    others.close()
    names = {socket.inet_aton(address): name for name, address in addresses.items()}
    way = {socket.inet_aton(address): descriptor for address, descriptor in ports.items()}
    ways = _Ways(rng)
    while True:
        for ready in select.select([control, *ports.values()], [], [], ways.wait_s())[0]:
            if ready is control:
                said = control.recv(65536)
                if not said:
                    return
                ways.obey(json.loads(said))
                control.sendall(b".")
                continue
            packet = os.read(ready, PACKET_BYTES_MAX)
            to = way.get(packet[_DESTINATION])
            if to is not None and packet[0] >> 4 == 4:
                ways.take(names.get(packet[_SOURCE]), names.get(packet[_DESTINATION]), to, packet)
        ways.deliver()
