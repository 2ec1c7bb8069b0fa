"""The message bus of one daemon: ZeroMQ sockets to messages and messages to sockets.

    bus.py          what the loop uses: receives, and puts the parts below together
    sockets.py      makes and configures ROUTER, DEALER, PUB and SUB; binding.py, monitors.py
    pollers.py      waits, and knows which sockets can be read
    inbox.py        the one way in for peers' messages, the simulator's too: faults first, then
                    admission of the sender's run
    peer_sender.py, client_answers.py, relay_link.py, send_tracker.py   what goes out
    port_watch.py, connections.py, link_doubts.py, large_frames.py   connections that are too many,
                    dead, or cut

One thread uses the sockets. Only this package and ``paxosctl.client`` import zmq.
"""
