"""A job that one of several machines does at each tick: the one that leads.

python docs/examples/leader_elected_cron.py NAME ENDPOINT…
"""

import sys
import time
from collections.abc import Callable

from paxosctl.client import Client, FencedOffError


def run(
    client: Client, name: str, job: Callable[[int], bytes], *, ticks: int, every_s: float
) -> int:
    """Lead, then do ``job(token)`` at each tick and note its result; how many were done."""
    done = 0
    with client.election(b"cron", ttl_s=5).campaign(name.encode()) as lead:
        for _ in range(ticks):
            if not lead.check():
                break  # another leads, or will: it goes on where the results end
            try:
                client.put(b"cron-result", job(lead.token), fence=lead.fence)
            except FencedOffError:
                break
            done += 1
            lead.lost.wait(every_s)
    return done


if __name__ == "__main__":
    with Client(sys.argv[2:]) as client:
        run(client, sys.argv[1], lambda _: time.ctime().encode(), ticks=10, every_s=60)
