"""The protocol and nothing else: messages and ticks in, effects out; no sockets, disk or clock."""
