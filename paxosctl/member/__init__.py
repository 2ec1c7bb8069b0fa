"""Changes of the membership: what a change would do, whether it is safe, how it is carried out.

``plan.py`` is pure; ``probe.py`` asks which nodes are up and reach each other; ``session.py`` is
one change from the first look to the last line, ``change.py`` its steps, ``view.py`` its tables.
"""
