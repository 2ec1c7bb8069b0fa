"""Scans of the whole state at the same time, in a process of their own.

    python -m tests.bench.scan_worker SCANS READ_FROM ENDPOINT…

A thread and a client for each scan. Prints a line of JSON when the first page of all has come, and
one for each scan that has ended: its rows, bytes of values, pages, and seconds. A scan whose pages
are not all of one revision, or whose keys do not ascend, ends the process with an error.
"""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from paxosctl.client import Client

TIMEOUT_S = 60.0


def scan(endpoints, read_from, begun):
    """One scan, from the first key to the last; ``begun`` is waited for once its first page is
    here."""
    began_s, rows, size, count, last = time.monotonic(), 0, 0, 0, b""
    revisions = set()
    with Client(endpoints, timeout_s=TIMEOUT_S, read_from=read_from) as client:
        for page in client.pages(b""):
            (found,) = page.results
            revisions.add(page.revision)
            for row in found.rows:
                assert row.key > last, f"{row.key} follows {last}"
                last = row.key
                size += len(row.value)
            rows += len(found.rows)
            count += 1
            if count == 1:
                begun.wait()
    assert len(revisions) == 1, f"the pages are of the revisions {revisions}"
    return {"rows": rows, "bytes": size, "pages": count,
            "s": round(time.monotonic() - began_s, 2)}  # fmt: skip


def main():
    """Run them, and print each."""
    scans, read_from, *endpoints = sys.argv[1:]
    begun = threading.Barrier(int(scans), lambda: print(json.dumps({"begun": True}), flush=True))
    with ThreadPoolExecutor(int(scans)) as pool:
        ends = [pool.submit(scan, endpoints, read_from, begun) for _ in range(int(scans))]
        for each in ends:
            print(json.dumps(each.result()), flush=True)


if __name__ == "__main__":
    main()
