"""A process that wants a lock again and again, and says what it believes: a line of JSON an event.

    python -m tests.bench.lock_worker NAME TTL_S ENDPOINT…

Each line has ``at``: CLOCK_MONOTONIC in seconds, which all processes of a host share. ``acquired``:
its acquire returned, by then. ``check``: when a check began, and whether it said "held". ``wrote``,
``refused``: a fenced write, by when it began. ``lost``: the event was set, by then.
"""

import json
import sys
import threading
import time

from paxosctl.client import Client, ClientError, FencedOffError, LockLostError

GUARDED = b"guarded"
CHECK_S = 0.02


def say(what, **fields):
    """One line."""
    print(json.dumps({"what": what} | fields), flush=True)


def watch_loss(lock, released):
    """In a thread of its own: say when the loss is known, as a user's thread would learn it."""
    while not released.is_set():
        if lock.lost.wait(0.05):
            say("lost", at=time.monotonic(), token=lock.token)
            return


def hold(client, lock, seconds):
    """Check and write for so long, whether or not it is still held."""
    until_s = time.monotonic() + seconds
    while (at := time.monotonic()) < until_s:
        say("check", at=at, token=lock.token, held=lock.check())
        at = time.monotonic()
        try:
            client.put(GUARDED, b"%d" % lock.token, fence=lock.fence)
        except FencedOffError:
            say("refused", at=at, token=lock.token)
        except ClientError as error:
            say("failed", at=at, token=lock.token, why=error.code)
        else:
            say("wrote", at=at, token=lock.token)
        time.sleep(CHECK_S)


def work(name, ttl_s, endpoints):
    """Until the process is ended."""
    with Client(endpoints, timeout_s=3, name="worker") as client:
        lock = client.lock(name.encode(), ttl_s=ttl_s)
        while True:
            lock.acquire()
            say("acquired", at=time.monotonic(), token=lock.token)
            released = threading.Event()
            threading.Thread(target=watch_loss, args=(lock, released), daemon=True).start()
            hold(client, lock, 3 * ttl_s)
            released.set()
            try:
                lock.release()
            except LockLostError:
                say("released-lost", at=time.monotonic())


if __name__ == "__main__":
    work(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
