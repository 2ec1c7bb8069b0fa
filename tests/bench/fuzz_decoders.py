"""Fuzzing of all decoders in this process, led by which lines of them a frame reaches.

    python -m tests.bench.fuzz_decoders [--frames 1000000] [--seconds S] [--seed N]

A decoder ends in a message or in WireError, whatever the bytes. Frames that reach a new pair of
lines join those that are changed further. The seed is printed; what is found is printed as hex, and
is a line in a test then.

Lines are followed with ``sys.settrace`` for one frame in a few: that is slow, and rules alone which
frames are kept. atheris, which does that in machine code, is used instead if it can be imported
(`pip install --target DIR atheris`, and DIR on PYTHONPATH; it is no dependency): with --atheris.
"""

import argparse
import random
import resource
import sys
import time

from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.membership import Membership, MembershipError
from paxosd.core.rights import NO_RIGHTS, RightsError
from paxosd.wire import decode_answer, decode_batch, decode_entry, decode_peer, decode_request
from paxosd.wire.entry import EntryLimits
from paxosd.wire.events import decode_event
from paxosd.wire.fields import WireError
from tests.bench.fuzz_frames import Mutator, seeds

LIMITS = EntryLimits.of(ClusterSettings(level=1))
CORPUS_MAX = 4000
TRACED_SHARE = 12
"""One frame in so many is traced."""
FOLLOWED = ("paxosd/wire/", "paxosd/core/rights", "paxosd/core/membership")
OTHERS = (MembershipError, RightsError)


def decoders():
    """Each name → what takes a frame, and the errors that it may raise."""
    return {
        "peer": lambda frame: decode_peer(frame, "dev"),
        "request": lambda frame: decode_request(frame, "dev"),
        "answer": lambda frame: decode_answer(frame, "dev"),
        "entry": lambda frame: decode_entry(frame, LIMITS),
        "batch": decode_batch,
        "event": lambda frame: decode_event(b"kv/key", frame),
        "membership": lambda frame: Membership.from_command(frame, 1, 1),
        "rights": NO_RIGHTS.follow,
    }


STARTS = {"peer": "peer", "request": "client", "answer": "client", "entry": "entry",
          "batch": "entry", "event": "event", "membership": "entry", "rights": "entry"}  # fmt: skip


class Coverage:
    """Pairs of lines, one after the other, of the modules that are followed."""

    def __init__(self):
        self.seen = set()
        self.fresh = False
        self._before = None

    def follow(self, function, frame):
        """Call, and note whether anything new was reached."""
        self.fresh, self._before = False, None
        sys.settrace(self._trace)
        try:
            function(frame)
        finally:
            sys.settrace(None)

    def _trace(self, frame, event, _argument):
        name = frame.f_code.co_filename
        if not any(part in name for part in FOLLOWED):
            return None
        if event in ("line", "call"):
            here = name, frame.f_lineno
            pair = self._before, here
            self._before = here
            if pair not in self.seen:
                self.seen.add(pair)
                self.fresh = True
        return self._trace


def try_one(name, function, frame):
    """Call a decoder; prints and raises what it must not raise."""
    try:
        function(frame)
    except WireError:
        return
    except OTHERS:
        return
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}: {frame.hex()}")
        raise


def fuzz(frames, seconds, seed):
    """So many frames, or for so long; what was reached."""
    rng, mutator, coverage = random.Random(seed), Mutator(seed), Coverage()
    real = seeds()
    corpus = {name: list(real[kind]) for name, kind in STARTS.items()}
    functions = decoders()
    for name, function in functions.items():
        for frame in corpus[name]:
            coverage.follow(lambda f, n=name, d=function: try_one(n, d, f), frame)
    at_first, count, end_s = len(coverage.seen), 0, time.monotonic() + seconds
    names = list(functions)
    while count < frames and time.monotonic() < end_s:
        name = names[count % len(names)]
        frame = mutator.change(rng.choice(corpus[name]))
        if count % TRACED_SHARE < len(names) and rng.random() < 1 / 4:
            coverage.follow(lambda f, n=name: try_one(n, functions[n], f), frame)
            if coverage.fresh and len(corpus[name]) < CORPUS_MAX:
                corpus[name].append(frame)
        else:
            try_one(name, functions[name], frame)
        count += 1
    kept = sum(map(len, corpus.values())) - sum(len(real[kind]) for kind in STARTS.values())
    return count, at_first, len(coverage.seen), kept


def with_atheris(seconds, seed):
    """The same decoders under libFuzzer."""
    import atheris

    functions = list(decoders().items())
    atheris.instrument_all()

    def one(data):
        if data:
            name, function = functions[data[0] % len(functions)]
            try_one(name, function, data[1:])

    arguments = [sys.argv[0], f"-max_total_time={int(seconds)}", f"-seed={seed % 2**31}",
                 "-max_len=4096"]  # fmt: skip
    atheris.Setup(arguments, one)
    atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=480.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    parser.add_argument("--atheris", action="store_true")
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    if asked.atheris:
        with_atheris(asked.seconds, asked.seed)
        return
    began_s, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count, at_first, reached, kept = fuzz(asked.frames, asked.seconds, asked.seed)
    took_s = time.monotonic() - began_s
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{count} frames in {took_s:.0f} s: pairs of lines {at_first} → {reached}, {kept} frames "
        f"kept, memory {before >> 10} → {after >> 10} MiB; nothing found"
    )


if __name__ == "__main__":
    main()
