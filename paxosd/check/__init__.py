"""Judges of what clients were told: histories in, a verdict out.

``history.py`` records, ``linearizability.py`` and ``total_order.py`` look for an order that
explains it, ``exactly_once.py`` compares it with the final state, ``ages.py`` judges stale reads.
They know no cluster: simulated runs, campaigns on real processes and ``paxosctl fault run`` are
judged by the same code.
"""
