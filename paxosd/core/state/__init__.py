"""The replicated state machine: a deterministic function of the decided log.

``machine.py`` applies slots to the store (``kv.py``) and the session table (``sessions.py``);
``checksum.py`` sums the state up beside the traffic, ``snapshot.py`` takes it apart and restores
it. What is large is kept and dropped in small pieces, so that no turn of the loop is long.
Nothing here knows ballots, peers or time other than log time.
"""
