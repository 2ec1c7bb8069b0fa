"""The deterministic simulator: the daemon's own code in a world made from one seed.

world/      time, network, disk: what a simulated process stands on
cluster/    members, clients and watchers in that world, and what must always be true of them
nemesis/    what goes wrong: drawn, written down, carried out
campaign/   whole runs, many runs, a failing one made small and explained
teach/      lessons on real nodes under full control

No sockets, threads, files or clocks; it imports the daemon's packages up to ``paxosd.replica``,
and only ``paxosctl`` and the tests import it.
"""
