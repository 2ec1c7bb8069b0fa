"""What a simulated process stands on: time, network, disk, bus, group commits, helper.

One seed decides everything that happens. These are stand-ins for the operating system and for
ZeroMQ; what runs on them is the daemon's own code. They know nothing of faults that are planned
(``sim.nemesis``) and nothing of what is checked (``sim.cluster``).
"""
