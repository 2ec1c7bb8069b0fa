"""Pictures of a real run: a lane for each node, an arrow for each message.

``Gathering`` chooses the events, ``Diagram`` has them with arrows and causes; a module for each
form writes it: an HTML page to look around in, SVG, ShiViz, Mermaid, mscgen. Stands on
``paxosctl.inspection``; the verb ``log diagram`` calls it.
"""
