"""Frames that no honest program sends: for the decoders (``fuzz_decoders``) and the ports
(``fuzz_ports``).

Begun from real ones (the examples of every message that travels, ``tests/wire/examples.py``, or
frames that were recorded) and changed with their structure in mind: a value for another of another
type or at a limit, a field more or fewer, an array within itself, a length that lies; and without:
bits, bytes, pieces, the end. All from a seed.
"""

import random
import struct

import msgpack

from tests.wire import examples

ODD_VALUES = (
    0, 1, -1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), True, False, None,
    b"", b"\x00", b"x" * 5000, "", "x" * 70_000, "\ud7ff", "n1", "n2", "test", 1.5, float("nan"),
    float("inf"), [], {}, {"a": 1}, {1: 2}, [[]] * 100, msgpack.ExtType(5, b"x"),
    msgpack.Timestamp(1, 2), ("n1", 3), [1, "n1"], 1025, "paxosd",
)  # fmt: skip
LIES = (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdc\xff\xff",
        b"\xdb\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xc1")  # fmt: skip
DEPTH = 400


def seeds():
    """Kind → its real frames: peer, client (both directions), entry, event."""
    found = {}
    for kind, made in (("peer", examples.peer_examples), ("client", examples.client_examples),
                       ("entry", examples.entry_examples),
                       ("event", examples.event_examples)):  # fmt: skip
        found[kind] = [each.frame for each in made()]
    return found


class Mutator:
    """Changes frames. ``cluster``, ``sender``: put into envelopes, so that more gets past them."""

    def __init__(self, seed, cluster="dev"):
        self.rng = random.Random(seed)
        self._cluster = cluster

    def change(self, frame):
        """Another frame made of this one."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.7:
            frame = self._by_structure(frame)
        if kind > 0.6:
            for _ in range(rng.choice((1, 1, 1, 2, 8))):
                frame = self._by_bytes(frame)
        return frame[: 1 << 17]

    def _by_structure(self, frame):
        try:
            tree = msgpack.unpackb(frame, use_list=True, strict_map_key=False, raw=False)
        except Exception:  # noqa: BLE001 - whatever it is by now, its bytes can be changed
            return self._by_bytes(frame)
        if not isinstance(tree, list):
            return self._by_bytes(frame)
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            self._change_tree(tree)
        try:
            return msgpack.packb(tree)
        except (ValueError, OverflowError, TypeError, UnicodeError, RecursionError):
            return frame

    def _change_tree(self, tree):
        rng, place = self.rng, tree
        if rng.random() < 0.8 and len(tree) > 1 and isinstance(tree[1], str):
            tree[1] = self._cluster
        while isinstance(place, list) and place and rng.random() < 0.6:
            inner = [each for each in place if isinstance(each, list) and each]
            if not inner:
                break
            place = rng.choice(inner)
        if not place:
            place.append(rng.choice(ODD_VALUES))
            return
        at = rng.randrange(len(place))
        match rng.randrange(7):
            case 0 | 1 | 2:
                place[at] = rng.choice(ODD_VALUES)
            case 3:
                del place[at]
            case 4:
                place.insert(at, place[rng.randrange(len(place))])
            case 5:
                if isinstance(place[at], int):
                    place[at] += rng.choice((-1, 1, 1 << 20, -(1 << 40)))
                elif isinstance(place[at], bytes):
                    place[at] = self._by_bytes(place[at])  # an entry, a batch, a document
                else:
                    place[at] = [place[at]]
            case 6:
                place[at] = self._nested()

    def _nested(self):
        tree = []
        for _ in range(self.rng.choice((3, 20, DEPTH))):
            tree = [tree]
        return tree

    def _by_bytes(self, frame):
        rng = self.rng
        if not frame:
            return rng.randbytes(rng.randrange(1, 40))
        at, changed = rng.randrange(len(frame)), bytearray(frame)
        match rng.randrange(8):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at] = rng.randrange(256)
            case 2:
                changed[at:at] = rng.choice(LIES)
            case 3:
                changed[at : at + 1] = rng.choice(LIES)
            case 4:
                del changed[at:]
            case 5:
                changed += rng.randbytes(rng.randrange(1, 16))
            case 6:
                piece = changed[at : at + rng.randrange(1, 32)]
                changed[at:at] = piece * rng.choice((1, 1, 3))
            case 7:
                changed[at : at + 8] = struct.pack(
                    ">Q", rng.choice((0, 2**63, 2**64 - 1, 2**32, rng.getrandbits(64)))
                )
        return bytes(changed)
