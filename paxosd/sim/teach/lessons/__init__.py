"""The guided scenarios of ``paxosctl sim teach``: one module each.

A lesson is a list of scenes: what the person sees, what is done to the nodes, and what is claimed
and checked. ``paxosd.sim.teach.teach`` finds them by their names and plays them; they import the
stage and nothing of each other.
"""
