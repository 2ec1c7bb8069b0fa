"""One node's wall clock without its jumps.

    shown = wall clock - what it had jumped by since the first run that there is

Each block of a recording, and each line of a log, has both clocks as of one moment. Where the wall
clock moves far against the monotonic one within a run, it was set; all that comes later is moved
back, so that times go on as they did before. From run to run the two cannot be compared, for a
machine that started again has another monotonic clock, unless they agree with the end of the run
before: then nobody set anything meanwhile.
"""

import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from struct import error as struct_error
from typing import Any

from msgpack import UnpackException, unpackb

from paxosd.recorder.block import DEFLATED, HEAD_BYTES, MAGIC, VERSION

JUMP_US_MIN = 100_000
"""A wall clock that moves so much against the other one has jumped."""
DRIFT_PART = 16
"""If it is more than one part in so many of the time, for it may be a clock that drifts."""
PEEK_BYTES = 8 << 10
"""So much of a block is read for its head."""
_LEAD = Struct("<8sHHII")
_U32 = Struct("<I")
_NUMBERS = ("boot_count", "run_id", "mono_us", "wall_us")


@dataclass(frozen=True, slots=True)
class Jump:
    """From ``mono_us`` on of the start ``boot_count``: the clock had moved by ``moved_us``."""

    boot_count: int
    mono_us: int
    moved_us: int


@dataclass(slots=True)
class SteadyClock:
    """Follows one node's clocks in the order of its recording. ``jumps``: within runs."""

    jumps: list[Jump] = field(default_factory=list)
    _since: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Start → from which monotonic time on which shift holds."""
    _run: Any = None
    _mono_us: int = 0
    _lag_us: int = 0
    _shift_us: int = 0

    def follow(self, run: Any, boot_count: int, mono_us: int, wall_us: int) -> None:
        """Both clocks as of one moment. They hold for all that came since the moment before."""
        begun_us = self._mono_us + 1 if run == self._run else 0
        lag_us = wall_us - mono_us
        moved_us = lag_us - self._lag_us
        if run != self._run:
            if self._run is None or abs(moved_us) >= JUMP_US_MIN:
                self._shift_us = 0
            self._since.setdefault(boot_count, []).append((begun_us, self._shift_us))
        elif abs(moved_us) >= max(JUMP_US_MIN, (mono_us - self._mono_us) // DRIFT_PART):
            self._shift_us += moved_us
            self.jumps.append(Jump(boot_count, begun_us, moved_us))
            self._since[boot_count].append((begun_us, self._shift_us))
        self._run, self._mono_us, self._lag_us = run, mono_us, lag_us

    def ahead_us(self, boot_count: int, mono_us: int) -> int:
        """What to take from a wall clock of that moment."""
        since = self._since.get(boot_count)
        if since is None:
            return 0
        place = bisect_right(since, (mono_us, 1 << 62))
        return since[max(0, place - 1)][1]

    @property
    def has_jumped(self) -> bool:
        """Whether any time has to be moved."""
        return bool(self.jumps)


def clock_of(paths: list[Path]) -> SteadyClock:
    """Of a node, from the heads of the blocks of its files in their order. A file that is gone is
    passed over; damage is others' matter."""
    clock = SteadyClock()
    for path in paths:
        try:
            for boot_count, run_id, mono_us, wall_us in _heads(path):
                clock.follow(run_id, boot_count, mono_us, wall_us)
        except FileNotFoundError:
            continue
    return clock


def _heads(path: Path) -> Iterator[tuple[int, ...]]:
    """The numbers in the heads of a file's blocks, without a look at the events."""
    with open(path, "rb") as file:
        offset = 0
        while True:
            file.seek(offset)
            peeked = file.read(PEEK_BYTES)
            if len(peeked) < HEAD_BYTES:
                return
            magic, version, flags, stored, _ = _LEAD.unpack_from(peeked)
            if magic != MAGIC:
                found = peeked.find(MAGIC, 1)
                offset += found if found > 0 else PEEK_BYTES - len(MAGIC) + 1
                continue
            numbers = _numbers(peeked[HEAD_BYTES : HEAD_BYTES + stored], flags)
            if numbers is None:
                file.seek(offset + HEAD_BYTES)
                numbers = _numbers(file.read(stored), flags)
            if version <= VERSION and numbers is not None:
                yield numbers
            offset += HEAD_BYTES + stored if numbers is not None else 1


def _numbers(body: bytes, flags: int) -> tuple[int, ...] | None:
    """Of a block's beginning; None: it is too short, or damaged."""
    try:
        raw = zlib.decompressobj().decompress(body) if flags & DEFLATED else body
        size = _U32.unpack_from(raw)[0]
        if len(raw) < _U32.size + size:
            return None
        head = unpackb(raw[_U32.size : _U32.size + size])
        return tuple(int(head[name]) for name in _NUMBERS)
    except (zlib.error, struct_error, ValueError, KeyError, TypeError, UnpackException):
        return None
