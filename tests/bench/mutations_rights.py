"""Safeguards of keys and rights. That a revoked key of a trust file is nobody's is seen by
``tests/replica/test_authority.py``: in a simulated run that key is the admin's."""

from paxosd.core.state import lease_commands, session_walk
from paxosd.core.state.rights_check import RightsGuard
from paxosd.replica.permissions import Permissions
from tests.bench.mutation import around, instead, nothing, row


def _check_nothing(make, self, table):
    """What was admitted, by whatever table, is done."""
    make(self, table)
    self.required = False


def _without_key(make, number, session):
    return make(number, session)._replace(key=b"")


def _anybody(holder, lease):
    return True


RIGHTS = (
    row("rights-admission-alone", "rights are checked again where commands are applied",
        around(RightsGuard, "__init__", _check_nothing), profiles="rights", seed=1, in_suite=True),
    row("rights-session-of-another", "a session is used by the key that opened it alone",
        instead(Permissions, "_session_refusal", nothing), profiles="rights", seed=4,
        in_suite=True),
    row("rights-lease-of-another", "a lease is renewed and ended by its owner alone",
        instead(lease_commands, "may_use_lease", _anybody), profiles="rights", seed=1,
        in_suite=True),
    row("rights-key-not-in-snapshot", "a snapshot has the keys of sessions",
        around(session_walk, "_row_of", _without_key), profiles="rights", seed=3,
        in_suite=True),
)  # fmt: skip
