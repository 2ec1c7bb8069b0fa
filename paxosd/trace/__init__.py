"""Traces: everything that goes into a node, so that the same run can be executed again.

    what the node reads ──► recording.py ──► encoding.py ──► blocks.py ──► a file      (record)
    a file ──► reader.py ──► feed.py ──► the same node, by the same code (replay.py)   (replay)

A turn of the replica is a function of what its ports give it: messages, requests, time, random
bits, the ends of group commits and of other jobs. All of that is recorded in the order in which the
node asked for it, beside a short form of everything that it sent, wrote and answered. A replay
gives the same and compares the rest, operation by operation.

No sockets, clocks, threads or real directories here: the daemon and the simulator both record with
this, and both kinds of traces are replayed by it.
"""
