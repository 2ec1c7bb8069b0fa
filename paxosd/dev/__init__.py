"""``paxosd dev``: a whole cluster in one terminal, for trying things out.

``layout.py`` says what is kept where, ``ports.py`` checks that the nodes can listen, ``child.py``
starts one process, ``supervisor.py`` keeps all of them running, ``dev.py`` prints what a person
needs to know. The nodes are ordinary daemons.
"""
