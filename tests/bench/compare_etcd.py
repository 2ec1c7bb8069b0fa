"""etcd beside ours: Debian's etcd-server, or that of ``--etcd``, and a load generator with its own
Go client, which is Debian's: the server may be newer."""

import contextlib
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

from tests.bench.compare_build import PEERS, build, build_folder
from tests.bench.compare_cluster import LISTEN_HOST, NAMES, Cluster, ImpossibleError, MissingError
from tests.bench.compare_rows import GET, KILL, PUT, STALE_GET, STOP, WATCH

SOURCE = PEERS / "etcd_load.go"
GOPATH = Path("/usr/share/gocode")
ASK_LIMIT_S = 1.0
GAP_TIMEOUT_S = 1
OPERATIONS = {PUT: "put", GET: "get", STALE_GET: "stale-get", WATCH: "watch"}


class Etcd(Cluster):
    """Puts of a frame of ten are ten calls of ten goroutines: the client has no such frames."""

    name = "etcd"
    title = "etcd"
    remarks = (
        "etcd: clientv3 sends every put by itself; “ten a frame” is ten calls at a time.",
        "etcd keeps every earlier version of a key until it is compacted; ours does not.",
    )
    as_transactions = False

    def prepare(self):
        self._program = shutil.which(self.program or "etcd")
        if self._program is None:
            if self.program:
                raise MissingError(f"--etcd {self.program}: there is no such program")
            raise MissingError("etcd is not installed (Debian: etcd-server)")
        if not shutil.which("go") or not (GOPATH / "src/go.etcd.io/etcd/clientv3").is_dir():
            raise MissingError(
                "etcd's load generator cannot be built (Debian: golang-go, golang-etcd-server-dev)"
            )
        self._load = _build()

    def start(self):
        ports = self.ports(2 * len(NAMES))
        self._client = dict(zip(NAMES, ports[: len(NAMES)], strict=True))
        self._peer = dict(zip(NAMES, ports[len(NAMES) :], strict=True))
        if self.rtt_ms:
            self.start_relay(self._peer.values())
        for name in NAMES:
            self.start_node(name)

    def start_node(self, name):
        host = LISTEN_HOST if self.rtt_ms else "127.0.0.1"
        cluster = ",".join(f"{each}=http://127.0.0.1:{self._peer[each]}" for each in NAMES)
        is_new = not (self.path / name).exists()
        command = [
            self._program, "--name", name, "--data-dir", str(self.path / name),
            "--listen-peer-urls", f"http://{host}:{self._peer[name]}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{self._peer[name]}",
            "--listen-client-urls", f"http://127.0.0.1:{self._client[name]}",
            "--advertise-client-urls", f"http://127.0.0.1:{self._client[name]}",
            "--initial-cluster", cluster, "--initial-cluster-token", "comparison",
            "--initial-cluster-state", "new" if is_new else "existing",
            "--logger", "zap", "--log-level", "info",
        ]  # fmt: skip
        self.processes[name] = self.spawn(name, command)

    def leader(self):
        views = {}
        for name, process in self.processes.items():
            if process.poll() is None:
                views[name] = self._status(name)
        if not views or None in views.values():
            return ""
        leaders = {view.get("leader") for view in views.values()}
        if len(leaders) != 1:
            return ""
        number = leaders.pop()
        found = [name for name, view in views.items() if view["header"]["member_id"] == number]
        return found[0] if found else ""

    def _status(self, name):
        """A node's status by its JSON gateway; None if it does not answer, or without a leader."""
        with contextlib.suppress(OSError, ValueError):
            url = f"http://127.0.0.1:{self._client[name]}"
            with urllib.request.urlopen(f"{url}/health", timeout=ASK_LIMIT_S) as answer:
                if json.load(answer)["health"] != "true":
                    return None
            ask = urllib.request.Request(f"{url}/v3/maintenance/status", b"{}")
            with urllib.request.urlopen(ask, timeout=ASK_LIMIT_S) as answer:
                return json.load(answer)
        return None

    def load_command(self, row, leader, seconds, warmup_s):
        is_gap = row.operation in (KILL, STOP)
        names = NAMES if is_gap else (leader,)
        command = [
            str(self._load), "-endpoints", ",".join(f"127.0.0.1:{self._client[n]}" for n in names),
            "-op", "gaps" if is_gap else OPERATIONS[row.operation],
            "-clients", str(row.clients), "-connections", str(row.connections),
            "-rate", str(row.rate), "-value-bytes", str(row.value_bytes),
            "-duration", f"{seconds}s", "-warmup", f"{warmup_s}s",
        ]  # fmt: skip
        if is_gap:
            # A call whose leader was lost is not answered: its time-out decides how long it holds
            # its client up. One second is what a client that cares about failover would take.
            command += ["-timeout", f"{GAP_TIMEOUT_S}s"]
        if self.as_transactions:
            command += ["-per-frame", str(row.per_frame)]
        return command

    def version(self):
        asked = [self._program, "--version"]
        text = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        return f"etcd {text.splitlines()[0].split()[-1]}, Go client clientv3 of Debian"


def _build():
    folder = build_folder()
    target = folder / "etcd_load"
    env = {
        "GO111MODULE": "off",
        "GOPATH": str(GOPATH),
        "GOFLAGS": "",
        "GOCACHE": str(folder / "go"),
    }
    return build(SOURCE, target, ["go", "build", "-o", str(target), str(SOURCE)], env)


class EtcdTransactions(Etcd):
    """Puts of a frame of ten are one transaction, which is one entry of etcd's log. It is atomic,
    which the frames of ours are not."""

    name = "etcd-txn"
    title = "etcd, one Txn a frame"
    remarks = ("etcd, one Txn a frame: ten puts are one command, carried out all or none.",)
    as_transactions = True

    def check(self, row):
        if row.per_frame == 1:
            raise ImpossibleError("the row has no frames")
