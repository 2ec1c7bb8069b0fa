"""When a connection counts as dead, by what the kernel received on it."""

import socket

from paxosd.net.silence import ASK_MS, SILENCE_MS, UNKNOWN, Silence, Traffic, Verdict, traffic_of

DEAD_MS = ASK_MS + SILENCE_MS


def looks(silence, times_ms, traffic=UNKNOWN, *, waiting=True):
    """What was found at each time."""
    return [silence.look(ms, traffic, waiting=waiting) for ms in times_ms]


class TestSilence:
    def test_it_is_asked_once_and_then_given_up(self):
        silence = Silence()
        silence.sent(0)
        times = [0, ASK_MS - 1, ASK_MS, ASK_MS + 1, DEAD_MS - 1, DEAD_MS]
        assert looks(silence, times) == [
            Verdict.FINE, Verdict.FINE, Verdict.ASK, Verdict.FINE, Verdict.FINE, Verdict.DEAD,
        ]  # fmt: skip

    def test_who_waits_for_nothing_asks_nothing(self):
        silence = Silence()
        assert looks(silence, range(0, 60_000, 250), waiting=False) == [Verdict.FINE] * 240
        assert not silence.is_watching

    def test_calls_that_end_before_it_is_found_add_up(self):
        silence = Silence()
        for now_ms in range(0, DEAD_MS, 500):
            silence.sent(now_ms)
            assert silence.look(now_ms, UNKNOWN, waiting=False) is not Verdict.DEAD
        assert silence.look(DEAD_MS, UNKNOWN, waiting=False) is Verdict.DEAD

    def test_a_message_ends_the_silence(self):
        silence = Silence()
        looks(silence, [0, ASK_MS])
        silence.heard()
        assert looks(silence, [DEAD_MS, DEAD_MS + ASK_MS]) == [Verdict.FINE, Verdict.ASK]

    def test_so_does_a_part_of_one(self):
        """A large answer on a slow link: nobody is asked, and nothing given up."""
        silence = Silence()
        silence.sent(0)
        for now_ms in range(0, 100_000, 250):
            assert looks(silence, [now_ms], Traffic(now_ms + 1)) == [Verdict.FINE]

    def test_a_request_on_its_way_counts_as_long_as_it_is_taken(self):
        """Of what was sent all the rest was taken, and nothing comes back: that is silence."""
        silence = Silence()
        silence.sent(0)
        for now_ms in range(0, 100_000, 250):
            assert looks(silence, [now_ms], Traffic(0, now_ms, 5000)) == [Verdict.FINE]
        begin_ms = 100_000
        found = looks(silence, range(begin_ms, begin_ms + 2 * DEAD_MS, 250), Traffic(0, 200_000, 0))
        assert Verdict.ASK in found
        assert Verdict.DEAD in found

    def test_small_requests_that_a_stopped_process_never_reads_are_no_sign_of_life(self):
        """Its kernel acknowledges each."""
        silence = Silence()
        found = []
        for number, now_ms in enumerate(range(0, 2 * DEAD_MS, 250)):
            silence.sent(now_ms)
            found += looks(silence, [now_ms], Traffic(0, 100 * number, 0))
        assert Verdict.DEAD in found

    def test_what_came_before_it_was_sent_is_no_answer(self):
        silence = Silence()
        assert looks(silence, [0], Traffic(10), waiting=False) == [Verdict.FINE]
        silence.sent(50_000)
        found = looks(silence, [50_000, 50_000 + ASK_MS], Traffic(99), waiting=False)
        assert found == [Verdict.FINE, Verdict.ASK]

    def test_what_came_while_nobody_looked_counts(self):
        silence = Silence()
        assert looks(silence, [0], Traffic(10)) == [Verdict.FINE]
        assert looks(silence, [ASK_MS], Traffic(10)) == [Verdict.ASK]
        assert looks(silence, [600_000], Traffic(11)) == [Verdict.FINE]


class TestTraffic:
    def test_of_a_connection(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            one = socket.create_connection(server.getsockname())
            other, _ = server.accept()
            with one, other:
                assert traffic_of(one.fileno()).received == 0
                other.sendall(b"x" * 1000)
                assert one.recv(1000, socket.MSG_WAITALL)
                assert traffic_of(one.fileno()).received == 1000
                one.sendall(b"y" * 300)
                assert other.recv(300, socket.MSG_WAITALL)
                while traffic_of(one.fileno()).waiting:
                    pass
                assert traffic_of(one.fileno()).acked >= 300
                assert one.fileno() >= 0, "it is still its owner's"

    def test_of_what_is_none(self, tmp_path):
        with (tmp_path / "file").open("wb") as file:
            assert traffic_of(file.fileno()) == UNKNOWN
            number = file.fileno()
        assert traffic_of(number) == UNKNOWN
        assert traffic_of(-1) == UNKNOWN
