"""One daemon process: start-up, the loop, the log of events, systemd.

``startup.py`` makes the parts in the order that safety wants, ``daemon.py`` is the loop around
``replica.Replica``, ``commits.py`` and ``worker.py`` carry out group commits, ``logs.py`` has the
events and ``log_sink.py`` where they go. Only ``paxosd.cli`` and ``paxosd.dev`` stand above it.
"""
