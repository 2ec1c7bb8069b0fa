"""Whether a loaded cluster keeps its leader on a machine that has too little time for it.

    python -m tests.bench.calm_leader [--seconds 60] [--in-flight 1000] [--keys N] [--scanners 2]

Three daemons with their usual settings, puts of which so many are always under way, and clients
that read all keys again and again, on one machine. Nothing fails here, so a leader that changes was
lost for want of time. One line for each second kind of trouble:

    leader changes         `leader.elected` beyond the first, of the ballots that were led
    pre-votes              `leader.lost`: a follower heard none for an election timeout and asked
    late heartbeats        a follower's word that it heard its leader so many heartbeats ago, or
                           more; it is asked every ``LOOK_S``
    slow turns             `node.slow_loop`
    longest turns          of each node, in processor time: what a turn took beyond that was time
                           that the machine gave to others

Exit code 1 if the leader changed. The figures depend on what else the machine does: no test runs
this, and a change of the leader is to be explained by its log lines, which are printed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from tests.bench.fill import fill
from tests.bench.turns import Timed
from tests.processes.processes import clean_environ

USUAL = {
    "faults": {"enabled": False},
    "limits": {
        "message_bytes_max": 16 << 20,
        "value_bytes_max": 1 << 20,
        "read_bytes_max": 8 << 20,
    },
    "protocol": {"batch_bytes_max": 1 << 20, "catch_up_bytes_max": 8 << 20},
    "wal": {"segment_bytes": 64 << 20},
}
HEARTBEAT_MS = 100
LATE_BEATS = (2, 4, 6)
LOOK_S = 0.1
VALUE_BYTES = 200
TROUBLE = ("leader.lost", "leader.stepped_down", "leader.handing_over", "node.slow_loop",
           "election.started", "storage.slow")  # fmt: skip


class Scanner(threading.Thread):
    """A client that reads all keys again and again."""

    def __init__(self, endpoints, over):
        super().__init__(daemon=True)
        self.rows = 0
        self.failures = 0
        self._endpoints, self._over = endpoints, over

    def run(self):
        with Client(self._endpoints, timeout_s=20.0) as client:
            while not self._over.is_set():
                try:
                    for _ in client.scan(b"bench/"):
                        self.rows += 1
                        if self._over.is_set():
                            break
                except ClientError:
                    self.failures += 1


class Listener(threading.Thread):
    """Asks one node again and again how long ago it heard its leader."""

    def __init__(self, name, endpoint, over):
        super().__init__(daemon=True)
        self.looks = 0
        self.silences_ms = []
        """Each answer of a follower."""
        self._name, self._endpoint, self._over = name, endpoint, over

    def run(self):
        with Client([self._endpoint], timeout_s=5.0) as client:
            while not self._over.wait(LOOK_S):
                with suppress(ClientError):
                    status = client.status()
                    self.looks += 1
                    leader = status["peers"].get(status["leader"])
                    if leader is not None:
                        self.silences_ms.append(leader["heard_ms_ago"])


def load(daemons, options):
    """Puts for so long, with scans beside them; the bench's answer, scanners and listeners."""
    over = threading.Event()
    beside = [Scanner(daemons.endpoints, over) for _ in range(options.scanners)]
    listeners = [Listener(name, daemons.endpoint(name), over) for name in daemons.names]
    for each in beside + listeners:
        each.start()
    clients = min(50, options.in_flight)
    command = [sys.executable, "-m", "paxosctl", "--endpoints", ",".join(daemons.endpoints),
               "-o", "json", "bench", "put", "--duration", f"{options.seconds}s",
               "--clients", f"{options.in_flight}", "--connections", f"{clients}",
               "--value-bytes", f"{VALUE_BYTES}", "--timeout", "20s"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environ(), check=False)
    over.set()
    for each in beside + listeners:
        each.join()
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {"puts": 0, "errors": f"the load ended with {done.returncode}: {done.stderr}"}
    return answer, beside, listeners


def troubles(daemons, since):
    """The log lines of all nodes that speak of trouble since that moment, by time."""
    found = [
        line for name in daemons.names for event in TROUBLE for line in daemons.events(name, event)
    ]
    return sorted((each for each in found if each["ts"] >= since), key=lambda each: each["ts"])


def longest_turns(daemons, name):
    """The three longest turns of a node, in ms of processor time."""
    lines = daemons.times_path(name).read_text().splitlines()
    return [round(each) for each in sorted(json.loads(line)[1] for line in lines)[-3:]]


def ballots_led(daemons):
    """The ballots at which somebody led."""
    lines = [line for name in daemons.names for line in daemons.events(name, "leader.elected")]
    return {line["ballot"] for line in lines}


def measure(path, options):
    """Run it, print what happened; how often the leader changed."""
    with Timed(path, **USUAL) as daemons:
        daemons.start()
        leader = daemons.wait_leader(120.0)
        fill(daemons.endpoint(leader), options.keys, VALUE_BYTES)
        before = ballots_led(daemons)
        since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        answer, scanners, listeners = load(daemons, options)
        changes = len(ballots_led(daemons) - before)
        lines = troubles(daemons, since)
        counts = {event: sum(line["event"] == event for line in lines) for event in TROUBLE}
        longest_ms = [longest_turns(daemons, name) for name in daemons.names]
    silences = [each for listener in listeners for each in listener.silences_ms]
    late = {f"{n}+": sum(each >= n * HEARTBEAT_MS for each in silences) for n in LATE_BEATS}
    print(f"puts                {answer.get('puts', 0)}, errors {answer.get('errors', answer)}")
    print(f"rows scanned        {sum(each.rows for each in scanners)}, "
          f"{sum(each.failures for each in scanners)} scans failed")  # fmt: skip
    print(f"leader changes      {changes}")
    print(f"pre-votes           {counts['leader.lost']}")
    print(f"late heartbeats     {late} of {len(silences)} looks, "
          f"the longest silence {max(silences, default=-1)} ms")  # fmt: skip
    print(f"slow turns          {counts['node.slow_loop']}")
    print(f"longest turns       {longest_ms} ms of processor time")
    for line in lines:
        shown = {k: v for k, v in line.items() if k not in {"level", "mono_ns", "seq"}}
        print(f"  {json.dumps(shown)}")
    return changes


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.bench.calm_leader")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--in-flight", type=int, default=1000, help="puts under way at a time")
    parser.add_argument("--keys", type=int, default=20_000, help="that are read again and again")
    parser.add_argument("--scanners", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as path:
        return 1 if measure(Path(path), options) else 0


if __name__ == "__main__":
    sys.exit(main())
