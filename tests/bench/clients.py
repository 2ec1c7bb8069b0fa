"""What threads and tasks get from clients of a running cluster: puts a second, by how they share.

    python -m tests.bench.clients [--endpoints E,E,E] [--seconds 5] [--clients 100] [--tasks 1000]

- ``one``: one thread, one client: what a plain program has.
- ``own``: a client for each of N threads.
- ``shared``: N threads on one client.
- ``tasks``: N tasks on one AsyncClient, in one thread.
- ``pipeline``: one thread that keeps 1,000 commands of one client under way: the most that it gets.

Each writes 32 bytes under keys of its own. Of each way: puts a second, the time of one put (p50,
p99), processor time of this process for a put. Everything runs in one process, under one GIL.
"""

import argparse
import asyncio
import resource
import statistics
import threading
import time
from typing import NamedTuple

from paxosctl.client import AsyncClient, Client
from paxosctl.client.base import DEFAULT_ENDPOINTS

VALUE = b"v" * 32


class Row(NamedTuple):
    """``took_s``: of each put."""

    name: str
    count: int
    seconds: float
    cpu_s: float
    took_s: list[float]

    def words(self) -> str:
        """For people."""
        rate = self.count / self.seconds
        quantiles = statistics.quantiles(self.took_s, n=100) if len(self.took_s) > 1 else [0] * 99
        p50_ms, p99_ms = quantiles[49] * 1000, quantiles[98] * 1000
        cpu_us = self.cpu_s / max(1, self.count) * 1e6
        return (
            f"{self.name:<22} {rate:>8.0f} puts/s   p50 {p50_ms:>7.2f} ms   p99 {p99_ms:>7.2f} ms"
            f"   {cpu_us:>6.0f} µs of processor time a put"
        )


def cpu_s() -> float:
    """Processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def threads(name: str, clients: list[Client], count: int, seconds: float) -> Row:
    """``count`` threads, each with one of the clients, in turn."""
    took: list[list[float]] = [[] for _ in range(count)]
    start = threading.Barrier(count + 1)

    def run(number: int) -> None:
        client, mine = clients[number % len(clients)], took[number]
        key = b"bench/%d" % number
        client.put(key, VALUE)
        start.wait()
        until = time.perf_counter() + seconds
        began = time.perf_counter()
        while began < until:
            client.put(key, VALUE)
            ended = time.perf_counter()
            mine.append(ended - began)
            began = ended

    crowd = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in crowd:
        thread.start()
    start.wait()
    began, used = time.perf_counter(), cpu_s()
    for thread in crowd:
        thread.join()
    flat = [each for mine in took for each in mine]
    return Row(name, len(flat), time.perf_counter() - began, cpu_s() - used, flat)


async def tasks(endpoints: list[str], count: int, seconds: float) -> Row:
    """``count`` tasks on one client."""
    took: list[float] = []
    async with AsyncClient(endpoints, timeout_s=30) as client:
        await client.put(b"bench/0", VALUE)
        began, used = time.perf_counter(), cpu_s()
        until = began + seconds

        async def run(number: int) -> None:
            key = b"bench/%d" % number
            at = time.perf_counter()
            while at < until:
                await client.put(key, VALUE)
                ended = time.perf_counter()
                took.append(ended - at)
                at = ended

        await asyncio.gather(*(run(number) for number in range(count)))
        ended = time.perf_counter()
        return Row(f"{count} tasks, 1 client", len(took), ended - began, cpu_s() - used, took)


def pipeline(endpoints: list[str], outstanding: int, seconds: float) -> Row:
    """One thread, many commands under way."""
    count = 0
    took = []
    with Client(endpoints, timeout_s=30) as client:
        client.put(b"bench/0", VALUE)
        began, used = time.perf_counter(), cpu_s()
        while time.perf_counter() < began + seconds:
            at = time.perf_counter()
            with client.pipeline() as pipe:
                for number in range(outstanding):
                    pipe.put(b"bench/%d" % number, VALUE)
            count += outstanding
            took.append(time.perf_counter() - at)
        ended = time.perf_counter()
    return Row(f"1 thread, {outstanding} at a time", count, ended - began, cpu_s() - used, took)


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--endpoints", default=",".join(DEFAULT_ENDPOINTS))
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=1000)
    asked = parser.parse_args()
    endpoints = asked.endpoints.split(",")
    with Client(endpoints, timeout_s=30) as one:
        print(threads("1 thread, 1 client", [one], 1, asked.seconds).words(), flush=True)
    with Client(endpoints, timeout_s=30) as one:
        name = f"{asked.clients} threads, 1 client"
        print(threads(name, [one], asked.clients, asked.seconds).words(), flush=True)
    own = [Client(endpoints, timeout_s=30) for _ in range(asked.clients)]
    name = f"{asked.clients} threads, a client each"
    print(threads(name, own, asked.clients, asked.seconds).words(), flush=True)
    for each in own:
        each.close()
    for count in sorted({1, 100, asked.tasks}):
        print(asyncio.run(tasks(endpoints, count, asked.seconds)).words(), flush=True)
    print(pipeline(endpoints, 1000, asked.seconds).words(), flush=True)


if __name__ == "__main__":
    main()
