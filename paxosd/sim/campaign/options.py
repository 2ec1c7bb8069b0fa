"""What a simulated run is made of: how large, how long, and what may go wrong."""

from dataclasses import dataclass

from paxosd.core.cluster_settings import LEVEL_LATEST


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of one run; times are virtual."""

    nodes: int = 3
    duration_ms: int = 60_000
    """Of the safety phase."""
    faults: frozenset[str] | None = None
    """The kinds of faults that may be drawn (``nemesis/kinds.py``). None: all; empty: none."""
    clients: int = 4
    operations: int = 1000
    """About how many operations the clients begin within ``duration_ms``, all together."""
    keys: int = 8
    stale_readers: int = 1
    """Additional clients that read stale."""
    holders: int = 1
    """Additional clients that hold leases, from feature level 4 on; without any an old seed
    stays what it was."""
    locks: int = 0
    """Additional clients of one lock, from feature level 4 on. Then clocks drift by no more than
    leases allow for (DRIFT_PPM_MAX)."""
    brief_locks: bool = False
    """Whether no TTL of a lock is above 3 s."""
    transactors: int = 0
    """Additional clients that do transactions, from feature level 4 on; without any an old seed
    stays what it was."""
    rights: int = 0
    """Additional clients with keys of their own and few rights. Then all have keys, and an admin
    changes rights during the run; without any an old seed stays what it was."""
    revision_readers: int = 1
    """Additional clients that read earlier revisions."""
    level: int = LEVEL_LATEST
    """The feature level that the nodes' programs understand, at the end at least: some runs begin
    with older programs."""
    members: bool = False
    """Whether an operator changes the membership during the run; some of these runs begin with one
    node. Then no node loses its memory, except for the old machines that are started emptied
    (``sim/nemesis/changes.py``)."""
    grows: bool | None = None
    """Whether the cluster begins with one node, which founds it alone, and all others are spares.
    None: drawn from the seed where the membership changes, else no."""
    watchers: int | None = None
    """How many watchers there are. None: drawn from the seed; half of the runs have none."""
    unequal_limits: bool | None = None
    """Whether some nodes take smaller messages than others, and values come near these limits.
    None: drawn from the seed; a few runs have it, where the membership does not change."""
    at_once: bool | None = None
    """Whether group commits are carried out within the turn that begins them, most of them or some.
    None: drawn from the seed; a third of the runs have it."""
    client_names: bool = False
    """Whether the clients give their names; where they do not, an old seed stays what it was."""
    quota: bool = False
    """Whether there are quotas during the run that have room for some of the keys; a third of the
    writes are refused then. Where there is none, an old seed stays what it was."""
    compare_wait_ms: float | None = None
    """How long a node that starts waits for all voters. None: the default of the configuration, or
    as long as needed where a member is rolled back."""
