"""Endpoints and TCP as daemon and client both need them: names, addresses, dead connections.

``endpoints.py`` reads ``tcp://HOST:PORT``, ``resolver.py`` looks names up beside the loop,
``routes.py`` chooses among a name's addresses, ``silence.py`` finds connections whose other end is
gone, ``probe.py`` asks whether an endpoint can be reached, ``key_files.py`` reads and writes keys.
No ZeroMQ socket is made here: that is
for ``paxosd.bus`` and ``paxosctl.client``.
"""
