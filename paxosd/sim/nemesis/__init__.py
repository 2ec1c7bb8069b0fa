"""What goes wrong in a run: drawn from the seed, written as a schedule, carried out.

``schedule.py`` is the list of directives that a file can hold; ``nemesis.py``, ``tails.py``,
``misuse.py``, ``limits.py``, ``changes.py`` and ``shape.py`` draw; ``director.py`` carries out.
What a new pass draws never moves what a seed drew before.
"""
