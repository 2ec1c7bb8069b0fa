"""``paxosctl fault run``: a plan of faults against a live cluster, with clients and checkers.

``plan.py`` reads the plan, ``timeline.py`` adds and takes back the faults when they are due,
``clients.py`` records a workload, ``run.py`` puts it together and judges it by ``paxosd.check``.
"""
