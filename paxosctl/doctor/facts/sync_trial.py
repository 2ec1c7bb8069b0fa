"""How long the disk of a data directory takes to make a small write durable: measured, for at most
a second and with little data, the way that the log writes."""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

TRIAL_S = 1.0
SYNCS_MAX = 100
WRITE_BYTES = 4096


def sync_times_us(directory: Path) -> tuple[int, ...]:
    """In microseconds, of each write with fdatasync; () if none could be made there. The file is
    gone before the first write, so that nothing stays even if this process is killed."""
    times: list[int] = []
    with suppress(OSError), tempfile.TemporaryFile(dir=directory, prefix=".doctor-") as file:
        number = file.fileno()
        # As a segment of the log: space is there before anything is written.
        os.posix_fallocate(number, 0, SYNCS_MAX * WRITE_BYTES)
        os.fsync(number)
        until_s = time.monotonic() + TRIAL_S
        for each in range(SYNCS_MAX):
            begun_ns = time.monotonic_ns()
            os.pwrite(number, os.urandom(WRITE_BYTES), each * WRITE_BYTES)
            os.fdatasync(number)
            times.append((time.monotonic_ns() - begun_ns) // 1000)
            if time.monotonic() >= until_s:
                break
    return tuple(times)
