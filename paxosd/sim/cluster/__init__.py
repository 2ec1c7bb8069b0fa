"""Simulated members, clients and watchers, and what must always be true of them.

``process.py`` is a member, ``life.py`` one run of it by the daemon's own assembly, ``cluster.py``
all of them on one network. ``invariants.py``, ``ballot_box.py``, ``clock_checks.py`` and
``watch_truth.py`` watch every step and raise Violation.
"""
