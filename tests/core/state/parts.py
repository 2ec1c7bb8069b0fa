"""Parts of a state machine on their own, and what tests ask of them."""

from paxosd.core.commands import each_change
from paxosd.core.disposal import Disposal
from paxosd.core.state.kv import Store
from paxosd.core.state.queries import range_page
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


def copy_history(walk, restore):
    """All pieces of the history, from a snapshot to a restore."""
    while (piece := walk.history()) is not None:
        restore.history(piece)


def page_of(source, start, end, limit=0, reverse=False, keys_only=False, bytes_max=1 << 20):
    """One page of a store or a view."""
    return range_page(
        source.scan_keys(start, end, reverse),
        source.packed,
        limit=limit,
        reverse=reverse,
        keys_only=keys_only,
        bytes_max=bytes_max,
    )


def keys_between(store, start, end):
    """The keys in ``start <= key < end`` (end b"": no end), in order."""
    keys = []
    while start is not None:
        page = page_of(store, start, end, 0, False, True, 1 << 30)
        keys += [row.key for row in page.rows]
        start = page.more
    return keys
