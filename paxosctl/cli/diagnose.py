"""From "it did not work" to "this is wrong with that node, and this is what to do".

When a call has failed, each endpoint is looked at once more, for a short time. Those that are
connected are asked for their status, which distinguishes "no leader", "no quorum" and "silent". For
the others a TCP connection distinguishes "refused", "no such host" and "no answer".
"""

import socket
import time
from enum import Enum

from paxosctl.cli.health import (
    lost_for_good,
    memory_words,
    state_words,
    voters_seen,
    waiting_words,
)
from paxosctl.cli.survey import Answer, ask_all
from paxosctl.client.client import Client
from paxosctl.client.errors import (
    WORKS,
    ClientError,
    NotSubmittedError,
    OutcomeUnknownError,
    RefusedError,
    beside,
)
from paxosctl.client.reach import open_tcp
from paxosd.core.client.endpoints import HANDSHAKE_REFUSED, EndpointState
from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.core.effects import BUSY, INVALID, REFUSALS
from paxosd.core.status import NodeStatus
from paxosd.host.wording import lasted, listed
from paxosd.net.resolver import NO_HOST, UNRESOLVED, ResolveError

STATUS_S = 0.4
TCP_S = 0.25
TCP_TOTAL_S = 0.5
"""For all endpoints that are not connected."""
ZEROMQ_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
"""The first ten bytes of every connection, from either side."""
GREETING_BYTES_MAX = 64
GREETING_S = 0.1
"""How long to wait after a greeting: a node without room for a connection ends it then."""


def diagnose(client: Client, error: ClientError) -> list[tuple[str, str]]:
    """``(endpoint, what is wrong and what to do)`` for each endpoint of interest; takes up to
    about half a second. Nothing for a refusal, which says all itself: but that of a request which a
    node may not know, being older than this program."""
    if error.code == INVALID:
        return _older_nodes(client)
    if isinstance(error, RefusedError) or error.code in {"fenced", "sessions_full"}:
        return []
    if isinstance(error, OutcomeUnknownError) and not error.troubles:
        return []
    timeout_s = client.timeout_s
    client.timeout_s = STATUS_S
    try:
        states = {each.endpoint: each for each in client.troubles()}
        up = [name for name, each in states.items() if each.state is not EndpointState.DOWN]
        answers = ask_all(client, up, "status")
        # One that was still connecting when the call ended may be found dead only now.
        states = {each.endpoint: each for each in client.troubles()}
    finally:
        client.timeout_s = timeout_s
    # What has become of the names that were asked for by now.
    states |= {e.endpoint: e for e in client.troubles() if e.message.startswith(UNRESOLVED)}
    final = lost_for_good(each.status for each in answers.values() if each.status is not None)
    busy = {each.endpoint: each.message for each in error.troubles if each.code == BUSY}
    lines = []
    until_s = time.monotonic() + TCP_TOTAL_S
    for name, trouble in states.items():
        answer = answers.get(name)
        silent = answer is None or isinstance(answer.error, NotSubmittedError)
        unresolved = trouble.message.startswith(UNRESOLVED)
        if trouble.code in HANDSHAKE_REFUSED:
            lines.append((name, beside(name, trouble.message)))
        elif answer is None or unresolved or (silent and trouble.state is not EndpointState.UP):
            left_s = min(TCP_S, until_s - time.monotonic())
            lines.append((name, unreachable_words(name, trouble.message, left_s)))
        else:
            lines.append((name, _reachable(answer, busy.get(name), final)))
    return lines


def _older_nodes(client: Client) -> list[tuple[str, str]]:
    """The nodes of versions that know a lower feature level than this program, in one line: what
    came with a later level they refuse in words of the protocol, for they have no others."""
    timeout_s = client.timeout_s
    client.timeout_s = STATUS_S
    try:
        up = [each.endpoint for each in client.troubles() if each.state is not EndpointState.DOWN]
        answers = ask_all(client, up, "status")
    finally:
        client.timeout_s = timeout_s
    older = {
        name: each.status
        for name, each in answers.items()
        if each.status is not None and each.status.feature_level_known < LEVEL_LATEST
    }
    if not older:
        return []
    first, *_ = older
    names = listed([status.node for status in older.values()])
    words = (
        f"{names} {'is' if len(older) == 1 else 'are'} of an earlier version, and this paxosctl "
        f"knows feature level {LEVEL_LATEST}: a node refuses what it does not know; the cluster is "
        f"at feature level {older[first].feature_level} (paxosctl cluster show)"
    )
    return [(first, words)]


def unreachable_words(endpoint: str, seen: str, left_s: float) -> str:
    """Why a node cannot be reached, and what to do, by one more try that takes about ``left_s``.
    ``seen``: what the client has seen of it."""
    if seen.startswith(UNRESOLVED):
        return _unresolved(seen)
    if left_s <= 0:
        return seen or "no connection to it was made in time"
    try:
        with open_tcp(endpoint, left_s)[0] as connection:
            return _LISTENERS[_listener(connection)]
    except ConnectionRefusedError:
        return "connection refused: no daemon listens there; start it, or check --endpoints"
    except ResolveError as error:
        return _unresolved(str(error))
    except TimeoutError:
        return "no answer from the host: it is down, or a firewall drops what is sent to it"
    except (OSError, ValueError) as error:
        return f"cannot be reached: {error}"


def _unresolved(words: str) -> str:
    if words.endswith(NO_HOST):
        return f"{words}: check --endpoints"
    return f"{words}: check the name server, or use an address in --endpoints"


class _Listener(Enum):
    """Who accepts connections on a port."""

    ZEROMQ = "it says what ZeroMQ says first"
    SILENT = "nothing comes from it, whatever is sent"
    FULL = "it says that, and hangs up"
    ENDS = "it hangs up at once"
    OTHER = "it says something else"


_LISTENERS = {
    _Listener.ZEROMQ: (
        "it speaks ZeroMQ, but no client's connection to it came about: it has only just started "
        "(try again), or this is another port of a node (its peer or events port), or no paxosd"
    ),
    _Listener.FULL: (
        "it ends new connections, for it has as many as it may have (bus.connections_full in its "
        "log): close some, or raise its limit on file descriptors"
    ),
    _Listener.ENDS: (
        "it hangs up at once: it does not speak ZeroMQ, is it the right host and port? Or it is a "
        "paxosd node that ends new connections, for it has as many as it may have "
        "(bus.connections_full in its log)"
    ),
    _Listener.SILENT: (
        "something listens there, but says nothing: the daemon hangs or is stopped (its machine "
        "takes the connection, the process does not), or it is no paxosd"
    ),
    _Listener.OTHER: (
        "something else listens there: it does not speak ZeroMQ. Is it the right host and port?"
    ),
}


def _listener(connection: socket.socket) -> _Listener:
    """A ZeroMQ socket sends its signature at once, without being asked. Most others say something
    at once, too, or do so after an empty line; a process that is stopped does neither. A node that
    has too many connections ends this one, mostly once it has said what it is."""
    connection.settimeout(TCP_S)
    for asked in (b"", b"\r\n\r\n"):
        try:
            connection.sendall(asked)
            first = connection.recv(len(ZEROMQ_SIGNATURE))
        except TimeoutError:
            continue
        except OSError:
            return _Listener.OTHER
        if not first:
            return _Listener.OTHER if asked else _Listener.ENDS
        if not first.startswith(ZEROMQ_SIGNATURE[:1]):
            return _Listener.OTHER
        return _Listener.FULL if _hangs_up(connection) else _Listener.ZEROMQ
    return _Listener.SILENT


def _hangs_up(connection: socket.socket) -> bool:
    """Whether it ends the connection before this side has said what it is."""
    until_s = time.monotonic() + GREETING_S  # in all: it may send a byte now and then
    try:
        while (left_s := until_s - time.monotonic()) > 0:
            connection.settimeout(left_s)
            if not connection.recv(GREETING_BYTES_MAX):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def _reachable(answer: Answer, busy: str | None, final: tuple[str, str] | None) -> str:
    """``busy``: what the node said when it refused for that; None: it did not. ``final``: see
    :func:`paxosctl.cli.health.lost_for_good`."""
    if answer.error is not None:
        if isinstance(answer.error, RefusedError):
            return f"it refuses to talk: {answer.error}"
        return (
            "connected, but it does not answer: the daemon hangs, is stopped or overloaded, or "
            "this is not a client port"
        )
    status = answer.status
    assert status is not None
    if busy is not None:
        reason = busy.partition(f"{REFUSALS[BUSY]}: ")[2]
        if reason:  # not for its queue
            return f"{status.node} cannot say now: {reason}; try again"
        return f"{status.node} is busy, its queue is full: try again, send less at a time"
    if final is not None:
        best, words = final
        return words if status.node == best else f"no quorum, and none to come: see {best}"
    return _of_status(status)


def _of_status(status: NodeStatus) -> str:
    node = status.node
    seen = voters_seen(status)
    total, quorum = len(status.voters), status.quorum
    if not status.voters:
        return f"{node} is to join a cluster, and has not heard from a member of it yet"
    if status.role in ("diverged", "disputed"):
        return "; ".join(state_words([status]))
    if status.unconfirmed_by and status.role == "newcomer" and not status.leader:
        return waiting_words(status)
    if seen.voting < quorum:
        advice = [f"no quorum: {node} counts {seen.voting} of {total} voters and needs {quorum}"]
        if seen.silent:
            advice.append(f"start or reconnect {listed(seen.silent)}")
        if others := [name for name in seen.voteless if name != node]:
            which = "its" if len(others) == 1 else "their"
            advice.append(f"{listed(others)}: up, but without a vote; see {which} status")
        if node in seen.voteless:
            advice.append(memory_words(status) or f"{node} itself may not vote yet{_waits(status)}")
        return "; ".join(advice)
    if status.memory == "lost" and not status.leader:
        return memory_words(status)
    if status.leader == node and status.role != "leader":
        return f"{node} does not lead yet, or no more; try again"
    if not status.leader:
        return f"no leader: {node} knows of none; an election takes a second or two, try again"
    if status.leader == node:
        return f"{node} leads, and {seen.voting} of {total} voters follow it{WORKS}"
    return f"{node} follows {status.leader}{WORKS}"


def _waits(status: NodeStatus) -> str:
    """Which members a node waits for until it may vote."""
    waits_for = status.unconfirmed_by
    since = f", for {lasted(status.unconfirmed_ms)} by now" if status.unconfirmed_ms >= 0 else ""
    return f": it waits for {listed(waits_for)}{since}" if waits_for else ""
