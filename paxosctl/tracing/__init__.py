"""Traces on the command line.

Which files there are, a replay of them and its words, and the test that a trace becomes. The verbs
of ``paxosctl trace`` call it; the replay itself is ``paxosd/trace``. No running node is asked.
"""
