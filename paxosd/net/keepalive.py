"""How the kernel finds connections whose other end is gone: for every TCP connection of ours."""

import zmq

KEEPALIVE_IDLE_S = 3
KEEPALIVE_IVL_S = 1
KEEPALIVE_COUNT = 3
UNACKED_MS_MAX = 15_000
"""The kernel gives up a connection that takes no bytes, or answers no keepalive, for so long: this
overrides KEEPALIVE_COUNT, see tcp(7)."""

KERNEL_FINDS_DEAD_ENDS = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: KEEPALIVE_IDLE_S,
    zmq.TCP_KEEPALIVE_INTVL: KEEPALIVE_IVL_S,
    zmq.TCP_KEEPALIVE_CNT: KEEPALIVE_COUNT,
    zmq.TCP_MAXRT: UNACKED_MS_MAX,
}
"""Option of a ZeroMQ socket → its value."""
