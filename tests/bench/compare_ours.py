"""Ours in the comparison: with all that a node in production has on, and with watchers.

Every setting has its default; there is a log file at level info, one watcher of all changes
(``kv/``) and one of all slots (``learned/``), both at the first leader. Sessions, checksums and
revisions cannot be turned off. The load is ``paxosctl bench``.
"""

import json
import subprocess
import sys

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from paxosd import __version__
from tests.bench.compare_cluster import LISTEN_HOST, NAMES, Cluster
from tests.bench.compare_rows import GET, KEYS, PUT, STALE_GET, WATCH

ASK_LIMIT_S = 1.0
KINDS = ("client", "peer", "events")
TOPICS = ("kv/", "learned/")


class Ours(Cluster):
    """paxosd, three daemons."""

    name = "paxosd"
    title = "paxosd"
    remarks = ("paxosd: one watcher of kv/ and one of learned/ are on; the others have none.",)

    def start(self):
        ports = self.ports(len(KINDS) * len(NAMES))
        self._ports = {
            name: dict(zip(KINDS, ports[i * len(KINDS) :], strict=False))
            for i, name in enumerate(NAMES)
        }
        if self.rtt_ms:
            self.start_relay(
                port
                for of_node in self._ports.values()
                for kind, port in of_node.items()
                if kind != "client"
            )
        for name in NAMES:
            self._write_config(name)
            self.start_node(name)
        leader = self.wait_ready()
        for topic in TOPICS:
            command = [sys.executable, "-m", "tests.bench.compare_watcher"]
            command += [self._endpoint(leader, "events"), topic]
            self.add_helper(self.spawn(f"watcher-{topic[:-1]}", command))

    def _endpoint(self, name, kind="client"):
        """With a relay, all that nodes send to each other goes through it, clients' frames not."""
        host = LISTEN_HOST if self.rtt_ms and kind == "client" else "127.0.0.1"
        return f"tcp://{host}:{self._ports[name][kind]}"

    def _config_path(self, name):
        return self.path / f"{name}.toml"

    def _write_config(self, name):
        lines = ["[cluster]", 'id = "comparison"']
        for each in NAMES:
            lines.append(f"[cluster.members.{each}]")
            lines += [f'{kind} = "{self._endpoint(each, kind)}"' for kind in KINDS]
        lines += ["[node]", f'name = "{name}"', f'data_dir = "{name}"']
        if self.rtt_ms:
            lines.append(f'bind_host = "{LISTEN_HOST}"')
        lines += ["[log]", 'level = "info"', 'format = "json"', f'file = "{name}.log"', ""]
        self._config_path(name).write_text("\n".join(lines))

    def start_node(self, name):
        command = [sys.executable, "-m", "paxosd", "--config", str(self._config_path(name))]
        self.processes[name] = self.spawn(name, command)

    def leader(self):
        views = []
        for name, process in self.processes.items():
            if process.poll() is None:
                try:
                    with Client([self._endpoint(name)], timeout_s=ASK_LIMIT_S) as client:
                        views.append(client.status())
                except ClientError:
                    return ""
        leaders = {view["leader"] for view in views}
        return leaders.pop() if len(leaders) == 1 else ""

    def load_command(self, row, leader, seconds, warmup_s):
        endpoints = ",".join(self._endpoint(name) for name in NAMES)
        if row.is_failover:
            numbers = (row.clients, seconds, warmup_s, row.value_bytes)
            return [sys.executable, "-m", "tests.bench.compare_writers", endpoints,
                    *map(str, numbers)]  # fmt: skip
        if row.operation == WATCH:
            numbers = (row.clients, seconds, warmup_s)
            return [sys.executable, "-m", "tests.bench.compare_watch", endpoints,
                    self._endpoint(leader, "events"), *map(str, numbers)]  # fmt: skip
        clients = row.clients // row.per_frame
        load = {
            "verb": PUT if row.operation == PUT else GET,
            "stale": row.operation == STALE_GET,
            "clients": clients,
            "connections": row.connections,
            "per_frame": row.per_frame,
            "outstanding": row.clients,
            "rate": float(row.rate),
            "size": row.value_bytes,
            "keys": KEYS,
            "duration_ms": round(seconds * 1000),
            "warmup_ms": round(warmup_s * 1000),
        }
        return [sys.executable, "-m", "tests.bench.compare_load", endpoints, json.dumps(load)]

    def version(self):
        command = ["git", "rev-parse", "--short", "HEAD"]
        # Without git, or outside of a repository, the version alone has to do.
        asked = subprocess.run(command, check=False, capture_output=True, text=True)
        commit = asked.stdout.strip() or "commit unknown"
        return f"paxosd {__version__} ({commit}), paxosctl bench"
