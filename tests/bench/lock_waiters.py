"""A process of many tasks that wait for one lock, for ``lock_speed.py``.

    python -m tests.bench.lock_waiters COUNT ENDPOINT…

On the standard output a line of JSON: ``held``, which waiter has the lock, and ``at``, by
CLOCK_MONOTONIC, which all processes of a host share; ``began``, that a release begins. On the
standard input: ``release N``; ``counts``.
"""

import asyncio
import json
import resource
import sys
import time
from collections import Counter

from paxosctl.client import AsyncClient, connection, watch_session

TTL_S = 300
NAME = b"queue"
COUNTS = Counter()


def say(**what):
    """One line."""
    print(json.dumps(what), flush=True)


def count_messages():
    """Count what this process sends and gets, and its bytes, from now on."""

    def counted(module, name, what, size):
        real = getattr(module, name)

        def call(*arguments):
            found = real(*arguments)
            COUNTS[what] += 1
            COUNTS["bytes"] += size(arguments, found)
            return found

        setattr(module, name, call)

    counted(connection, "encode_client", "sent", lambda _, frame: len(frame))
    counted(connection, "decode_answer", "answers", lambda given, _: len(given[0]))
    counted(watch_session, "decode_event", "events", lambda given, _: sum(map(len, given)))


async def work(count, endpoints):
    """Until this process is killed."""
    words = asyncio.Queue()

    def listen():
        for word in sys.stdin.readline().splitlines():
            words.put_nowait(word.split())

    asyncio.get_running_loop().add_reader(0, listen)
    async with AsyncClient(endpoints, timeout_s=60) as client:
        locks = [client.lock(NAME, ttl_s=TTL_S) for _ in range(count)]
        tasks = {asyncio.create_task(hold(number, lock)) for number, lock in enumerate(locks)}
        while True:
            word = await words.get()
            if word[0] == "release":
                number = int(word[1])
                say(began=number, at=time.monotonic())
                tasks.add(asyncio.create_task(locks[number].release()))
                continue
            used = resource.getrusage(resource.RUSAGE_SELF)
            say(
                waiting=sum(lock.protocol.is_behind for lock in locks),
                looks=sum(lock.protocol.looks for lock in locks),
                cpu_s=used.ru_utime + used.ru_stime,
                **COUNTS,
            )


async def hold(number, lock):
    """Wait for it."""
    await lock.acquire()
    say(held=number, at=time.monotonic())


if __name__ == "__main__":
    count_messages()
    asyncio.run(work(int(sys.argv[1]), sys.argv[2:]))
