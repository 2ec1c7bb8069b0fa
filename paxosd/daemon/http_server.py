"""A small HTTP server in one thread: a request, its answer, the end of the connection.

    accept ──► read the head ──► pages.ask() … pages.answer() ──► write ──► close

One thread and ready-made descriptors, nothing blocks: who sends nothing, or does not read, costs a
place in the table for CONNECTION_S, and the oldest one makes room for a new one. The loop of the
node never waits for this thread (``metrics_board.py``). The head is parsed by the standard library.
"""

import http.client
import io
import os
import selectors
import socket
import threading
from http import HTTPStatus
from typing import NamedTuple, Protocol

from paxosd.config.http_address import HttpAddress
from paxosd.host.clock import precise_clock_ms

CONNECTIONS_MAX = 16
CONNECTION_MS = 5000.0
"""From its begin to its end, whatever it does."""
HEAD_BYTES_MAX = 8192
READ_BYTES = 4096
PENDING_MS = 10.0
"""How often the thread looks whether an answer is there."""
IDLE_MS = 1000.0


class HttpError(Exception):
    """The daemon cannot listen for HTTP. Ends it with the exit code of a BindError."""


class Request(NamedTuple):
    """``target``: path and query, as they were sent. ``accept``: that header, or ""."""

    target: str
    accept: str
    asked: int = 0
    """Which answer it waits for; see :class:`Pages`."""


class Answer(NamedTuple):
    """The answer to one request, whole."""

    status: HTTPStatus
    content_type: str
    body: bytes


TEXT = "text/plain; charset=utf-8"


def in_words(status: HTTPStatus, words: str) -> Answer:
    """An answer of one line."""
    return Answer(status, TEXT, f"{words}\n".encode())


class Pages(Protocol):
    """What is served. ``ask`` begins a request, and ``answer`` is called until it has one."""

    def ask(self) -> int: ...

    def answer(self, request: Request, waited_ms: float) -> Answer | None: ...


class _Connection:
    def __init__(self, link: socket.socket, now_ms: float) -> None:
        self.link = link
        self.begun_ms = now_ms
        self.asked_ms = 0.0
        self.head = bytearray()
        self.request: Request | None = None
        self.with_body = True
        self.unsent = memoryview(b"")


class HttpServer:
    """Listens and serves ``pages`` until :meth:`close`."""

    def __init__(self, address: HttpAddress, pages: Pages) -> None:
        """Raises HttpError."""
        self._pages = pages
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(tuple(address))
            self._listener.listen(CONNECTIONS_MAX)
        except OSError as error:
            self._listener.close()
            raise HttpError(
                f"cannot listen for HTTP on {address.host}:{address.port} (http.listen): "
                f"{error.strerror}; stop what has the port, or configure another"
            ) from None
        self._listener.setblocking(False)
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_fd, selectors.EVENT_READ)
        self._connections: dict[int, _Connection] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="paxosd-http", daemon=True)
        self._thread.start()

    def use(self, pages: Pages) -> None:
        """Serve these from now on."""
        self._pages = pages

    def close(self) -> None:
        """Stop listening, and end all connections. It waits for the thread, which waits for
        nothing."""
        self._closing = True
        os.eventfd_write(self._wake_fd, 1)
        self._thread.join()
        for connection in list(self._connections.values()):
            self._end(connection)
        self._selector.close()
        self._listener.close()
        os.close(self._wake_fd)

    # -- the thread

    def _run(self) -> None:
        while not self._closing:
            waits = any(each.request is not None for each in self._connections.values())
            timeout_ms = PENDING_MS if waits else IDLE_MS
            for key, _ in self._selector.select(timeout_ms / 1000 if self._connections else None):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fd in self._connections:
                    self._advance(self._connections[key.fd])
            now_ms = precise_clock_ms()
            for connection in list(self._connections.values()):
                if now_ms - connection.begun_ms >= CONNECTION_MS:
                    self._end(connection)
                elif connection.request is not None:
                    self._try_answer(connection, now_ms)

    def _accept(self) -> None:
        try:
            link, _ = self._listener.accept()
        except OSError:
            # It is gone again; or there is no descriptor left, and this thread must not spin on it.
            threading.Event().wait(PENDING_MS / 1000)
            return
        link.setblocking(False)
        if len(self._connections) >= CONNECTIONS_MAX:
            self._end(min(self._connections.values(), key=lambda each: each.begun_ms))
        self._connections[link.fileno()] = _Connection(link, precise_clock_ms())
        self._selector.register(link, selectors.EVENT_READ)

    def _advance(self, connection: _Connection) -> None:
        """Go on with what the socket is ready for."""
        try:
            if connection.unsent:
                self._write(connection)
            else:
                self._read(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._end(connection)

    def _read(self, connection: _Connection) -> None:
        data = connection.link.recv(READ_BYTES)
        if not data:
            self._end(connection)
            return
        if connection.request is not None:
            return  # there is one request a connection
        connection.head += data
        if b"\r\n\r\n" in connection.head:
            self._take_head(connection)
        elif len(connection.head) > HEAD_BYTES_MAX:
            too_large = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._send(connection, in_words(too_large, "the head of the request is too large"))

    def _take_head(self, connection: _Connection) -> None:
        first, _, rest = bytes(connection.head).partition(b"\r\n")
        words = first.decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._send(connection, in_words(HTTPStatus.BAD_REQUEST, "this is no HTTP/1 request"))
            return
        method, target, _ = words
        connection.with_body = method != "HEAD"
        if method not in ("GET", "HEAD"):
            words_405 = "only GET and HEAD: nothing can be changed here"
            self._send(connection, in_words(HTTPStatus.METHOD_NOT_ALLOWED, words_405))
            return
        try:
            headers = http.client.parse_headers(io.BytesIO(rest))
        except http.client.HTTPException:
            self._send(connection, in_words(HTTPStatus.BAD_REQUEST, "the headers are malformed"))
            return
        accept = headers.get("Accept", "")
        connection.asked_ms = precise_clock_ms()
        connection.request = Request(target, accept, self._pages.ask())

    def _try_answer(self, connection: _Connection, now_ms: float) -> None:
        assert connection.request is not None
        waited_ms = now_ms - connection.asked_ms
        try:
            answer = self._pages.answer(connection.request, waited_ms)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next request is served
            words = f"this is a fault of the program: {error!r}"
            answer = in_words(HTTPStatus.INTERNAL_SERVER_ERROR, words)
        if answer is not None:
            connection.request = None
            self._send(connection, answer)

    def _send(self, connection: _Connection, answer: Answer) -> None:
        head = (
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
            f"Content-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\n"
        )
        body = answer.body if connection.with_body else b""
        connection.unsent = memoryview(head.encode("latin-1") + body)
        self._selector.modify(connection.link, selectors.EVENT_WRITE)
        try:
            self._write(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._end(connection)

    def _write(self, connection: _Connection) -> None:
        sent = connection.link.send(connection.unsent)
        connection.unsent = connection.unsent[sent:]
        if not connection.unsent:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        if self._connections.pop(connection.link.fileno(), None) is not None:
            self._selector.unregister(connection.link)
            connection.link.close()
