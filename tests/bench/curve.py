"""What keys cost: a cluster with CURVE beside one without, in one run.

    python -m tests.bench.curve [--seconds 5] [--rounds 3]

Both clusters run at the same time, three nodes each on this machine; only one has load at a time,
in turns, so that a slow moment of the machine hits both. Of each: puts a second at 1 and at 1,000
outstanding (values of 32 bytes), and of 64 KiB at 16 outstanding, and the processor time of the
three nodes for a put. Ratios are of the medians.

Below, what libsodium itself does on this machine: the box that CURVE makes of each message
(xsalsa20-poly1305, ``crypto_box_afternm``), made and opened, for messages of both sizes; and a bare
DEALER and ROUTER that do nothing else, with and without CURVE. A put crosses four to six
connections (client, two followers, their votes to all), so its encryption costs about that many
boxes made and opened.
"""

import argparse
import ctypes
import statistics
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

import zmq

from tests.processes.keyed import KeyedDaemons

SIZES = {"1 outstanding, 32 bytes": (1, 32), "1000 outstanding, 32 bytes": (1000, 32),
         "16 outstanding, 64 KiB": (16, 64 << 10)}  # fmt: skip
TICKS_PER_S = 100


def puts(client, outstanding, size, seconds):
    """Puts a second with so many under way."""
    pipe, value = client.pipeline(), b"v" * size
    under_way, count, number = deque(), 0, 0
    end_s = time.monotonic() + seconds
    began_s = time.monotonic()
    while time.monotonic() < end_s:
        while len(under_way) < outstanding:
            under_way.append(pipe.put(b"k%d" % (number % 1000), value))
            number += 1
        under_way.popleft().result()
        count += 1
    took_s = time.monotonic() - began_s
    while under_way:
        under_way.popleft().result()
    return count / took_s


def cpu_s(daemons):
    """Processor time of all nodes so far."""
    used = 0
    for process in daemons.processes.values():
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / TICKS_PER_S


def measure(clusters, rounds, seconds):
    """Size → cluster → [(puts a second, processor time of a put in µs)]."""
    found = {label: {name: [] for name in clusters} for label in SIZES}
    for label, (outstanding, size) in SIZES.items():
        for turn in range(rounds):
            names = list(clusters) if turn % 2 else list(reversed(clusters))
            for name in names:
                daemons = clusters[name]
                with daemons.client(timeout_s=30.0) as client:
                    puts(client, outstanding, size, 0.5)
                    before_s = cpu_s(daemons)
                    rate = puts(client, outstanding, size, seconds)
                    used_us = (cpu_s(daemons) - before_s) / (rate * seconds) * 1e6
                found[label][name].append((rate, used_us))
    return found


def sodium():
    """The libsodium that pyzmq brings."""
    found = sorted(Path(zmq.__file__).parents[1].glob("pyzmq.libs/libsodium*"))
    return ctypes.CDLL(str(found[0])) if found else None


def boxes(library, size, seconds=1.0):
    """How many boxes of so many bytes are made and opened in a second."""
    key, nonce = ctypes.create_string_buffer(32), ctypes.create_string_buffer(24)
    plain = ctypes.create_string_buffer(size)
    box = ctypes.create_string_buffer(size + 16)
    length = ctypes.c_ulonglong(size)
    count, end_s = 0, time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        for _ in range(100):
            library.crypto_box_easy_afternm(box, plain, length, nonce, key)
            library.crypto_box_open_easy_afternm(
                plain, box, ctypes.c_ulonglong(size + 16), nonce, key
            )
        count += 100
    return count / seconds


def bare(size, *, curve, seconds=2.0, batch=200):
    """Messages a second from a DEALER to a ROUTER of two contexts, over loopback."""
    server, client = zmq.Context(), zmq.Context()
    router, dealer = server.socket(zmq.ROUTER), client.socket(zmq.DEALER)
    try:
        if curve:
            (public, secret), own = zmq.curve_keypair(), zmq.curve_keypair()
            router.curve_server, router.curve_secretkey = 1, secret
            dealer.curve_publickey, dealer.curve_secretkey = own
            dealer.curve_serverkey = public
        port = router.bind_to_random_port("tcp://127.0.0.1")
        dealer.connect(f"tcp://127.0.0.1:{port}")
        frame, over = b"x" * size, threading.Event()

        def send():
            while not over.is_set():
                try:
                    dealer.send(frame, zmq.NOBLOCK)
                except zmq.Again:
                    dealer.poll(1, zmq.POLLOUT)

        thread = threading.Thread(target=send)
        thread.start()
        router.recv_multipart()
        count, began_s = 0, time.perf_counter()
        while time.perf_counter() - began_s < seconds:
            for _ in range(batch):
                router.recv()
                router.recv(copy=False)
            count += batch
        took_s = time.perf_counter() - began_s
        over.set()
        thread.join()
        return count / took_s
    finally:
        server.destroy(0)
        client.destroy(0)


def report(found):
    """The table of the clusters."""
    print(f"{'':<28}{'plain':>12}{'with keys':>12}{'ratio':>8}   processor time of a put, 3 nodes")
    for label, rows in found.items():
        rates = {n: statistics.median(rate for rate, _ in each) for n, each in rows.items()}
        used = {n: statistics.median(us for _, us in each) for n, each in rows.items()}
        ratio = rates["with keys"] / rates["plain"]
        print(
            f"{label:<28}{rates['plain']:>10.0f}/s{rates['with keys']:>10.0f}/s{ratio:>8.2f}"
            f"   {used['plain']:.0f} us, {used['with keys']:.0f} us"
        )


def profile():
    """What libsodium and bare sockets do."""
    library = sodium()
    for size in (200, 64 << 10):
        if library is not None:
            rate = boxes(library, size)
            print(
                f"libsodium: a box of {size} bytes, made and opened: {1e6 / rate:.1f} us, "
                f"{rate * size / 1e6:.0f} MB/s"
            )
        plain, keyed = bare(size, curve=False), bare(size, curve=True)
        print(
            f"bare DEALER to ROUTER, {size} bytes: {plain:.0f}/s plain, {keyed:.0f}/s with CURVE "
            f"({keyed / plain:.2f}; {1e6 / keyed - 1e6 / plain:.1f} us a message more)"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for name in ("plain", "keyed"):
            Path(place, name).mkdir()
        plain = KeyedDaemons(Path(place, "plain"), rollout=None)
        keyed = KeyedDaemons(Path(place, "keyed"))
        with plain, keyed:
            clusters = {"plain": plain, "with keys": keyed}
            for daemons in clusters.values():
                daemons.start()
                daemons.wait_leader()
            report(measure(clusters, asked.rounds, asked.seconds))
    profile()


if __name__ == "__main__":
    main()
