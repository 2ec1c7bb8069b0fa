"""The load generator behind ``paxosctl bench`` and ``paxosctl check perf``.

``Load`` says what is asked for, ``Generator`` sends it from one thread, ``run_load`` shares it out
over processes and merges what they recorded into a ``LoadReport``. It measures the cluster, not the
client: bare DEALER sockets to the nodes, no repetition, and no answer left out of the record. The
verbs may call all of it; nothing here prints.
"""
