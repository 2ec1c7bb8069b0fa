"""Safeguards of keys and rights, and of shares. That a revoked key of a trust file is nobody's is
seen by ``tests/replica/test_authority.py``: in a simulated run that key is the admin's."""

from paxosd.core.state import lease_commands, session_walk
from paxosd.core.state.rights_check import RightsGuard
from paxosd.core.state.sessions import Sessions
from paxosd.replica import permissions
from paxosd.replica.permissions import Permissions
from paxosd.replica.service import Service
from tests.bench.mutation import around, instead, nothing, row


def _check_nothing(make, self, table):
    """What was admitted, by whatever table, is done."""
    make(self, table)
    self.required = False


def _without_key(make, number, session):
    return make(number, session)._replace(key=b"")


def _anybody(holder, lease):
    return True


def _no_keys(self, first, count):
    return []


def _as_it_was(self):
    return self._held_by


def _any_range(prefixes, start, end):
    return True


def _unjudged(make, self, token, **how):
    """As if it had no key, and rights were not required."""
    self._refuses_read = lambda *_, **__: False
    try:
        make(self, token, **how)
    finally:
        del self._refuses_read


def _in_order_of_opening(real, self, session_id, acked, now_ms):
    session = self.table.get(session_id)
    before = list(self._of_key.get(session.key, ())) if session is not None else ()
    found = real(self, session_id, acked, now_ms)
    for each in before:
        self._of_key[session.key].move_to_end(each)
    return found


RIGHTS = (
    row("rights-admission-alone", "rights are checked again where commands are applied",
        around(RightsGuard, "__init__", _check_nothing), profiles="rights", seed=1, in_suite=True),
    row("rights-session-of-another", "a session is used by the key that opened it alone",
        instead(Permissions, "_session_refusal", nothing), profiles="rights", seed=4,
        in_suite=True),
    row("rights-lease-of-another", "a lease is renewed and ended by its owner alone",
        instead(lease_commands, "may_use_lease", _anybody), profiles="rights", seed=1,
        in_suite=True),
    # The checksum leaves them out as well: else such a snapshot would be taken for a damaged one,
    # and what a node does that goes on from it would never be seen.
    row("rights-key-not-in-snapshot", "a snapshot has the keys of sessions",
        around(session_walk, "_row_of", _without_key),
        instead(session_walk.SessionWalk, "keys", _no_keys), profiles="rights", seed=1,
        in_suite=True),
    row("rights-of-the-turn-before", "who asks is judged by the table that was applied last",
        instead(Permissions, "_authority", property(_as_it_was)), profiles="rights", seed=25,
        in_suite=True),
    row("rights-served-for-ever", "a node that is cut off serves no longer than the bound",
        instead(Permissions, "unconfirmed", nothing), profiles="rights", seed=7, in_suite=True),
    row("rights-reads-of-others", "a read is of keys that its prefixes cover",
        instead(permissions, "covers", _any_range), profiles="rights", seed=1, in_suite=True),
    row("rights-reads-judged-once", "a read that had to wait is judged again when it is answered",
        around(Service, "_serve_read", _unjudged), profiles="rights", seed=1),
    # A snapshot has the sessions in order of last use, and so has who begins with it.
    row("share-order-of-opening", "all nodes end the same one of a key's sessions",
        around(Sessions, "use", _in_order_of_opening), where="Sessions._of_key",
        profiles="crowded", seed=1, in_suite=True),
)  # fmt: skip
