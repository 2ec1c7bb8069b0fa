"""Grants and renewals of leases in a batch of an earlier reign than the latest in the log.

They are not done, and answered WINDOW: the client sends them again. An old leader may have proposed
them long after the latest batch before them, of a newer reign, so that log time does not say when:
the lease could end too early by that.
"""

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import GRANT, KEEPALIVE, Entry, Result
from paxosd.core.state.derivation import Skipped
from paxosd.core.state.entry_form import refuse_all
from paxosd.core.state.sessions import WINDOW_RESULT


def refuse_renewals(
    entry: Entry, settings: ClusterSettings, base: int, skipped: list[Skipped]
) -> list[Result]:
    """The results of all commands of a well-formed entry of such a batch, if one of them grants or
    renews a lease; none otherwise: then it is to be applied."""
    if settings.level < LEVEL_COORDINATION:
        return []
    commands = [each for each in entry.commands if type(each) in (list, tuple) and each]
    if not any(each[0] in (GRANT, KEEPALIVE) for each in commands):
        return []
    return refuse_all(WINDOW_RESULT, entry, base, skipped)
