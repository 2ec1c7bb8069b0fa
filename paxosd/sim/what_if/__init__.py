"""What if: recorded runs of a whole cluster, up to a point, and then another end.

The nodes are those of the traces, as they were at the point; from there on the simulator's network,
clocks and clients are around them, with the faults that were asked for. ``paxosctl trace replay
--what-if`` calls it.
"""
