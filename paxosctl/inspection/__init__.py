"""What Paxos did, from the recordings and logs of real nodes: read, ordered, and explained.

Here live the sources (recorder files, JSON logs, journald's exports), the one causal order of all
nodes, the estimate of their clocks, and the stories of a slot, a ballot, a request and a key.
The verbs ``log``, ``explain`` and ``why-slow`` call it; it asks no running node for anything.
"""
