import pytest

from paxosd.config.settings import nearest
from paxosd.host.durations import parse_duration_ms
from paxosd.net.endpoints import Endpoint


class TestNearest:
    def test_a_misspelt_word_gets_the_nearest(self):
        assert nearest("heartbaet_ms", ["heartbeat_ms", "window"]) == 'did you mean "heartbeat_ms"?'

    def test_a_strange_word_gets_all_of_them(self):
        assert nearest("zzz", ["beta", "alpha"]) == "known: alpha, beta"


class TestEndpoint:
    @pytest.mark.parametrize(
        "text",
        ["tcp://127.0.0.1:1", "tcp://[::1]:65535", "tcp://db-1.example.org:7410"],
    )
    def test_reads_and_prints_the_same(self, text):
        assert str(Endpoint.parse(text)) == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "127.0.0.1:7410",
            "tcp://127.0.0.1",
            "tcp://127.0.0.1:0",
            "tcp://127.0.0.1:65536",
            "tcp://*:7410",
            "tcp://[::zz]:7410",
            "tcp://[1.2.3]:7410",
            "ipc:///run/x",
            "tcp://a b:1",
            "tcp://h:7410/",
        ],
    )
    def test_refuses_other_forms_and_shows_them(self, text):
        with pytest.raises(ValueError, match="tcp://") as caught:
            Endpoint.parse(text)
        assert text in str(caught.value)

    def test_moves_to_another_host_with_or_without_brackets(self):
        endpoint = Endpoint.parse("tcp://node:7410")
        assert str(endpoint.on_host("::")) == "tcp://[::]:7410"
        assert str(endpoint.on_host("[::]")) == "tcp://[::]:7410"
        assert str(endpoint.on_host("0.0.0.0")) == "tcp://0.0.0.0:7410"


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "expected_ms"),
        [
            ("5s", 5000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1.5s", 1500),
            ("2", 2000),
            ("1h", 3_600_000),
            ("365d", 365 * 24 * 3_600_000),
        ],
    )
    def test_reads(self, text, expected_ms):
        assert parse_duration_ms(text) == expected_ms

    @pytest.mark.parametrize("text", ["", "s", "-1s", "5 days", "1e3", "never"])
    def test_refuses(self, text):
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration_ms(text)
