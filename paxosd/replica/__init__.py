"""A node at work on whatever bus, disk and clock it is given.

``assembly.py`` takes a data directory to a node and a node to a replica; ``replica.py`` is its
turn: receive, step, persist, send, apply, answer. ``service.py`` and ``admin.py`` serve clients,
``watch_publisher.py`` and ``log_server.py`` those who follow. The daemon and the simulator run
this very code, so nothing here touches sockets, threads or the wall clock.
"""
