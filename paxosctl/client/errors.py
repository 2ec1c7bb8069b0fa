"""How a client's call can fail, and the exit code of each failure.

0    done
1    a negative answer: no such key, a cas that missed, a check that failed
3    a comparison that is not complete: what was compared agrees, but a node did not answer
2    wrong usage
69   no endpoint could be reached; nothing was submitted
71   a lock was held and is lost
72   a lock was not had in the time
73   refused: the store is as large as its quota allows
74   standard input, standard output or a file cannot be read or written
75   not submitted: safe to try again
77   refused: a limit, a permission, a history that is gone; or a key, or the lack of one
124  the outcome is unknown; the message says how to ask for it
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from paxosd.core.client.calls import Failure, NotSubmitted, OutcomeUnknown, Refused
from paxosd.core.client.endpoints import HANDSHAKE_REFUSED, UNREACHABLE, Trouble
from paxosd.core.client.watch_effects import Fail
from paxosd.core.effects import FORBIDDEN, QUOTA
from paxosd.net.resolver import UNRESOLVED

FENCED = "fenced"
"""The code of a command that an outcome query ruled out."""
NO_SNAPSHOT = "no_snapshot"
"""The code where no leader can be asked for a snapshot; the message says which nodes can be."""
CANCELLED = "cancelled"
"""The code of a call that was ended by its caller."""
CLOSED = "closed"
"""The code of a call that was under way when its client was closed."""
LEADER_UNREACHABLE = "leader_unreachable"
"""The code where the leader is needed and cannot be reached, although other nodes can."""
WORKS = ": try again"
"""The end of a diagnosis that finds a node connected to a leader and a quorum."""

EXIT_OK = 0
EXIT_NEGATIVE = 1
EXIT_USAGE = 2
EXIT_INCOMPLETE = 3
EXIT_UNREACHABLE = 69
EXIT_LOCK_LOST = 71
EXIT_NOT_ACQUIRED = 72
EXIT_QUOTA = 73
"""As EX_CANTCREAT of sysexits.h: there is no room for what was to be written."""
EXIT_STORAGE = 74
EXIT_NOT_SUBMITTED = 75
EXIT_FENCED_OFF = 76
EXIT_REFUSED = 77
EXIT_UNKNOWN = 124
EXIT_INTERRUPTED = 130


def named(name: bytes) -> str:
    """A key or the name of a lock, for people."""
    text = name.decode(errors="backslashreplace")
    return f'"{text}"' if text.isprintable() else repr(text)


def beside(endpoint: str, message: str) -> str:
    """What is wrong with an endpoint, in words that stand beside it and need not name it."""
    return message.replace(f" at {endpoint} ", " ", 1).removeprefix(f"{endpoint} ")


class ClientError(Exception):
    """A call did not give a result. ``code``: a word for programs, such as ``no_leader``;
    ``troubles``: what was noticed about each endpoint."""

    exit_code = EXIT_NOT_SUBMITTED

    def __init__(self, code: str, message: str, troubles: Sequence[Trouble] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.troubles = tuple(troubles)


class NotSubmittedError(ClientError):
    """The command was not carried out, and will not be: it is safe to try again. ``read_ids``: of
    a linearizable read that was sent, the numbers of its last sendings: ``paxosctl log request
    0/ID`` has what the nodes recorded of each."""

    def __init__(
        self,
        code: str,
        message: str,
        troubles: Sequence[Trouble] = (),
        read_ids: Sequence[int] = (),
    ) -> None:
        super().__init__(code, message, troubles)
        self.read_ids = tuple(read_ids)


class UnreachableError(NotSubmittedError):
    """No endpoint could be reached, so nothing happened."""

    exit_code = EXIT_UNREACHABLE


class HandshakeError(NotSubmittedError):
    """No node was reached, and one of them ended the handshake for the sake of keys, so nothing
    happened. ``code``: "key_needed", "keys_not_taken", "other_server_key" or "key_unknown". It
    hardly passes by itself."""

    exit_code = EXIT_REFUSED


class CarriedOutError(ClientError):
    """What is known of a call whose task was cancelled when its result had just come."""

    exit_code = EXIT_OK

    def __init__(self, slot: int) -> None:
        super().__init__("carried_out", "it was carried out when it was cancelled")
        self.slot = slot


class ClosedError(NotSubmittedError, RuntimeError):
    """The client was closed before the command was sent. (A call that begins later raises a mere
    RuntimeError: to try again would never end.)"""


class RefusedError(ClientError):
    """A daemon refused the request, and would refuse it again. ``detail``: a number where the code
    has one (compacted: the first revision that is still there)."""

    exit_code = EXIT_REFUSED

    def __init__(
        self, code: str, message: str, troubles: Sequence[Trouble] = (), detail: int = 0
    ) -> None:
        super().__init__(code, message, troubles)
        self.detail = detail


class FencedOffError(RefusedError):
    """The write changed nothing: its fence does not hold, for the lock is not held any more with
    that token."""

    exit_code = EXIT_FENCED_OFF

    def __init__(self, message: str) -> None:
        super().__init__("fenced_off", message)


class QuotaError(RefusedError):
    """The write changed nothing, for the store may not grow beyond its quota. Deleting makes
    room."""

    exit_code = EXIT_QUOTA


class ForbiddenError(RefusedError):
    """Whoever has this client's key may not do that here; the message says what is lacking, and who
    may give it. Nothing was changed."""


class LeaseUnknownError(RefusedError):
    """A put named a lease that is not there: it was revoked or expired, or never granted. Nothing
    was written. ``lease``: its id."""

    exit_code = EXIT_NEGATIVE

    def __init__(self, lease: int) -> None:
        words = f"there is no lease {lease}: it was revoked or expired, or never granted"
        super().__init__("lease_unknown", words)
        self.lease = lease


class LockLostError(ClientError):
    """The lock was not held any more when it was released, or at the end of its block: another may
    have held it meanwhile, and what the block did under no fence may have met what that one did."""

    exit_code = EXIT_LOCK_LOST

    def __init__(self, name: bytes, why: str) -> None:
        super().__init__("lock_lost", f"the lock {named(name)} was lost: {why}")


class NotAcquiredError(NotSubmittedError):
    """The lock was not had in the time that was given; nothing of this client waits for it now.
    ``is_held``: whether others hold it, as the cluster said; False: it does not answer any more, so
    that this is not known."""

    exit_code = EXIT_NOT_ACQUIRED

    def __init__(self, name: bytes, why: str, *, is_held: bool = False) -> None:
        super().__init__("not_acquired", f"the lock {named(name)} was not acquired: {why}")
        self.is_held = is_held


class OutcomeUnknownError(ClientError):
    """It may or may not have happened. Ask ``Client.outcome(session, seq)``, which answers for
    certain; session 0: it was no command of a session, look at its effect."""

    exit_code = EXIT_UNKNOWN

    def __init__(
        self, session: int, seq: int, message: str, troubles: Sequence[Trouble] = ()
    ) -> None:
        super().__init__("outcome_unknown", message, troubles)
        self.session = session
        self.seq = seq


def what_is_known(error: BaseException) -> ClientError | None:
    """What became of the call that a cancellation or a time-out of asyncio ended: NotSubmittedError
    with the code "cancelled", OutcomeUnknownError with the (session, seq) to ask for, or
    CarriedOutError; None if it was none of a client's, or if it is not the exception of the task
    itself: ``gather(…, return_exceptions=True)`` makes CancelledErrors of its own."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ClientError):
        found = found.__cause__ or found.__context__
    return found


_REFUSED: Mapping[str, type[RefusedError]] = {QUOTA: QuotaError, FORBIDDEN: ForbiddenError}


def error_of(failure: Failure, troubles: Sequence[Trouble]) -> ClientError:
    """The exception for a failed call."""
    if isinstance(failure, OutcomeUnknown):
        words = f"the outcome is unknown: {failure.message}"
        return OutcomeUnknownError(failure.session, failure.seq, words, troubles)
    if isinstance(failure, NotSubmitted):
        words = "; ".join([failure.message, *_unresolved(troubles, failure.message)])
        if failure.code == UNREACHABLE:
            return UnreachableError(failure.code, words, troubles, failure.read_ids)
        if failure.code in HANDSHAKE_REFUSED:
            return HandshakeError(failure.code, words, troubles, failure.read_ids)
        if failure.code == CLOSED:
            return ClosedError(failure.code, words, troubles)
        return NotSubmittedError(failure.code, words, troubles, failure.read_ids)
    return refused_of(failure, troubles)


def refused_of(failure: Refused | Fail, troubles: Sequence[Trouble] = ()) -> RefusedError:
    """The exception for what a daemon refused."""
    kind = _REFUSED.get(failure.code, RefusedError)
    return kind(failure.code, failure.message, troubles, failure.detail)


@contextmanager
def for_the_leader(endpoint: str, why: str) -> Iterator[None]:
    """Around what only the leader, at ``endpoint``, can do, ``why`` in words: other nodes answered
    before, so that "no endpoint can be reached" would not be true."""
    try:
        yield
    except UnreachableError as error:
        words = f"the leader ({endpoint}) cannot be reached from here, and {why}"
        raise NotSubmittedError(LEADER_UNREACHABLE, words, error.troubles) from error


def _unresolved(troubles: Sequence[Trouble], known: str) -> list[str]:
    """The names among the endpoints that have no address, which no other words would say."""
    words = dict.fromkeys(each.message for each in troubles if each.message.startswith(UNRESOLVED))
    return [each for each in words if each != known]
