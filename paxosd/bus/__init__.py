"""The message bus of one daemon: ZeroMQ sockets to messages and messages to sockets.

``bus.py`` is what the loop talks to; ``sockets.py`` makes and configures ROUTER, DEALER, PUB and
SUB; ``inbox.py`` is the one way in for peers' messages, and the simulator's, too: faults first,
then admission of the sender's run. One thread uses the sockets. Only this package and
``paxosctl.client`` import zmq.
"""
