"""Whether this machine reaches endpoints: asked before a change of the membership counts on it.

    ask(endpoints) ── starts a thread ──► {pending}   ask(the same) ──► {results}, once

A TCP connection is made to each and closed again: that distinguishes "refused", "no such host" and
"no answer", and says nothing about which process listens there. The thread touches nothing but
sockets of its own, so that no firewall can hold up the loop; names are resolved in threads of their
own, with a deadline. One probe runs at a time.
"""

import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from errno import EINPROGRESS
from os import strerror
from typing import Any

from paxosd.net.endpoints import Endpoint, is_address
from paxosd.net.resolver import LOOKUPS, ResolveError, resolve, unresolved_words

CONNECT_S = 1.0
"""How long a connection may take; all are made at the same time."""
PROBE_S = 3.0
"""And how long all of it may take, names looked up included."""
KEPT_S = 10.0
"""Results that nobody has asked for by then are too old to be returned."""

NAMES_S = 1.5
"""And how long the name server has for all names."""

Results = dict[str, dict[str, Any]]
"""Endpoint text → ``{ok, ms, error}``."""
_Left = dict[str, int]
"""Endpoint text → how many of its addresses have not been heard of yet."""


class ProbeError(ValueError):
    """The question is refused; the text says why."""


class _Probe:
    """One question, with the thread that finds the answers."""

    def __init__(self, endpoints: Sequence[str], now_s: float) -> None:
        self.endpoints = tuple(endpoints)
        self.is_returned = False
        """Whether the answers were returned, or are too old: they are not returned again."""
        self.begun_s = now_s
        self.results: Results = {}
        """Filled by the thread, each entry once and whole."""
        parsed = {text: Endpoint.parse(text) for text in self.endpoints}
        self.thread = threading.Thread(
            target=_connect_all, args=(parsed, self.results), name="paxosd-probe", daemon=True
        )
        self.thread.start()


class Probes:
    """Answers ``ask`` at once, always; ``clock_s`` is any steady clock."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._probe: _Probe | None = None

    def ask(self, endpoints: Sequence[str]) -> dict[str, Any]:
        """Begin a probe, or say how far it is: ``{pending, results}``. What is returned as finished
        is forgotten, so that the next question is answered anew. Raises ProbeError."""
        for text in endpoints:
            try:
                Endpoint.parse(text)
            except ValueError as error:
                raise ProbeError(str(error)) from None
        now_s = self._clock_s()
        probe = self._probe
        if probe is not None and not probe.is_returned and probe.endpoints == tuple(endpoints):
            age_s = now_s - probe.begun_s
            if probe.thread.is_alive() and age_s < PROBE_S:
                return {"pending": True, "results": {}}
            probe.is_returned = True
            if age_s < KEPT_S:
                return {"pending": False, "results": _results(probe)}
        if probe is not None and probe.thread.is_alive():
            # Also one that hangs in a name server: there is never a second thread.
            raise ProbeError("busy with another probe, try again")
        self._probe = _Probe(endpoints, now_s)
        return {"pending": True, "results": {}}


def _results(probe: _Probe) -> Results:
    late = {"ok": False, "ms": PROBE_S * 1000, "error": f"no answer within {PROBE_S:g} s"}
    return {text: probe.results.get(text, late) for text in probe.endpoints}


def _connect_all(endpoints: dict[str, Endpoint], results: Results) -> None:
    """The thread: connect to all at once, note how each went."""
    begun_s = time.monotonic()
    found = _addresses({endpoint.host for endpoint in endpoints.values()})
    with selectors.DefaultSelector() as selector:
        left: _Left = {}
        for text, endpoint in endpoints.items():
            where = found[endpoint.host]
            if isinstance(where, ResolveError):
                words = unresolved_words(endpoint.host, str(where))
                results[text] = {"ok": False, "ms": 0.0, "error": words}
                continue
            left[text] = len(where)
            for address in where:
                _begin(text, endpoint.on_host(address), begun_s, selector, left, results)
        until_s = time.monotonic() + CONNECT_S
        while selector.get_map() and (left_s := until_s - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                _end(selector, key, left, results)
        for key in list(selector.get_map().values()):
            _end(selector, key, left, results, error="no answer from the host")


def _addresses(hosts: set[str]) -> dict[str, "tuple[str, ...] | ResolveError"]:
    """The addresses of each host, all of them looked up at the same time."""
    for host in hosts:
        if not is_address(host):
            LOOKUPS.ask(host, lambda *_: None)  # the waits below share these
    until_s = time.monotonic() + NAMES_S
    found: dict[str, tuple[str, ...] | ResolveError] = {}
    for host in sorted(hosts):
        try:
            found[host] = resolve(host, max(0.0, until_s - time.monotonic()))
        except ResolveError as error:
            found[host] = error
    return found


def _begin(
    text: str,
    endpoint: Endpoint,
    begun_s: float,
    selector: selectors.BaseSelector,
    left: "_Left",
    results: Results,
) -> None:
    try:
        made = socket.socket(endpoint.family, socket.SOCK_STREAM)
    except OSError as error:
        _note(text, begun_s, strerror(error.errno or 0), left, results)
        return
    made.setblocking(False)
    code = made.connect_ex((endpoint.host, endpoint.port))
    if code in (0, EINPROGRESS):
        selector.register(made, selectors.EVENT_WRITE, (text, begun_s))
    else:
        made.close()
        _note(text, begun_s, strerror(code), left, results)


def _end(
    selector: selectors.BaseSelector,
    key: selectors.SelectorKey,
    left: "_Left",
    results: Results,
    error: str = "",
) -> None:
    text, begun_s = key.data
    made = key.fileobj
    assert isinstance(made, socket.socket)
    selector.unregister(made)
    code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    made.close()
    _note(text, begun_s, error or (strerror(code) if code else ""), left, results)


def _note(text: str, begun_s: float, error: str, left: "_Left", results: Results) -> None:
    """How it went with one address: the first that is reached counts, else the last that is not."""
    left[text] -= 1
    if text in results or (error and left[text]):
        return
    ms = round((time.monotonic() - begun_s) * 1000, 3)
    results[text] = {"ok": not error, "ms": ms, "error": error}
