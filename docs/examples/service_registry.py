"""Instances of a service that announce themselves, and a client that follows who is there.

python docs/examples/service_registry.py ADDRESS ENDPOINT…
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from paxosctl.client import Client, Lock


@contextmanager
def announced(client: Client, address: str) -> Iterator[Lock]:
    """Meanwhile the address is listed. If ``lost`` is set, it is listed no more: begin anew."""
    with client.registry(b"web", ttl_s=5).register(address.encode()) as listed:
        yield listed


def addresses(client: Client) -> Iterator[list[str]]:
    """Who is there now, and after each change."""
    for instances in client.registry(b"web").watch():
        yield [each.decode() for each in instances]


if __name__ == "__main__":
    with Client(sys.argv[2:]) as client, announced(client, sys.argv[1]):
        for present in addresses(client):
            print(present)
