"""The HTTP thread against clients that do as they like; and the board between it and the loop."""

import contextlib
import socket
from http import HTTPStatus
from unittest.mock import Mock

import pytest

from paxosd.config.http_address import HttpAddress
from paxosd.core.types import NULL_BALLOT, Ballot
from paxosd.daemon import http_pages
from paxosd.daemon import monitoring as monitoring_module
from paxosd.daemon.http_pages import HttpPages
from paxosd.daemon.http_server import CONNECTIONS_MAX, HttpError, HttpServer, Request, in_words
from paxosd.daemon.metrics_board import STALE_MS, MetricsBoard
from paxosd.daemon.monitoring import Monitoring, StartingPages
from paxosd.host.clock import precise_clock_ms
from paxosd.metrics.exposition import OPENMETRICS, expose
from tests.metrics.seen import observation
from tests.processes.ports import free_ports


class Echo:
    """Answers with what was asked."""

    def ask(self):
        return 1

    def answer(self, request, waited_ms):
        if request.target == "/fault":
            raise ZeroDivisionError
        return in_words(HTTPStatus.OK, f"{request.target} {request.accept}")


@pytest.fixture
def address():
    return HttpAddress("127.0.0.1", free_ports(1)[0])


@pytest.fixture
def served(address):
    with contextlib.closing(HttpServer(address, Echo())):
        yield address


def send(address, data):
    link = socket.create_connection(address, timeout=20)
    link.sendall(data)
    return link


def read(link):
    """(status, body) until the server closes."""
    with link:
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while part := link.recv(65536):
                got += part
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body.decode()


def ask(address, target, head="", method="GET"):
    return read(send(address, f"{method} {target} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode()))


def test_a_request_gets_its_answer_and_the_connection_ends(served):
    assert ask(served, "/a?b", "Accept: text/x\r\n") == (200, "/a?b text/x\n")
    assert ask(served, "/a", method="HEAD") == (200, "")


def test_a_head_may_come_in_pieces(served):
    link = send(served, b"GET /pieces HT")
    link.sendall(b"TP/1.1\r\n\r")
    link.sendall(b"\n")
    assert read(link) == (200, "/pieces \n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", 405),
        (b"hello\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\na: " + b"x" * 8192, 431),
        (b"GET /fault HTTP/1.1\r\n\r\n", 500),
        (b"GET / HTTP/1.1\r\n\xff\xfe: \x00\r\n\r\n", 200),
    ],
)
def test_whatever_comes_the_next_request_is_served(served, data, status):
    assert read(send(served, data))[0] == status
    assert ask(served, "/next") == (200, "/next \n")


def test_who_leaves_at_once_harms_nobody(served):
    for data in (b"", b"GET", b"GET / HTTP/1.1\r\n\r\n"):
        send(served, data).close()
    assert ask(served, "/next")[0] == 200


def test_connections_that_send_nothing_make_room(served):
    """There are never more than CONNECTIONS_MAX: the oldest ones are ended."""
    with contextlib.ExitStack() as opened:
        silent = [opened.enter_context(send(served, b"GET")) for _ in range(CONNECTIONS_MAX + 2)]
        assert ask(served, "/next") == (200, "/next \n")
        for link in silent[:2]:
            link.setblocking(False)  # by now, and not when its time is over
            with contextlib.suppress(ConnectionResetError):
                assert link.recv(1) == b""


def test_a_port_in_use_is_said(served):
    with pytest.raises(HttpError, match=rf"127.0.0.1:{served.port} \(http.listen\).*in use"):
        HttpServer(served, Echo())


def test_close_ends_it(address):
    server = HttpServer(address, Echo())
    with send(address, b"GET"):
        server.close()
    with pytest.raises(ConnectionRefusedError):
        send(address, b"")


def test_a_node_that_starts_is_alive_and_not_ready(address):
    with contextlib.closing(HttpServer(address, StartingPages())) as server:
        assert ask(address, "/livez?x") == (200, "alive\n")
        assert ask(address, "/readyz")[0] == 503
        server.use(Echo())
        assert ask(address, "/readyz") == (200, "/readyz \n")


class TestBoard:
    @pytest.fixture
    def made(self):
        return []

    @pytest.fixture
    def board(self, made):
        def observe(now_ms):
            made.append(now_ms)
            return observation(at_ms=now_ms)

        return MetricsBoard(observe, 0.0)

    def test_the_loop_observes_when_asked_alone(self, board, made):
        for now_ms in (1.0, 2.0, 3.0):
            board.look(now_ms)
        assert made == [1.0]  # the first one, before anybody asks
        numbers = {board.ask() for _ in range(100)}
        board.look(4.0)
        board.look(5.0)
        assert made == [1.0, 4.0]
        assert [board.taken(number, 0.0).at_ms for number in numbers] == [4.0]
        assert board.turned_ms == 5.0

    def test_who_waited_long_gets_the_last_one(self, board):
        board.look(1.0)
        number = board.ask()
        assert board.taken(number, 0.0) is None
        assert board.taken(number, STALE_MS).at_ms == 1.0


def test_a_leader_that_is_heard_again_is_no_other(address, monkeypatch):
    monkeypatch.setattr(monitoring_module, "MetricsBoard", Mock())
    with contextlib.closing(
        Monitoring(Mock(**{"http.listen": f"127.0.0.1:{address.port}"}))
    ) as watch:
        replica = Mock()
        watch.start(replica, Mock(), Mock(), Mock(), Mock(), 0.0)
        seen = []
        for leader, ballot in [
            ("", NULL_BALLOT), ("n1", Ballot(3, "n1")), ("", Ballot(3, "n1")),
            ("n1", Ballot(3, "n1")), ("n1", Ballot(4, "n1")),
        ]:  # fmt: skip
            replica.node.leader, replica.node.leader_ballot = leader, ballot
            watch.look(0.0)
            seen.append(watch.leader_changes)
    assert seen == [0, 1, 1, 1, 2]


class TestPages:
    @pytest.fixture
    def board(self):
        board = MetricsBoard(lambda now_ms: observation(), precise_clock_ms())
        board.look(precise_clock_ms())
        return board

    @pytest.fixture
    def pages(self, board):
        return HttpPages(board)

    def ask(self, pages, target):
        answer = pages.answer(Request(target, "", 1), 0.0)
        return answer.status.value, answer.body.decode()

    def test_the_three(self, pages):
        assert self.ask(pages, "/livez") == (200, "alive\n")
        assert self.ask(pages, "/readyz") == (200, "ready\n")
        assert "[+] loop: ok\n[+] leader: ok\n" in self.ask(pages, "/readyz?verbose")[1]
        assert "\npaxosd_is_leader 1.0\n" in self.ask(pages, "/metrics")[1]

    def test_an_observation_is_exposed_once_however_many_ask(self, board, pages, monkeypatch):
        made = []

        def counted(seen, accept):
            made.append(accept)
            return expose(seen, accept)

        monkeypatch.setattr(http_pages, "expose", counted)
        first, second = (pages.answer(Request("/metrics", "", 1), 0.0) for _ in range(2))
        other = pages.answer(Request("/metrics", OPENMETRICS, 1), 0.0)
        assert made == ["", OPENMETRICS]
        assert first == second != other
        pages.ask()
        board.look(precise_clock_ms())
        pages.answer(Request("/metrics", "", 2), 0.0)
        assert made == ["", OPENMETRICS, ""]

    @pytest.mark.parametrize("target", ["/", "/metrics/", "*", "", "//[", "/x?" + "a&" * 50])
    def test_others(self, pages, target):
        assert self.ask(pages, target)[0] in (400, 404)

    def test_a_stuck_loop_is_neither_alive_nor_ready(self):
        board = MetricsBoard(lambda now_ms: observation(), precise_clock_ms() - 60_000)
        board.look(precise_clock_ms() - 60_000)
        for target in ("/livez", "/readyz"):
            status, said = self.ask(HttpPages(board), target)
            assert status == 503
            assert said.startswith("[-] loop: the loop made no turn for 60.")

    def test_before_the_first_turn(self):
        pages = HttpPages(MetricsBoard(lambda now_ms: observation(), 0.0))
        request = Request("/readyz", "", pages.ask())
        assert pages.answer(request, 0.0) is None
        assert pages.answer(request, STALE_MS).status == 503
