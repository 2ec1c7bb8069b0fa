"""The live view of a cluster: ``paxosctl top``.

    poller (a thread) ──► Sightings ──► Model ──┐
    keys ──► View ──────────────────────────────┴─► screens ──► lines ──► terminal

``model``, ``view`` and ``screens`` are pure: what is shown is tested without a terminal, a clock or
a node. ``terminal`` and ``poller`` alone touch the world; ``live`` has the loop.
"""
