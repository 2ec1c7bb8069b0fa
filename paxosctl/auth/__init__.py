"""Keys and rights as ``paxosctl auth`` handles them; the table itself is in
``paxosd/core/rights.py``.

``tables.py`` has each change of the table by itself, and ``can.py`` who may do what: neither asks a
node. ``asking.py`` reads the table from a running cluster, and changes it there by compare and set;
``key_writing.py`` makes keys and their files, ``view.py`` the tables for people.
"""
