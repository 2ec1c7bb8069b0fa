"""The verbs of paxosctl, a module per family; each verb is a function ``NAME_verb``.

A verb asks the cluster through what :class:`paxosctl.cli.app.App` gives it and returns an answer,
which ``paxosctl.cli.render`` shows in every format. Its docstring is its help. Verbs import the
packages below (``member``, ``faultrun``, ``cli``, ``client``) and nothing of each other but shared
helpers of their family; ``paxosctl.cli.main`` imports a verb when it is called.
"""
