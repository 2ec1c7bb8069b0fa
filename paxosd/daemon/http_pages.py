"""What is served over HTTP: /metrics, /livez, /readyz. Called in the HTTP thread alone."""

from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from paxosd.daemon.http_server import TEXT, Answer, Request, in_words
from paxosd.daemon.metrics_board import STALE_MS, MetricsBoard
from paxosd.host.clock import precise_clock_ms
from paxosd.metrics.exposition import expose, is_open
from paxosd.metrics.health import Check, liveness, passes, readiness, report
from paxosd.metrics.observation import Observation

PATHS = ("/metrics", "/livez", "/readyz")


class HttpPages:
    """The pages of one node."""

    def __init__(self, board: MetricsBoard) -> None:
        self._board = board
        self._seen: Observation | None = None
        self._texts: dict[bool, tuple[str, bytes]] = {}
        """Whether in OpenMetrics → what that observation is exposed as: to make it takes some 5 ms
        beside the loop, in the same interpreter, and many may ask."""

    def ask(self) -> int:
        """Have the loop make an observation."""
        return self._board.ask()

    def answer(self, request: Request, waited_ms: float) -> Answer | None:
        """The answer; None: it waits for an observation."""
        try:
            url = urlsplit(request.target)
            query = parse_qs(url.query, keep_blank_values=True, max_num_fields=10)
        except ValueError:
            return in_words(HTTPStatus.BAD_REQUEST, "this is no path of a page")
        verbose = "verbose" in query
        if url.path == "/livez":
            return _health("alive", self._alive(), verbose=verbose)
        if url.path not in PATHS:
            return in_words(HTTPStatus.NOT_FOUND, f"there is {', '.join(PATHS)}")
        seen = self._board.taken(request.asked, waited_ms)
        if seen is None:
            if waited_ms < STALE_MS:
                return None
            return in_words(HTTPStatus.SERVICE_UNAVAILABLE, "the loop has made no turn yet")
        if url.path == "/readyz":
            checks = [*self._alive(), *readiness(seen)]
            return _health("ready", checks, verbose=verbose)
        return Answer(HTTPStatus.OK, *self._exposed(seen, request.accept))

    def _exposed(self, seen: Observation, accept: str) -> tuple[str, bytes]:
        if seen is not self._seen:
            self._seen, self._texts = seen, {}
        as_open = is_open(accept)
        if as_open not in self._texts:
            self._texts[as_open] = expose(seen, accept)
        return self._texts[as_open]

    def _alive(self) -> list[Check]:
        return liveness(self._board.turned_ms, precise_clock_ms())


def _health(what: str, checks: list[Check], *, verbose: bool) -> Answer:
    status = HTTPStatus.OK if passes(checks) else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(status, TEXT, report(what, checks, verbose=verbose).encode())
