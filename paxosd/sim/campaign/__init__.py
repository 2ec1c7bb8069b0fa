"""Runs: one from one seed, many on all cores, a failing one made small and told as a story.

``run.py`` is a run from its first draw to its verdict; ``campaign.py`` and ``workers.py`` make
many; ``shrink.py`` finds which faults are needed; ``story.py`` says it to a person.
"""
