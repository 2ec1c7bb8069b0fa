"""Snapshot files: when one is taken, how one is sent, fetched, restored, checked and repaired.

``file.py`` is the format, ``keeper.py`` decides when, ``donor.py`` and ``fetch.py`` are the two
ends of a transfer, ``scrub.py`` reads everything again and ``repair.py`` makes damage good. The
content is ``core/state/snapshot.py``. Long work runs as jobs beside the loop (``jobs.py``).
"""
