"""Hosts in this machine, joined by a switch in a process of its own that can lose packets.

    switch = LossySwitch({"n1": "10.77.0.1", …})      # namespaces with a TUN device each
    switch.lose(1.0, "n1")                            # from and to n1, whoever the other end is
    switch.lose(0.3, *switch.hosts)                   # between hosts only; switch.heal()

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

    def heal(self):
        """Lose nothing more."""
        self._say({"share": 0.0, "hosts": []})

    def _say(self, order):
        self._control.sendall(json.dumps(order).encode() + b"\n")
        assert self._control.recv(1) == b"."

    def close(self):
        """The end of the network; whatever runs in it has ended before."""
        self._control.close()
        self._process.join()
        for space in self._spaces.values():
            ip("netns", "del", space)


def _forward(ports, addresses, control, others, rng):
    """The switch: each packet to the port of its destination, or to nobody. ``others``: the other
    end of ``control``, which only its owner may keep open, for its end is the end of this."""
    others.close()
    names = {socket.inet_aton(address): name for name, address in addresses.items()}
    way = {socket.inet_aton(address): descriptor for address, descriptor in ports.items()}
    share, hosts = 0.0, set()
    while True:
        for ready in select.select([control, *ports.values()], [], [])[0]:
            if ready is control:
                said = control.recv(65536)
                if not said:
                    return
                order = json.loads(said)
                share, hosts = order["share"], set(order["hosts"])
                control.sendall(b".")
                continue
            packet = os.read(ready, PACKET_BYTES_MAX)
            to = way.get(packet[_DESTINATION])
            if to is None or packet[0] >> 4 != 4:
                continue
            ends = {names.get(packet[_SOURCE]), names.get(packet[_DESTINATION])}
            hit = ends <= hosts if len(hosts) > 1 else bool(ends & hosts)
            if not hit or rng.random() >= share:
                os.write(to, packet)
