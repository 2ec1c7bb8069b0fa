"""Jobs that are each done once: a worker holds the lock, takes the first job, and writes its result
and the removal of the job in one transaction, under its fence.

    python docs/examples/fenced_job_queue.py ENDPOINT…
"""

import sys
from collections.abc import Callable

from paxosctl.client import Client, Compare, Operation


def work(client: Client, do: Callable[[bytes], bytes]) -> list[bytes]:
    """Do all jobs under ``jobs/``; the keys of those that this worker did."""
    done = []
    while True:
        with client.lock(b"job-lock", ttl_s=5) as lock:
            job = next(iter(client.scan(b"jobs/", limit=1)), None)
            if job is None:
                return done
            result = do(job.value)
            committed = client.txn(
                [Compare.holds(*lock.fence)],
                then=[
                    Operation.put(b"results/" + job.key.removeprefix(b"jobs/"), result),
                    Operation.delete(job.key),
                ],
            )
            if committed.succeeded:  # else another holds the lock, and does this job again
                done.append(job.key)


if __name__ == "__main__":
    with Client(sys.argv[1:]) as client:
        print(work(client, bytes.upper))
