"""A look at a socket by its descriptor leaves nothing open, whatever the descriptor is."""

import os
import socket

import pytest

from paxosd.bus.lossy_links import segments_sent_again
from paxosd.net.borrowed import borrowed
from paxosd.net.retransmission import repeat_soon
from paxosd.net.silence import UNKNOWN, traffic_of


def descriptors():
    return set(os.listdir("/proc/self/fd"))


def test_a_socket_is_looked_at_and_stays_open():
    with socket.socket() as own:
        before = descriptors()
        with borrowed(own.fileno()) as connection:
            assert connection.type == socket.SOCK_STREAM
            assert connection.fileno() != own.fileno()
        assert descriptors() == before
        assert os.fstat(own.fileno())


def test_another_file_is_none_and_leaves_nothing_open(tmp_path):
    """ZeroMQ has closed its descriptor, and the number is a file's now."""
    with (tmp_path / "file").open("w") as file:
        before = descriptors()
        with pytest.raises(OSError, match="non-socket"), borrowed(file.fileno()):
            pass
        assert segments_sent_again(file.fileno()) == 0
        assert repeat_soon(file.fileno()) == ()
        assert traffic_of(file.fileno()) == UNKNOWN
        assert descriptors() == before


def test_a_closed_one_is_none():
    with socket.socket() as own:
        number = own.fileno()
    with pytest.raises(OSError, match="Bad file"), borrowed(number):
        pass
