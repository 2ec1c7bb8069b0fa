"""Parts of a state machine on their own, and what tests ask of them."""

from paxosd.core.commands import each_change
from paxosd.core.disposal import Disposal
from paxosd.core.state.kv import Store
from paxosd.core.state.session_walk import fingerprint_pieces
from paxosd.core.state.sessions import Sessions
from paxosd.core.work import Work


def new_store():
    return Store(Work(), Disposal())


def new_sessions(limits, disposal=None):
    return Sessions(limits, disposal or Disposal())


def fingerprint(sessions):
    """Equal bytes if and only if equal session tables."""
    return b"".join(fingerprint_pieces(sessions))


def changes(machine, slot, batch):
    """The changes of an applied slot, one for each key."""
    return list(each_change(machine.changes_of(slot, batch)))


def keys_between(store, start, end):
    """The keys in ``start <= key < end`` (end b"": no end), in order."""
    keys = []
    while start is not None:
        page = store.range(start, end, 0, False, True, 1 << 30)
        keys += [row.key for row in page.rows]
        start = page.more
    return keys
