"""The client's half of the protocol, sans-IO, for ``paxosctl`` and for simulated clients.

``protocol.py`` composes the rest: endpoints that are known, calls that are open, the frames that
carry them, the session that numbers commands, and what was learned of the cluster. ``watch.py`` is
the watcher's half: it never skips a change in silence. No sockets and no clock here.
"""
