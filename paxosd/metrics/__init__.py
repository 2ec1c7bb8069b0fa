"""What one node shows a monitor: ``/metrics``, ``/livez``, ``/readyz``, without the sockets.

Observation (what the loop hands out) ──► catalogue ──► exposition: the text of /metrics
                                      └─► health: alive? ready? why not?
"""
