"""The flight recorder: what a node did, in a bounded ring of files, without a say in it.

Here live the form of an event and of a block, the ring in memory and on the disk, and the reader.
No protocol decisions, no sockets. The replica records, the daemon's thread (or the simulator) has
the blocks written, the command line reads.
"""
