"""How long an audit of a long recording takes, and how much memory.

    python -m tests.bench.audit_speed DIRECTORY [--slots 1000000]

Makes the recordings and logs of three nodes that chose so many slots in groups of eight, as under
load, and has them audited in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from zlib import crc32

from paxosctl.audit.kinds import (
    ACCEPT,
    ACCEPTED,
    APPLIED,
    MEMBER,
    PREPARE,
    PROMISE,
    PROMISED,
    PUBLISHED,
    RECEIVED,
    SENT,
    START,
    SYNCED,
    VOTED,
    WRITE,
)  # fmt: skip
from paxosd.core.effects import AcceptRecord, PromiseRecord
from paxosd.core.types import NULL_BALLOT, Ballot
from paxosd.recorder.block import BlockHead, encode_block
from paxosd.recorder.event import FORM, NOBODY
from paxosd.storage.wal_format import GroupBuilder, Release, SegmentHeader
from tests.ctl.audit.made import NODES

GROUP = 8
BLOCK_EVENTS = 1600
BALLOT = Ballot(1, "n1")
VALUE = b"v" * 100
DIGEST = len(VALUE) << 32 | crc32(VALUE)
SEGMENT_BYTES = 64 << 20


class Writer:
    """The recorder file of one node."""

    def __init__(self, directory: Path, node: str) -> None:
        place = directory / node / "recorder"
        place.mkdir(parents=True)
        self.file = (place / "rec-00000001.bin").open("wb")
        self.node = node
        self.rows: list[bytes] = []
        self.seq = 1
        self.time_us = 0

    def add(self, kind, peer=NOBODY, code=0, slot=0, round_=1, x=0, y=0):
        """An event."""
        voter = 0 if round_ == 1 else NOBODY
        self.time_us += 1
        self.rows.append(FORM.pack(self.time_us, kind, peer, voter, code, slot, round_, x, y))
        if len(self.rows) == BLOCK_EVENTS:
            self.flush()

    def flush(self):
        """Write a block."""
        head = BlockHead(
            "c1", self.node, 1, 1 << 20, self.seq, 0, 0, 0, list(NODES), directory_id=7
        )
        self.file.write(encode_block(head, b"".join(self.rows)))
        self.seq += len(self.rows)
        self.rows.clear()


def record(directory: Path, node: str, slots: int) -> None:
    """What one node saw."""
    writer = Writer(directory, node)
    add, own = writer.add, NODES.index(node)
    add(START, round_=0, y=7)
    for peer in range(3):
        add(MEMBER, peer, 1, 0, 0, 7)
    if own:
        add(PREPARE, 0, RECEIVED, 1)
    add(PROMISED)
    add(SYNCED, round_=50, x=1)
    if own:
        add(PROMISE, 0, SENT, 1)
    else:
        for peer in (1, 2):
            add(PREPARE, peer, SENT, 1)
            add(PROMISE, peer, RECEIVED, 1)
    for first in range(1, slots + 1, GROUP):
        last = first + GROUP - 1
        for slot in range(first, last + 1):
            if own:
                add(ACCEPT, 0, RECEIVED, slot, 1, first - 1, DIGEST)
            add(VOTED, NOBODY, 0, slot, 1, 0, DIGEST)
            if not own:
                add(ACCEPT, 1, SENT, slot, 1, first - 1, DIGEST)
                add(ACCEPT, 2, SENT, slot, 1, first - 1, DIGEST)
        writer.time_us += 100
        add(SYNCED, round_=900, x=50, y=GROUP)
        add(ACCEPTED, NOBODY, PUBLISHED, first, 1, last, first)
        for peer in {0, 1, 2} - {own}:
            add(ACCEPTED, peer, RECEIVED, first, 1, last, first)
        for slot in range(first, last + 1):
            add(APPLIED, NOBODY, 0, slot, 1, slot, DIGEST)
            if not own:
                add(WRITE, NOBODY, 0, slot, 400, 1, slot)
    writer.flush()
    writer.file.close()


def log(directory: Path, node: str, slots: int) -> None:
    """The log of one node, in segments of 64 MiB."""
    home = directory / node
    (home / "wal").mkdir()
    (home / "identity").write_text(json.dumps({"cluster": "c1", "node": node, "directory": 7}))
    number, file, offset, header = 0, None, 0, None
    for group_number, first in enumerate(range(1, slots + 1, GROUP), 1):
        if file is None or offset > SEGMENT_BYTES:
            number += 1
            header = SegmentHeader(number, b"12345678", SEGMENT_BYTES, "c1", node)
            file = (home / "wal" / f"wal-{number:08d}.log").open("wb")
            offset = file.write(header.encode())
        group = GroupBuilder(header, group_number, offset)
        if offset == 512:
            promised = BALLOT if number > 1 else NULL_BALLOT
            group.add_state(promised, Release(1, first - 1, 1))
        if group_number == 1:
            group.add_promise(PromiseRecord(BALLOT).ballot)
        for slot in range(first, first + GROUP):
            group.add_value(2, *AcceptRecord(slot, BALLOT, VALUE))
        group.add_commit(first + GROUP - 1 if first + GROUP > slots else first - 1)
        group.finish()
        offset += file.write(b"".join(group.buffers))
    file.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.audit_speed")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--slots", type=int, default=1_000_000)
    options = parser.parse_args()
    for node in NODES:
        if not (options.directory / node).exists():
            record(options.directory, node, options.slots)
            log(options.directory, node, options.slots)
    started = time.perf_counter()
    command = [sys.executable, "-m", "paxosctl", "audit", str(options.directory), "-o", "json"]
    done = subprocess.run(command, capture_output=True, check=False)
    took_s = time.perf_counter() - started
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    answer = json.loads(done.stdout)
    events = sum(row["events"] for row in answer["nodes"])
    print(f"{options.slots:,} slots, {events:,} events: {took_s:.1f} s, {peak_mib:.0f} MiB, "
          f"exit code {done.returncode}")  # fmt: skip
    for rule in answer["rules"]:
        print(f"  {rule['rule']:22} {rule['verdict']:14} {rule['checked']:>12,} {rule['unit']}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
