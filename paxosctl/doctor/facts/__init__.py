"""How the machine of a node is looked at: its data directory, ports, process, disk and clock.

Everything here only looks, but for the trial of the disk, which writes a few hundred KiB for at
most a second. What the kernel does not say is "not known", never an error.
"""
