"""A node at work on whatever bus, disk and clock it is given.

    assembly.py   from a data directory to a node (parts.py), from a node to a replica
    ports.py      what a replica is given: bus, committer, clocks, options
    replica.py    the turn: receive, step, persist, send, apply, answer
    group_commit.py, background.py, log_source.py   parts of a turn with state of their own
    service.py, admin.py, forwarding.py             requests of clients
    watch_publisher.py, log_server.py               changes for watchers, now and from the past
    recovery.py, quarantine.py                      what a start reads, and what it sets aside

The daemon and the simulator run this very code: no sockets, threads or wall clock here.
"""
