"""What the watch protocol assumes of ZeroMQ."""

import errno
import signal
import socket
import subprocess
import sys
import textwrap

import pytest
import zmq
from zmq.utils.monitor import parse_monitor_message


class TestWhatIsAssumedOfZeroMQ:
    """The watch protocol rests on these; a change of libzmq would show here."""

    @pytest.fixture
    def xpub(self):
        with zmq.Context() as context:
            socket = context.socket(zmq.XPUB)
            socket.setsockopt(zmq.XPUB_VERBOSE, 1)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVTIMEO, 5000)
            yield socket
            socket.close()

    @staticmethod
    def connect(xpub, port, *topics):
        sub = xpub.context.socket(zmq.SUB)
        sub.setsockopt(zmq.LINGER, 0)
        sub.setsockopt(zmq.RCVTIMEO, 5000)
        for topic in topics:
            sub.subscribe(topic)
        sub.connect(f"tcp://127.0.0.1:{port}")
        return sub

    def test_changes_are_on_when_the_notice_of_progress_is_read_and_order_is_kept(self, xpub):
        port = xpub.bind_to_random_port("tcp://127.0.0.1")
        sub = self.connect(xpub, port, b"kv/a", b"progress/a")
        assert [xpub.recv(), xpub.recv()] == [b"\x01kv/a", b"\x01progress/a"]
        for topic in (b"progress/a", b"kv/ab", b"kv/b", b"progress/a"):
            xpub.send_multipart([topic, b""])
        assert [sub.recv_multipart()[0] for _ in range(3)] == [
            b"progress/a",
            b"kv/ab",
            b"progress/a",
        ]
        sub.close()

    def test_each_subscription_is_told_and_only_the_last_unsubscription(self, xpub):
        port = xpub.bind_to_random_port("tcp://127.0.0.1")
        first = self.connect(xpub, port, b"kv/a")
        assert xpub.recv() == b"\x01kv/a"
        second = self.connect(xpub, port, b"kv/a")
        assert xpub.recv() == b"\x01kv/a"
        first.close()
        third = self.connect(xpub, port, b"kv/z")
        assert xpub.recv() == b"\x01kv/z"  # nothing of the first one's end before it
        second.close()
        assert xpub.recv() == b"\x00kv/a"
        third.close()

    def test_a_sub_that_is_disconnected_may_abort_the_process(self):
        """Why bus/peer_link.py never does it. If this fails, libzmq has mended it."""
        program = textwrap.dedent("""
            import zmq
            context = zmq.Context()
            pub, sub = context.socket(zmq.XPUB), context.socket(zmq.SUB)
            port = pub.bind_to_random_port("tcp://127.0.0.1")
            sub.subscribe(b"")
            sub.connect(f"tcp://127.0.0.1:{port}")
            pub.recv()
            pub.send_multipart([b"topic", b"payload"])
            assert sub.poll(5000)  # it has looked at the topic
            sub.disconnect(f"tcp://127.0.0.1:{port}")
            sub.recv()
            sub.recv()
        """)
        ended = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, timeout=30, check=False
        )
        assert ended.returncode == -signal.SIGABRT
        assert b"fq.cpp" in ended.stderr


@pytest.mark.parametrize("closes", [True, False])
def test_a_silent_end_of_a_handshake_is_told_from_one_that_closes(closes):
    """``paxosd/bus/handshake.py`` goes by the errno."""
    with socket.create_server(("127.0.0.1", 0)) as server, zmq.Context() as context:
        dialled = context.socket(zmq.DEALER)
        dialled.setsockopt(zmq.LINGER, 0)
        dialled.setsockopt(zmq.HANDSHAKE_IVL, 200)
        dialled.curve_publickey, dialled.curve_secretkey = zmq.curve_keypair()
        dialled.curve_serverkey = zmq.curve_keypair()[0]
        seen = dialled.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        seen.setsockopt(zmq.RCVTIMEO, 10_000)
        dialled.connect(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        taken, _ = server.accept()
        with taken:
            if closes:
                taken.shutdown(socket.SHUT_WR)
            said = parse_monitor_message(seen.recv_multipart())["value"]
        assert (said == errno.EAGAIN) is not closes
        dialled.disable_monitor()
        seen.close()
        dialled.close()
