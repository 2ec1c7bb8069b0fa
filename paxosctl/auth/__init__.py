"""Keys and rights as ``paxosctl auth`` handles them: what the table says, the next table, and the
files of keys that go with it. The table itself is in ``paxosd/core/rights.py``."""
