"""Runs: one from one seed, many on all cores, a failing one made small and explained as a story.

``draw.py`` draws a run, ``run.py`` carries it out to its verdict; ``campaign.py`` and
``workers.py`` make many; ``shrink.py`` finds which faults are needed; ``story.py`` explains a
violation to a person.
"""
