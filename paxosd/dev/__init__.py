"""``paxosd dev``: a whole cluster in one terminal, for trying things out.

``layout.py`` says what is kept where, ``child.py`` starts one process, ``supervisor.py`` keeps all
of them running, ``dev.py`` is what the person sees. The nodes are ordinary daemons.
"""
