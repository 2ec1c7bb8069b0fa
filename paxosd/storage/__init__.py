"""What a data directory holds and how it gets there: the log, the identity, the peers' runs.

Everything goes through the few operations of ``disk.py``, so that a simulated or faulty disk can
stand in for the real one. The write-ahead log is ``wal.py``, opened by ``wal_open.py``, with its
format, recovery, table of segments, check and mark. It stores bytes and slots; what they mean is
for the packages above. Snapshot files are in ``paxosd.snapshot``.
"""
