"""Failures on purpose: the rules, the plan of one node, and where it takes hold.

``rules.py`` reads a rule, ``plan.py`` decides what befalls a message or an operation, ``disk.py``
wraps a disk that fails, ``store.py`` keeps rules over a restart, ``live.py`` does what concerns a
running process. The bus and the disk ask the plan; no protocol code knows of it.
"""
