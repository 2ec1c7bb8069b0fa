"""Changes of the membership: what one would do, whether it is safe, and how it is carried out.

``plan.py`` is pure; ``probe.py`` asks who is up and who reaches whom; ``session.py`` is one change
from the first look to the last word, ``change.py`` its steps, ``view.py`` how it is shown.
"""
