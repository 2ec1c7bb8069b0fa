"""One daemon process: start-up, the loop, the log of events, systemd.

``startup.py`` makes the parts in the order that safety wants, ``daemon.py`` is the loop around
``replica.Replica``, ``worker.py`` the thread of group commits, ``logs.py`` the events and
``log_sink.py`` where they go. Only ``paxosd.cli`` and ``paxosd.dev`` stand above it.
"""
