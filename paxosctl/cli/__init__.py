"""What every verb shares: options, output, exit codes, and the look at all nodes at once.

``main.py`` is the command line, ``app.py`` what a verb is given, ``render.py`` and ``tables.py``
how an answer is shown, ``survey.py`` asks every node, ``diagnose.py`` says what is wrong and what
to do. The verbs themselves are in ``paxosctl.commands``.
"""
