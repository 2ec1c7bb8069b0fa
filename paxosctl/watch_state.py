"""The watcher's half of the watch protocol lives in :mod:`paxosd.watch_state`, for the simulator
runs it as well; this is its name for clients."""

from paxosd.watch_state import (
    FAILED_CLUSTER,
    FAILED_HISTORY,
    Connect,
    Deliver,
    Effect,
    Event,
    Fail,
    Pull,
    WatchOptions,
    WatchState,
)

__all__ = [
    "FAILED_CLUSTER",
    "FAILED_HISTORY",
    "Connect",
    "Deliver",
    "Effect",
    "Event",
    "Fail",
    "Pull",
    "WatchOptions",
    "WatchState",
]
