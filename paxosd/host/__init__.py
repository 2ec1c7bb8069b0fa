"""The process and the machine that it runs on: clock, log, streams, signals, descriptors; and the
forms of text: TOML, numbers, durations, wording.

Small rooms without any knowledge of Paxos, each of use to the daemon and to the command lines.
Nothing here imports another package of paxosd; everything above the core may use it.
"""
