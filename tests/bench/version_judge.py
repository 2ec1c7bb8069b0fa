"""Whether what clients of two versions saw fits together: watches, counters, sessions, locks.

The histories of their operations are judged as one by ``audit.py``; here is the rest, for each
``seen`` as ``version_clients.py`` gives it, and the rows of the store at the end.
"""

from paxosd.check.locks import Held, LockRecords, check_locks


def changes_of(seen):
    """The changes of a watcher: (revision, key, value or None) each."""
    return [
        (number, key.encode(), None if value is None else value.encode())
        for number, key, value in seen["changes"]
    ]


def wrong_of(name, seen, revision, rows):
    """What is wrong with what the clients of one version saw, in words."""
    for line in watched(changes_of(seen), revision, rows, seen["gaps"]):
        yield f"watcher ({name}): {line}"
    for line in seen["breaches"]:
        yield f"leases ({name}): {line}"


def watched(changes, revision, rows, gaps=()):
    """What is wrong with what a watcher saw of a store that is at ``revision`` and has ``rows``.
    ``gaps``: what it was said to be gone, see ``version_clients.py``."""
    numbers = [number for number, _, _ in changes]
    if numbers != sorted(numbers):
        yield "changes out of order"
    if len({(number, key) for number, key, _ in changes}) != len(changes):
        yield "a change came twice"
    missing = set(range(1, revision + 1)) - set(numbers)
    for first, end in gaps:
        missing -= set(range(first, end))
    if missing:
        yield f"revisions are missing: {sorted(missing)[:10]} of {revision}"
    since = max([end for _, end in gaps], default=0)
    last = {key: value for number, key, value in changes if number >= since}
    kept = {key: value for key, value in rows.items() if key in last or not gaps}
    if {key: value for key, value in last.items() if value is not None} != kept:
        yield f"its last values are not those of the store: {last}, {rows}"


def counted(seen, rows, prefix):
    """What is wrong with the counters under ``prefix``, to which steady clients of all versions
    have added, each exactly as often as it was said to them."""
    for how in ("cas", "incr"):
        total = sum(each["added"][how] for each in seen)
        found = int(rows.get(prefix + b"count/" + how.encode(), b"0"))
        if found != total:
            yield f"the counter {how} is at {found}, and {total} were added"


def locked(seen):
    """The verdict on the lock that the clients of all versions held in turn."""
    records = LockRecords()
    parts = (records.acquisitions, records.beliefs, records.writes, records.refusals)
    for each in seen:
        for part, rows in zip(parts, each["locks"], strict=False):
            part += [Held(*row) for row in rows]
    return check_locks(records)
