"""The number by which peers know one run of a node, and no other run.

    run id = boot count << 20 | 20 random bits

The *boot count* is how often the data directory was started, this time included; the *directory
id* is the random number that a data directory gets when it is made. A copy of a directory that is
started on its own has the same directory id and perhaps the same boot count, but another run id.
"""

RUN_BITS = 20
"""How many of its bits are random."""


def make_run_id(boot_count: int, random_bits: int) -> int:
    """The id of the start number ``boot_count`` (from 1); 20 of ``random_bits`` are taken."""
    return boot_count << RUN_BITS | random_bits & (1 << RUN_BITS) - 1


def boot_count_of(run_id: int) -> int:
    """Which start of its data directory a run is."""
    return run_id >> RUN_BITS
