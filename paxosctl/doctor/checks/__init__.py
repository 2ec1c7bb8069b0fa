"""The checks of ``paxosctl doctor``, a module for each: what it looks at, which flaws it knows, and
how it finds them.

Each is pure: evidence in, findings out. A new one goes into ``paxosctl.doctor.catalogue``, which
says how, and gets an entry in the table of planted flaws in ``tests/ctl/doctor``.
"""
