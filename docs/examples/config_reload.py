"""A typed configuration that a running program takes over as it is changed.

python docs/examples/config_reload.py ENDPOINT…
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from paxosctl.client import Client


@dataclass(frozen=True)
class Limits:
    """What can be set, with its defaults."""

    workers: int = 4
    timeout_s: float = 1.0


def parse(text: bytes | None) -> Limits:
    """Raises ValueError for what is no configuration: then the last good one stays."""
    try:
        return Limits(**json.loads(text)) if text is not None else Limits()
    except TypeError as error:
        raise ValueError(str(error)) from None


def limits(client: Client) -> Iterator[Limits]:
    """The limits now, and each time that they change."""
    return client.config(b"limits", parse).changes()


if __name__ == "__main__":
    with Client(sys.argv[1:]) as client:
        for present in limits(client):
            print(present)
