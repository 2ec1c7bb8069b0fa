"""What the watch protocol assumes of ZeroMQ."""

import signal
import subprocess
import sys
import textwrap

import pytest
import zmq


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
