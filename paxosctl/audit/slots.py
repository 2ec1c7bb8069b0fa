"""Numbers by slot, in few bytes: chunks of an array, made where there is something to hold."""

from array import array
from collections.abc import Iterator

CHUNK_BITS = 9
CHUNK_SLOTS = 1 << CHUNK_BITS
_MASK = CHUNK_SLOTS - 1
_ZEROS = bytes(8 * CHUNK_SLOTS)


class SlotMap:
    """Slot → a number of 64 bits that is not 0; 0: none."""

    __slots__ = ("chunks",)

    def __init__(self) -> None:
        self.chunks: dict[int, array[int]] = {}

    def get(self, slot: int) -> int:
        """The number; 0: there is none."""
        chunk = self.chunks.get(slot >> CHUNK_BITS)
        return chunk[slot & _MASK] if chunk is not None else 0

    def put(self, slot: int, number: int) -> int:
        """Set a number where there is none yet; returns the one that is there now."""
        chunk = self.chunks.get(slot >> CHUNK_BITS)
        if chunk is None:
            chunk = self.chunks[slot >> CHUNK_BITS] = array("Q", _ZEROS)
        place = slot & _MASK
        held = chunk[place]
        if held:
            return held
        chunk[place] = number
        return number

    def set(self, slot: int, number: int) -> None:
        """Set a number, whatever is there."""
        chunk = self.chunks.get(slot >> CHUNK_BITS)
        if chunk is None:
            chunk = self.chunks[slot >> CHUNK_BITS] = array("Q", _ZEROS)
        chunk[slot & _MASK] = number

    def add(self, slot: int, bits: int) -> None:
        """Set these bits."""
        chunk = self.chunks.get(slot >> CHUNK_BITS)
        if chunk is None:
            chunk = self.chunks[slot >> CHUNK_BITS] = array("Q", _ZEROS)
        chunk[slot & _MASK] |= bits

    def items(self) -> Iterator[tuple[int, int]]:
        """All slots that have a number, in order."""
        for number in sorted(self.chunks):
            first = number << CHUNK_BITS
            for place, value in enumerate(self.chunks[number]):
                if value:
                    yield first + place, value
