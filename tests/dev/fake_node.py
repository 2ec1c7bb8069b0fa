"""Stands in for a daemon under the supervisor: says READY, then does as its word says.

Run as ``python fake_node.py WORD DIRECTORY``: ``stay`` waits for SIGTERM and leaves cleanly,
``deaf`` ignores it, ``mute`` never says READY, ``storage``, ``json`` and ``fail`` exit with 74, 74
and 1 at once, ``removed`` says that it is no member any more and leaves cleanly, ``leader`` says
STOPPING at the first SIGTERM and leaves at the second.
Each start adds a line with its pid to ``DIRECTORY/starts``.
"""

import os
import signal
import sys
from pathlib import Path

from paxosd.daemon.notify import Notifier


def main() -> None:
    word, directory = sys.argv[1], Path(sys.argv[2])
    with (directory / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    if word == "json":
        print(
            '{"event": "node.failed", "message": "no room on the disk\\u001b[2J"}', file=sys.stderr
        )
        sys.exit(74)
    if word in {"storage", "fail"}:
        print("the disk is on fire", file=sys.stderr)
        sys.exit(74 if word == "storage" else 1)
    signal.signal(signal.SIGINT, lambda *_: os._exit(99))  # must never be sent
    signal.signal(signal.SIGTERM, (lambda *_: None) if word == "deaf" else lambda *_: os._exit(0))
    if word == "leader":
        signal.signal(signal.SIGTERM, hand_over)
    if word == "removed":
        NOTIFIER.ready("follower of n1")
        NOTIFIER.status("removed; leader n1")
        sys.exit(0)
    if word != "mute":
        NOTIFIER.ready("follower of n1")
    while True:
        signal.pause()


def hand_over(*_: object) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    NOTIFIER.stopping("handing over")


NOTIFIER = Notifier.from_environ()
main()
