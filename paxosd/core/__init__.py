"""The protocol and nothing else: messages and ticks in, effects out.

    node.py composes the roles: acceptor, proposer, learner, election, replication, reads
    admission.py, founding.py, handover.py, roster.py: who may act, vote, lead and belong
    state/ the replicated state machine     client/ the client's half of the protocol

No sockets, disk, clock, threads or global randomness here: pure parts of the standard library
alone. Everybody may import it; it imports nothing else of paxosd.
"""
