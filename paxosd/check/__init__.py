"""Checkers of what clients were answered: histories in, a verdict out.

``workload.py`` draws operations and records the answers in a ``history.py``;
``linearizability.py`` and ``total_order.py`` look for an order that explains it,
``exactly_once.py`` compares it with the final state, ``ages.py`` judges stale reads; ``judge.py``
asks them all. They know no cluster: simulated runs, campaigns on real processes and ``paxosctl
fault run`` are judged by the same code.
"""
