"""Ports for daemons under test, of which no two test processes of a machine are given the same."""

import os
import socket

FIRST, PAST = 20_000, 32_000
"""Below the range that outgoing connections are given."""
BLOCK = 32
"""So many ports are reserved at a time, …"""
BLOCKS_MAX = 8
"""… so often by a process, which then gives out its own again."""

_marks: list[socket.socket] = []
_ports: list[int] = []
"""The ports of this process; which was given out last is last."""


def reserve(block):
    """Whether the block has been reserved, until this process ends: by a name that the kernel
    gives to one process alone."""
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0paxosd-test-ports-{block}")
    except OSError:
        mark.close()
        return False
    _marks.append(mark)
    return True


def reserve_next():
    """Put the ports of a block that no other test process has before those of this one."""
    blocks = (PAST - FIRST) // BLOCK
    first = os.getpid() * 7
    block = next(each for n in range(blocks) if reserve(each := (first + n) % blocks))
    _ports[:0] = range(FIRST + block * BLOCK, FIRST + (block + 1) * BLOCK)


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count):
    """Ports nobody listens on now, and no other test process is given."""
    given = []
    tried = 0
    while len(given) < count:
        if not tried % BLOCK and len(_marks) < BLOCKS_MAX:
            reserve_next()
        tried += 1
        port = _ports.pop(0)
        _ports.append(port)
        if is_free(port):
            given.append(port)
    return given
