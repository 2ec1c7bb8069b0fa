"""Options that decide how soon the kernel sends again, on real sockets of this machine."""

import os
import socket

import pytest

from paxosd.net import retransmission
from paxosd.net.retransmission import missing_options, repeat_soon

THIN = 16
RTO_MAX_MS = 44
RTO_MIN_US = 45


def option(connection, number):
    return connection.getsockopt(socket.IPPROTO_TCP, number)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


class TestRepeatSoon:
    def test_sets_what_the_kernel_has(self, listener):
        with socket.create_connection(listener.getsockname()) as connection:
            missing = repeat_soon(connection.fileno())
            assert option(connection, THIN) == 1
            if "TCP_RTO_MIN_US" not in missing:
                assert option(connection, RTO_MIN_US) == 1000 * retransmission.REPEAT_MS_MIN
            if "TCP_RTO_MAX_MS" not in missing:
                assert option(connection, RTO_MAX_MS) == retransmission.REPEAT_MS_MAX

    def test_what_is_accepted_inherits_it(self, listener):
        repeat_soon(listener.fileno(), small=True)
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                for number in {THIN, RTO_MIN_US, RTO_MAX_MS} - {
                    {"TCP_RTO_MIN_US": RTO_MIN_US, "TCP_RTO_MAX_MS": RTO_MAX_MS}[name]
                    for name in missing_options()
                }:
                    assert option(accepted, number) == option(listener, number)

    def test_leaves_the_descriptor_open(self, listener):
        repeat_soon(listener.fileno())
        assert os.fstat(listener.fileno())

    def test_names_what_the_kernel_does_not_have(self, listener, monkeypatch):
        monkeypatch.setitem(retransmission._OPTIONS, "TCP_OF_TOMORROW", (250, 1))
        assert "TCP_OF_TOMORROW" in repeat_soon(listener.fileno())
        assert "TCP_OF_TOMORROW" in missing_options()
        assert option(listener, THIN) == 1

    def test_small_messages_leave_bbr(self, listener):
        try:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")
        except OSError:
            pytest.skip("this kernel has no BBR, or allows it to nobody")
        repeat_soon(listener.fileno())
        chosen = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        assert chosen.rstrip(b"\0") == b"bbr"
        repeat_soon(listener.fileno(), small=True)
        chosen = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        assert chosen.rstrip(b"\0") == b"reno"


class TestOtherFiles:
    """A descriptor may be closed by the time that it is looked at, and its number another's."""

    def test_a_closed_one(self):
        reading, writing = os.pipe()
        os.close(writing)
        os.close(reading)
        assert repeat_soon(reading) == ()
        assert repeat_soon(-1) == ()

    def test_no_socket(self, tmp_path):
        with (tmp_path / "file").open("w") as file:
            assert repeat_soon(file.fileno()) == ()

    @pytest.mark.parametrize(
        "kind",
        [(socket.AF_UNIX, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM)],
    )
    def test_another_kind_of_socket(self, kind, monkeypatch):
        monkeypatch.setattr(retransmission, "_OPTIONS", {"SOME": (250, 1)})
        with socket.socket(*kind) as other:
            assert repeat_soon(other.fileno(), small=True) == ()
